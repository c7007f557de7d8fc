"""Vectors made of vectors: sums, projections, means of groups.

Inputs are rows float[n, d], outputs float64. Where rows are summed, they are put into an order of
their own first: the same rows in another order give the same numbers to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64, I64

NOTHING = 1e-6
"""Of a vector that came of unit vectors: what is shorter is rounding, and points nowhere."""

_FEW = 64  # rows or numbers, up to which singular values are taken directly


def unit(vectors: NDArray[Any]) -> F64:
    """Bring float[…, d] to length one along the last axis; zeros stay."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    found: F64 = wide / np.where(lengths > 0, lengths, 1.0)
    return found


def combined(vectors: NDArray[Any], weights: NDArray[Any]) -> F64:
    """Give Σ wᵢ vᵢ, whatever the order of the pairs (vᵢ, wᵢ): float64[d]."""
    rows = vectors.astype(np.float64)
    worth = np.asarray(weights, dtype=np.float64)
    order = sorted(range(len(rows)), key=lambda at: (rows[at].tobytes(), worth[at]))
    found: F64 = np.zeros(rows.shape[1])
    for at in order:
        found += worth[at] * rows[at]
    return found


def mean(vectors: NDArray[Any]) -> F64:
    """Average float[n, d], n ≥ 1, whatever the order: float64[d]."""
    return combined(vectors, np.full(len(vectors), 1.0 / len(vectors)))


def agreement(vectors: NDArray[Any]) -> F64:
    """Tell how well each of float[n, d] agrees with the others: float64[n], its cosine with their
    mean, 0 without others. The least is the odd one out."""
    wide = vectors.astype(np.float64)
    others = wide.sum(axis=0) - wide
    found: F64 = np.einsum("nd,nd->n", unit(wide), unit(others))
    return found


def basis(vectors: NDArray[Any], rank: int | None = None, least: float = 1e-4) -> F64:
    """Give orthonormal rows that span float[n, d]: float64[r, d], r ≤ min(n, d, rank).

    least   directions of a singular value below this share of the largest count as none
    """
    wide = vectors.astype(np.float64)
    if min(wide.shape) <= _FEW:
        _, values, rows = np.linalg.svd(wide, full_matrices=False)
    else:
        values, rows = _by_squares(wide)
    largest = values[0] if values.size else 0.0
    kept = int(np.count_nonzero(values > max(least * largest, 1e-9)))
    found: F64 = rows[: kept if rank is None else min(kept, rank)]
    return found


def _by_squares(wide: F64) -> tuple[F64, F64]:
    """Give singular values, falling, and their rows, by the smaller product of float64[n, d] with
    itself: several times faster than the decomposition, and right to 1e-7 of the largest value."""
    tall = wide.shape[0] > wide.shape[1]
    squares, axes = np.linalg.eigh(wide.T @ wide if tall else wide @ wide.T)
    values = np.sqrt(np.maximum(squares[::-1], 0.0))
    rows = axes.T[::-1]
    if not tall:
        rows = (rows @ wide) / np.maximum(values, 1e-12)[:, None]
    return values, rows


def rejected(vector: NDArray[Any], others: NDArray[Any]) -> F64:
    """Take out of float[d] what lies in the span of float[n, d]: a − QᵀQ a, Q their basis."""
    rows = basis(others)
    wide = vector.astype(np.float64)
    found: F64 = wide - rows.T @ (rows @ wide)
    return found


def groups(vectors: NDArray[Any], threshold: float) -> I64:
    """Number near-duplicates alike: int64[n], numbers from 0 in the order of first members.

    vectors     float[n, d] of length one
    threshold   two are in one group if a chain of pairs of at least this cosine joins them, so
                that the order of the rows makes no difference
    """
    near = vectors @ vectors.T >= threshold - 1e-6
    labels = np.full(len(vectors), -1, dtype=np.int64)
    count = 0
    for start in range(len(vectors)):
        if labels[start] >= 0:
            continue
        waiting = [start]
        labels[start] = count
        while waiting:
            for one in np.flatnonzero(near[waiting.pop()] & (labels < 0)).tolist():
                labels[one] = count
                waiting.append(one)
        count += 1
    return labels


def grouped_mean(vectors: NDArray[Any], labels: I64) -> F64:
    """Average inside groups, bring these means to length one, and average them: float64[d].

    So a group counts once, however many members it has (attributes of one class: AttrSeg, Ma et
    al. 2023, arXiv 2309.00096, aggregates descriptions by what they have in common).
    """
    means = [unit(mean(vectors[labels == one])) for one in range(int(labels.max()) + 1)]
    return mean(np.stack(means))


def spread(vectors: NDArray[Any], count: int) -> I64:
    """Choose rows that lie far from each other: int64[min(n, count)], the first row first.

    Farthest-first traversal (Gonzalez 1985): each next one is the farthest from all before.
    """
    if len(vectors) <= count:
        return np.arange(len(vectors), dtype=np.int64)
    wide = vectors.astype(np.float64)
    chosen = [0]
    apart = np.full(len(wide), np.inf)
    while len(chosen) < count:
        apart = np.minimum(apart, np.square(wide - wide[chosen[-1]]).sum(axis=1))
        chosen.append(int(apart.argmax()))
    return np.array(chosen, dtype=np.int64)
