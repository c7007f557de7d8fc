"""Views: averaging over a group makes any encoder invariant to it; scales and crops steady it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from app.encoders.base import OutputKind, Prepared, TextKind
from app.encoders.direct import encode
from app.encoders.inputs import Input, Picture
from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.groups import (
    Action,
    crops,
    pixel_orbit,
    point_turns,
    zooms,
)
from app.encoders.views import ViewsEncoder, measure_invariance
from app.errors import LikewiseError
from app.types import F32

EDGE = 12


class Patterned:
    """An encoder of pixels that is far from invariant: products with random patterns, bent."""

    name, dimension, parallel = "patterned", 24, 1

    def __init__(self) -> None:
        random = np.random.RandomState(1)
        self._patterns = random.standard_normal((24, EDGE * EDGE)).astype(np.float32) / EDGE
        self.closed = False

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        return list(inputs)

    def estimate(self, given: Input) -> int:
        return 4

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """A picture's "file" is its pixels."""
        return [
            Prepared(np.frombuffer(given.file, np.float32).reshape(1, EDGE, EDGE), 4, 4)
            for given in inputs
            if isinstance(given, Picture)
        ]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32:
        pixels = np.stack([one.value.reshape(-1) for one in batch])
        return unit(np.tanh(pixels @ self._patterns.T).astype(np.float32))

    def close(self) -> None:
        self.closed = True


def picture(pixels: np.ndarray) -> Picture:
    return Picture(np.ascontiguousarray(pixels, np.float32).tobytes())


def smooth(seed: int) -> np.ndarray:
    """A blob image: low frequencies, so that a zoom shows the same thing."""
    random = np.random.RandomState(seed)
    down, right = np.mgrid[0:EDGE, 0:EDGE] / EDGE
    waves = [
        random.standard_normal() * np.cos(2 * np.pi * (a * down + b * right) + random.uniform(0, 6))
        for a in range(3)
        for b in range(3)
    ]
    return np.sum(waves, axis=0)[None]


PICTURES = [picture(smooth(seed)) for seed in range(30)]


@pytest.mark.parametrize("group", ["C4", "D4", "flip"])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_an_encoder_over_a_group_is_invariant_to_it_and_the_bare_one_is_not(
    group: str, pool: str
) -> None:
    actions = pixel_orbit(group)
    bare = measure_invariance(Patterned(), PICTURES[:8], actions)
    pooled = ViewsEncoder(Patterned(), actions, pool=pool, normalise=True)
    over = measure_invariance(pooled, PICTURES[:8], actions)
    assert bare.farthest > 0.5
    assert over.farthest < 1e-5
    assert over.cosine == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("group", "order"), [("C4", 4), ("D4", 8), ("flip", 2)])
def test_the_actions_of_a_group_are_closed(group: str, order: int) -> None:
    pixels = np.arange(9.0).reshape(1, 3, 3)
    actions = pixel_orbit(group)
    seen = {action(pixels).tobytes() for action in actions}
    assert len(seen) == order
    assert {one(other(pixels)).tobytes() for one in actions for other in actions} == seen
    np.testing.assert_array_equal(actions[0](pixels), pixels)


def test_turned_pictures_are_found_over_the_group_only() -> None:
    turned = [picture(np.rot90(smooth(seed), 1, axes=(1, 2))) for seed in range(30)]

    def found(encoder: Patterned | ViewsEncoder) -> float:
        one = encode(encoder, PICTURES, "document").vectors
        other = encode(encoder, turned, "query").vectors
        return float(((other @ one.T).argmax(axis=1) == np.arange(30)).mean())

    assert found(Patterned()) < 0.5
    over = ViewsEncoder(Patterned(), pixel_orbit("C4"), pool="mean", normalise=True)
    assert found(over) == 1.0


def test_other_scales_are_found_better_over_scales() -> None:
    """As a mean, and better still with every scale stored and the best one counted."""
    (closer,) = zooms((1.5,))
    near = [picture(closer(smooth(seed))) for seed in range(30)]
    orbit = zooms((1.0, 1.25, 1.5))
    bare = Patterned()
    mean = ViewsEncoder(Patterned(), orbit, pool="mean", normalise=True)
    every = ViewsEncoder(Patterned(), orbit, pool="store_all", normalise=True)
    queries = encode(bare, near, "query").vectors

    def found(scores: np.ndarray) -> float:
        return float((scores.argmax(axis=1) == np.arange(30)).mean())

    plain = found(queries @ encode(bare, PICTURES, "document").vectors.T)
    pooled = found(queries @ encode(mean, PICTURES, "document").vectors.T)
    prepared = [one for one in every.prepare(PICTURES) if isinstance(one, Prepared)]
    stored = every.run(prepared, "tokens")
    best = found(np.stack([(queries @ views.T).max(axis=1) for views in stored], axis=1))
    assert plain < pooled <= best
    assert best > 0.95


def test_views_cost_what_they_are_and_close_their_encoder() -> None:
    inner = Patterned()
    encoder = ViewsEncoder(inner, pixel_orbit("C4"), pool="mean", normalise=True)
    assert encoder.estimate(PICTURES[0]) == 16
    (prepared,) = encoder.prepare(PICTURES[:1])
    assert isinstance(prepared, Prepared)
    assert prepared.cost == 16
    encoder.close()
    assert inner.closed


@pytest.mark.parametrize("act", [*zooms((0.5, 1.0, 2.0)), *crops(0.6)])
def test_zooms_and_crops_keep_shape_and_flat_colour(act: Action) -> None:
    flat = np.full((3, 5, 8), 0.25, np.float32)
    np.testing.assert_allclose(act(flat), flat, atol=1e-6)
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 5, 8))
    seen = act(ramp)
    assert seen.dtype == np.float32
    assert 0 <= seen.min() <= seen.max() <= 7


def test_a_crop_of_a_corner_is_that_corner() -> None:
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32), (1, 9, 9))
    top_left, bottom_right = crops(0.5)[2](ramp), crops(0.5)[5](ramp)
    np.testing.assert_allclose(top_left[0, 0], np.linspace(0, 4, 9), atol=1e-6)
    np.testing.assert_allclose(bottom_right[0, 0], np.linspace(4, 8, 9), atol=1e-6)


def test_points_turn_with_their_normals() -> None:
    points = np.array([[1.0, 0.0, 2.0, 0.0, 1.0, 0.0]])
    turned = point_turns(4)[1](points)
    np.testing.assert_allclose(turned, [[0, 1, 2, -1, 0, 0]], atol=1e-12)
