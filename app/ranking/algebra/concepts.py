"""Vectors as non-negative mixtures of concepts, and operations of sets on such mixtures.

With concepts B (rows, unit length) a vector x has the coefficients

    α(x) = argmin over α ≥ 0 of ‖Bᵀα − x‖² + λ‖α‖₁

and what two things share is the lesser of their coefficients, concept by concept; what is in one
of them the larger; what the first has beyond the others the difference, where it is positive. Bᵀα
is the vector of the outcome. It is the training-free form of operations on label sets (LaSO:
Alfassy et al. 2019, arXiv 1902.09811).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64

_RIDGE = 1e-8  # equal concepts share what they explain, instead of a singular system
_TOLERANCE = 1e-9


def coefficients(concepts: NDArray[Any], vectors: NDArray[Any], sparsity: float = 0.0) -> F64:
    """Solve the problem above for each vector: float64[n, l], none negative.

    concepts   float[l, d], rows of length one
    vectors    float[n, d]
    sparsity   λ ≥ 0: what a concept has to contribute before it counts

    An active set grows by the concept that helps most, and shrinks where a coefficient would turn
    negative (Lawson and Hanson 1974, chapter 23), on the normal equations: B Bᵀ is made once.
    """
    wide = concepts.astype(np.float64)
    gram = wide @ wide.T
    gram[np.diag_indices_from(gram)] += _RIDGE
    products = vectors.astype(np.float64) @ wide.T - sparsity / 2
    found = [_solved(gram, one) for one in products]
    return np.stack(found) if found else np.zeros((0, len(wide)))


def _solved(gram: F64, product: F64) -> F64:
    count = len(product)
    alpha: F64 = np.zeros(count)
    active = np.zeros(count, dtype=np.bool_)
    for _ in range(3 * count):
        slope = product - gram @ alpha
        slope[active] = -np.inf
        best = int(slope.argmax())
        if slope[best] <= _TOLERANCE:
            break
        active[best] = True
        while True:
            places = np.flatnonzero(active)
            solved = np.linalg.solve(gram[np.ix_(places, places)], product[places])
            if (solved > 0).all():
                alpha[places] = solved
                break
            before = alpha[places]
            falling = solved <= 0
            gaps = before[falling] - solved[falling]
            step = np.min(before[falling] / np.where(gaps > 0, gaps, 1.0))
            alpha[places] = before + step * (solved - before)
            dropped = places[falling & (alpha[places] <= 1e-12)]
            alpha[dropped] = 0.0
            active[dropped] = False
            if dropped.size == 0 or not active.any():  # rounding: nothing moves any more
                alpha[~active] = 0.0
                break
    found: F64 = np.maximum(alpha, 0.0)
    return found


def united(alphas: F64) -> F64:
    """Take what any of float64[n, l] has: the larger coefficient."""
    found: F64 = alphas.max(axis=0)
    return found


def shared(alphas: F64) -> F64:
    """Take what all of float64[n, l] have: the lesser coefficient."""
    found: F64 = alphas.min(axis=0)
    return found


def without(alphas: F64, weight: float = 1.0) -> F64:
    """Take what the first of float64[n, l] has beyond the others: max(α₁ − w·max αᵢ, 0)."""
    others = alphas[1:].max(axis=0, initial=0.0)
    found: F64 = np.maximum(alphas[0] - weight * others, 0.0)
    return found


def explained(concepts: NDArray[Any], alpha: F64, vector: NDArray[Any]) -> float:
    """Tell which share of a vector's squared length its concepts account for, 0 … 1."""
    wide = vector.astype(np.float64)
    total = float(wide @ wide)
    if total == 0.0:
        return 0.0
    rest = wide - alpha @ concepts.astype(np.float64)
    return max(0.0, 1.0 - float(rest @ rest) / total)


def clustered(vectors: NDArray[Any], count: int, seed: int, rounds: int = 10) -> F64:
    """Find concepts that nobody named: centres of spherical k-means, float64[≤ count, d].

    vectors   float[n, d], n ≥ 1; rows of length zero are left out
    seed      of the first centres, which are drawn by distance (k-means++); equal seeds and rows
              give equal centres

    Source: Dhillon and Modha 2001, "Concept decompositions for large sparse text data".
    """
    rows = unit_rows(vectors)
    count = min(count, len(rows))
    if count == 0:
        return np.zeros((0, vectors.shape[1]))
    centres = _drawn(rows, count, np.random.default_rng(seed)).astype(np.float32)
    labels = np.full(len(rows), -1)
    for _ in range(rounds):
        near = rows @ centres.T
        found = near.argmax(axis=1)
        if (found == labels).all():
            break
        labels = found
        order = np.argsort(labels, kind="stable")
        held, starts = np.unique(labels[order], return_index=True)
        sums = np.add.reduceat(rows[order], starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[held] = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres[held])
    used = np.unique(labels)
    found_centres: F64 = centres[used].astype(np.float64)
    return found_centres


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Bring rows to length one, and leave out those of length zero: float32[≤ n, d]."""
    wide = vectors.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    kept = lengths[:, 0] > 1e-6
    found: NDArray[np.float32] = wide[kept] / lengths[kept]
    return found


def _drawn(
    rows: NDArray[np.float32], count: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Draw first centres, each with the odds of its squared distance to those before."""
    chosen = [int(random.integers(len(rows)))]
    apart = np.full(len(rows), np.inf)
    while len(chosen) < count:
        apart = np.minimum(apart, np.maximum(1.0 - rows @ rows[chosen[-1]], 0.0))
        total = apart.sum()
        if total <= 1e-6:
            break
        at = int(np.searchsorted(np.cumsum(apart), random.random() * total))
        chosen.append(min(at, len(rows) - 1))
    return rows[chosen]
