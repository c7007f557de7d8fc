"""Finite groups and orbits that act on prepared inputs: pixels, or points.

An action is a function of one prepared input. Pixels are [channel, height, width]; points are
[point, axis] (or [point, 2 · axis], normals after coordinates). The first action of every orbit
is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Action = Callable[[Array], Array]


def pixel_orbit(name: str) -> list[Action]:
    """The actions of a group on pixels: "C4" quarter turns, "D4" with mirrors, "flip" left-right.

    Raises KeyError for another name.
    """
    turns: list[Action] = [_turned(quarter, False) for quarter in range(4)]
    mirrored: list[Action] = [_turned(quarter, True) for quarter in range(4)]
    return {"C4": turns, "D4": turns + mirrored, "flip": [turns[0], mirrored[0]]}[name]


def zooms(scales: tuple[float, ...]) -> list[Action]:
    """See pixels at other scales: above 1 the middle is enlarged, below 1 all is shrunk into it.

    An orbit of a few scales is no group: it makes an encoder less sensitive, not invariant.
    """
    return [_zoomed(scale) for scale in scales]


def crops(share: float) -> list[Action]:
    """All of the pixels, then the middle and the four corners, each of `share` of both sides."""
    places = [(0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    return [_same, *(_cropped(share, down, right) for down, right in places)]


def point_turns(count: int) -> list[Action]:
    """Turns of points about the last axis (in the plane: about the origin), a cyclic group."""
    return [_rotated(2.0 * math.pi * step / count) for step in range(count)]


def _same(array: Array) -> Array:
    return array


def _turned(quarters: int, mirror: bool) -> Action:
    def act(pixels: Array) -> Array:
        seen = pixels[..., ::-1] if mirror else pixels
        return np.ascontiguousarray(np.rot90(seen, quarters, axes=(-2, -1)))

    return act


def _zoomed(scale: float) -> Action:
    def act(pixels: Array) -> Array:
        if scale == 1.0:
            return pixels
        height, width = pixels.shape[-2:]
        down = (np.arange(height) - (height - 1) / 2) / scale + (height - 1) / 2
        right = (np.arange(width) - (width - 1) / 2) / scale + (width - 1) / 2
        return _sampled(pixels, down, right)

    return act


def _cropped(share: float, down: float, right: float) -> Action:
    def act(pixels: Array) -> Array:
        height, width = pixels.shape[-2:]
        rows = down * (1 - share) * (height - 1) + np.linspace(0, share * (height - 1), height)
        columns = right * (1 - share) * (width - 1) + np.linspace(0, share * (width - 1), width)
        return _sampled(pixels, rows, columns)

    return act


def _sampled(pixels: Array, rows: Array, columns: Array) -> Array:
    """Read pixels between pixels, bilinearly; beyond the edge the edge goes on."""
    top, down = _between(rows, pixels.shape[-2])
    left, right = _between(columns, pixels.shape[-1])
    below = np.minimum(top + 1, pixels.shape[-2] - 1)
    beside = np.minimum(left + 1, pixels.shape[-1] - 1)
    lines = pixels[..., top, :] * (1 - down)[:, None] + pixels[..., below, :] * down[:, None]
    seen = lines[..., left] * (1 - right) + lines[..., beside] * right
    return np.ascontiguousarray(seen, pixels.dtype)


def _between(places: Array, length: int) -> tuple[Array, Array]:
    kept = np.clip(places, 0, length - 1)
    whole = np.floor(kept).astype(np.int64)
    return whole, kept - whole


def _rotated(angle: float) -> Action:
    def act(points: Array) -> Array:
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        moved = points.copy()
        # Coordinates, and normals after them: the first two axes of each turn.
        axes = points.shape[1] if points.shape[1] <= 3 else points.shape[1] // 2
        for start in range(0, points.shape[1], axes):
            moved[:, start : start + 2] = points[:, start : start + 2] @ turn.T
        return moved

    return act
