"""The encoder of point sets: a histogram of what rotations and translations cannot change.

Every pair of points gives numbers that identify it up to a motion, Δ = p_j − p_i:

    with normals o     o_i·Δ,   ‖Δ − (o_i·Δ) o_i‖ (in the plane: with its sign),   o_i·o_j
    without            ‖Δ‖,   ‖p_i − c‖,   ‖p_j − c‖: the sides of the triangle with the centre c

A vector is the soft histogram of these over all ordered pairs, √ and unit length: the inner product
of two is the Bhattacharyya coefficient of their histograms. Soft bins make it continuous, so that
float noise moves it by float noise. The order of the points does not matter either.

Mirrored shapes have the same distances. With `chirality` a second histogram is appended, of the
signed volumes det(o_i, o_j, Δ), in the plane det(o_i, Δ), which change their sign in a mirror.
Where there are no normals, the mean offset of a point's neighbours stands in for one.

Source: invariants of Bekkers et al. 2024 (arXiv 2310.02970), theorem 1; pair histograms as in shape
distributions, Osada et al. 2002.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoders.base import OutputKind, Prepared, TextKind
from app.encoders.inputs import Input, Points
from app.encoders.manifest import Manifest
from app.encoders.manifest.pointset import PointSetSpec
from app.encoders.pipeline import arrays
from app.encoders.pipeline.head import Head
from app.errors import InvalidField, LikewiseError
from app.types import F32, F64

SIDE_REACH = 3.0  # in units of the root-mean-square distance: longer ones share the last bin
RADIUS_REACH = 2.0
NEIGHBOURHOOD = 0.25  # of a point, one standard deviation, in the same units
LEAST_SHARE = 1e-5
"""Mean weight below which a chirality histogram fades to zero: then all of it is float noise."""

POINTS_PER_TOKEN = 64  # pairs of one "token" of a batch's budget


class PointSetEncoder:
    """An encoder of point sets. Thread-safe; computes on the caller's thread."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        assert isinstance(manifest.spec, PointSetSpec)
        self.name, self.dimension = manifest.name, manifest.dimension
        self.parallel = 1
        self._spec = manifest.spec
        self._head = Head(
            folder,
            maps=manifest.spec.maps,
            normalise=manifest.spec.normalise,
            dimension=manifest.dimension,
        )

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Take point sets that fit the manifest. Raises InvalidField (pointer `/i…`)."""
        for place, given in enumerate(inputs):
            if not isinstance(given, Points):
                raise InvalidField(
                    f'{self.name} reads point sets only: {{"points": [[…]]}}', pointer=f"/{place}"
                )
            self._check(given, f"/{place}")
        return list(inputs)

    def estimate(self, given: Input) -> int:
        """Pairs of points, in units of a token."""
        assert isinstance(given, Points)
        return 1 + given.count**2 // POINTS_PER_TOKEN

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Arrays [point, axis], or [point, 2 · axis] with normals."""
        prepared: list[Prepared | LikewiseError] = []
        for given in inputs:
            assert isinstance(given, Points)
            prepared.append(Prepared(given.array(), self.estimate(given), given.count))
        return prepared

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32:
        """Vectors [set, dim]."""
        spec = self._spec
        described = [
            describe(
                one.value,
                axes=spec.axes,
                normals=spec.normals,
                chirality=spec.chirality,
                bins=spec.bins,
                unit=spec.unit,
            )
            for one in batch
        ]
        return self._head.finish(np.stack(described).astype(np.float32))

    def close(self) -> None:
        """Nothing to end."""

    def _check(self, given: Points, at: str) -> None:
        spec = self._spec
        if given.axes != spec.axes or given.normals != spec.normals:
            normals = "with" if spec.normals else "without"
            raise InvalidField(
                f"{self.name} reads points of {spec.axes} coordinates {normals} normals",
                pointer=at,
            )
        if not 3 <= given.count <= spec.max_points:
            raise InvalidField(
                f"{self.name} reads sets of 3-{spec.max_points} points, received {given.count}",
                pointer=at,
            )


def example_points(spec: PointSetSpec) -> Points:
    """Three points of a set that fits."""
    columns = spec.axes * (2 if spec.normals else 1)
    return Points(spec.axes, spec.normals, np.eye(3, columns, dtype="<f8").tobytes())


def describe(
    points: F64, *, axes: int, normals: bool, chirality: bool, bins: int, unit: float
) -> F64:
    """The descriptor of one set: [bins³], and 2 · bins more with chirality.

    points  [point, axes], or [point, 2 · axes] with a normal (of any length) after each
    unit    the length that counts as one; 0 takes the set's own root-mean-square distance, so that
            size does not matter
    """
    places = points[:, :axes] - points[:, :axes].mean(axis=0)
    first, second = _pairs(len(places))
    between = places[second] - places[first]
    sides = np.linalg.norm(between, axis=1)
    unit = unit or float(np.sqrt((sides**2).mean())) or 1.0
    places, between, sides = places / unit, between / unit, sides / unit
    if normals:
        turned = arrays.unit(points[:, axes:])
        pairs = _with_normals(between, turned[first], turned[second], signed=chirality)
    else:
        radii = np.linalg.norm(places, axis=1)
        pairs = np.column_stack(
            [sides / SIDE_REACH, radii[first] / RADIUS_REACH, radii[second] / RADIUS_REACH]
        )
    parts = [np.sqrt(soft_histogram(pairs, bins) / len(pairs))]
    if chirality:
        leaning = turned if normals else _leanings(places)
        values, weights = _handed(leaning[first], leaning[second], between)
        shares = 0.5 + values / 2
        total = float(weights.sum()) + LEAST_SHARE * len(weights)
        parts.append(np.sqrt(soft_histogram(shares[:, None], 2 * bins, weights) / total))
    whole = np.concatenate(parts)
    described: F64 = whole / np.linalg.norm(whole)
    return described


def soft_histogram(values: F64, bins: int, weights: F64 | None = None) -> F64:
    """Share each row between the bins around it, linearly: [bins ^ axes], summing to the weights.

    values  [row, axis] in 0 … 1; what is outside counts as the border. Bin b is centred at
            b / (bins − 1).
    """
    scaled = np.clip(values, 0.0, 1.0) * (bins - 1)
    below = np.minimum(scaled.astype(np.int64), bins - 2)
    above = scaled - below
    axes = values.shape[1]
    counts = np.zeros(bins**axes)
    for corner in itertools.product((0, 1), repeat=axes):
        step = np.array(corner)
        shares = np.where(step == 1, above, 1.0 - above).prod(axis=1)
        if weights is not None:
            shares = shares * weights
        cells = (below + step) @ (bins ** np.arange(axes)[::-1])
        counts += np.bincount(cells, shares, minlength=bins**axes)
    return counts


def _pairs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All ordered pairs of different points."""
    first, second = np.divmod(np.arange(count * count), count)
    different = first != second
    return first[different], second[different]


def _with_normals(between: F64, first: F64, second: F64, *, signed: bool) -> F64:
    along = np.einsum("nd,nd->n", first, between)
    if signed and between.shape[1] == 2:
        aside = first[:, 0] * between[:, 1] - first[:, 1] * between[:, 0]
        lateral = 0.5 + aside / (2 * SIDE_REACH)
    else:
        lateral = np.linalg.norm(between - along[:, None] * first, axis=1) / SIDE_REACH
    angle = 0.5 + np.einsum("nd,nd->n", first, second) / 2
    return np.column_stack([0.5 + along / (2 * SIDE_REACH), lateral, angle])


def _leanings(places: F64) -> F64:
    """Where each point's neighbours lie, [point, axis]: their mean offset, near ones counting most.

    What stands in for a normal where none is given: it turns with the set and is mirrored with it.
    """
    offsets = places[None, :, :] - places[:, None, :]
    near = np.exp(-(offsets**2).sum(axis=2) / (2 * NEIGHBOURHOOD**2))
    leanings: F64 = np.einsum("ij,ijd->id", near, offsets) / near.sum(axis=1)[:, None]
    return leanings


def _handed(first: F64, second: F64, between: F64) -> tuple[F64, F64]:
    """Signed volumes in −1 … 1 of directions, and the lengths' product as their weights.

    In space det(o_i, o_j, Δ), in the plane det(o_i, Δ). A vector that vanishes weighs nothing, so
    its direction, which is noise, does not matter.
    """
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(between, axis=1)
    if between.shape[1] == 2:
        volume = first[:, 0] * between[:, 1] - first[:, 1] * between[:, 0]
    else:
        lengths = lengths * np.linalg.norm(second, axis=1)
        volume = np.einsum("nd,nd->n", np.cross(first, second), between)
    return volume / np.maximum(lengths, np.finfo(np.float64).tiny), lengths
