"""Maps after pooling: affine ones, which fuse into one product, and two that bend.

An affine map is `y = W x + c`. A chain of them is one of them, so `fuse` folds every run of affine
steps at opening, in float64, and a vector pays for one product however long the manifest's chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F32

_F64 = NDArray[np.float64]

Bend = Callable[[F32], F32]
"""A map of rows that is not affine: [row, dim] → [row, dim]."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """`y = W x[:first] + c`.

    matrix  W, [to, from], or None for the identity
    offset  c, [to], or None for zero
    first   how many numbers of x count; None for all
    """

    matrix: NDArray[Any] | None = None
    offset: NDArray[Any] | None = None
    first: int | None = None

    def then(self, after: Affine) -> Affine:
        """This map and then another, as one: `W₂W₁x + W₂c₁ + c₂`."""
        matrix, offset, first = _wide(self.matrix), _wide(self.offset), self.first
        if after.first is not None:
            # Fewer numbers of y are fewer rows of W, or, without W, fewer numbers of x.
            if matrix is None:
                first = after.first if first is None else min(first, after.first)
            else:
                matrix = matrix[: after.first]
            offset = None if offset is None else offset[: after.first]
        turn, move = _wide(after.matrix), _wide(after.offset)
        if turn is not None:
            matrix = turn if matrix is None else turn @ matrix
            offset = None if offset is None else turn @ offset
        if move is not None:
            offset = move if offset is None else offset + move
        return Affine(matrix, offset, first)

    def __call__(self, rows: F32) -> F32:
        """Map rows: [row, from] → [row, to] float32."""
        if self.first is not None:
            rows = rows[:, : self.first]
        if self.matrix is not None:
            # Row by row, as in `app.encoders.dense`: the order of summation in a product of
            # matrices depends on how many rows there are.
            rows = np.stack([self.matrix @ row for row in rows])
        if self.offset is not None:
            rows = rows + self.offset
        return rows

    def in_single(self) -> Affine:
        """The same map in float32."""
        matrix = None if self.matrix is None else self.matrix.astype(np.float32)
        offset = None if self.offset is None else self.offset.astype(np.float32)
        return Affine(matrix, offset, self.first)


def center(mean: F32) -> Affine:
    """Take the mean of a collection away: `x − µ`, [dim]."""
    return Affine(offset=-mean)


def linear(matrix: F32, mean: F32 | None = None, bias: F32 | None = None) -> Affine:
    """`W (x − µ) + b`: a learned projection, PCA, or whitening. matrix  [to, from]"""
    made = center(mean).then(Affine(matrix)) if mean is not None else Affine(matrix)
    return made if bias is None else made.then(Affine(offset=bias))


def truncate(dimension: int) -> Affine:
    """Keep the first numbers, for models trained so (Kusupati et al. 2022, arXiv 2205.13147)."""
    return Affine(first=dimension)


def signed_sqrt(rows: F32) -> F32:
    """`sign(x) √|x|`: bursts count less (Perronnin, Sánchez & Mensink 2010)."""
    rooted: F32 = np.sign(rows) * np.sqrt(np.abs(rows))
    return rooted


def fuse(steps: Sequence[Affine | Bend]) -> tuple[Affine | Bend, ...]:
    """Fold every run of affine steps into one."""
    fused: list[Affine | Bend] = []
    for step in steps:
        if isinstance(step, Affine) and fused and isinstance(fused[-1], Affine):
            fused[-1] = fused[-1].then(step)
        else:
            fused.append(step)
    return tuple(step.in_single() if isinstance(step, Affine) else step for step in fused)


def apply(steps: Sequence[Affine | Bend], rows: F32) -> F32:
    """Run steps one after the other: [row, from] → [row, to] float32."""
    for step in steps:
        rows = step(rows)
    return np.ascontiguousarray(rows, np.float32)


def fit_pca(vectors: F32, dimension: int, *, whiten: bool, floor: float = 1e-6) -> tuple[F32, F32]:
    """Fit a projection to the directions of most variance.

    whiten   also bring each direction to unit variance: `(Λ + ε)^{-1/2} Uᵀ` instead of `Uᵀ`
    floor    ε, relative to the largest variance
    returns  matrix [dimension, dim] and mean [dim], for `linear`

    Signs are fixed (the largest number of each row is positive), so that a fit is repeatable.

    Source: Jégou & Chum 2012, "Negative evidences and co-occurences", section 3.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    values, axes = np.linalg.eigh(centred.T @ centred / max(1, len(vectors) - 1))
    order = np.argsort(-values, kind="stable")[:dimension]
    matrix = axes[:, order].T
    matrix *= np.sign(matrix[np.arange(len(matrix)), np.abs(matrix).argmax(axis=1)])[:, None]
    if whiten:
        spread = np.maximum(values[order], 0.0) + floor * max(float(values.max()), 1e-30)
        matrix = matrix / np.sqrt(spread)[:, None]
    return matrix.astype(np.float32), mean.astype(np.float32)


def _wide(array: NDArray[Any] | None) -> _F64 | None:
    return None if array is None else array.astype(np.float64)
