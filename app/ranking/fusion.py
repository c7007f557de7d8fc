"""One ranking of several: what lists of candidates say together.

Inputs are float64[lists, n] with NaN where a list lacks a candidate; outputs float64[n].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.types import F64

METHODS = ("rrf", "sum")
NORMALISATIONS = ("none", "minmax")


@dataclass(frozen=True, slots=True)
class Fusion:
    """How lists become one.

    method      "rrf" adds 1 / (rank_constant + rank), ranks from 1 (Cormack et al. 2009, SIGIR);
                "sum" adds scores
    weights     of each list; None for equal ones
    normalise   what is done to each list's scores before
    """

    method: str = "rrf"
    weights: tuple[float, ...] | None = None
    normalise: str = "none"
    rank_constant: float = 60.0


def fuse(lists: F64, how: Fusion) -> F64:
    """Fuse float64[lists, n] to float64[n]. What a list lacks counts as its least score."""
    weights = np.ones(lists.shape[0]) if how.weights is None else np.array(how.weights)
    if how.method == "rrf":
        worth = np.where(np.isnan(lists), 0.0, 1.0 / (how.rank_constant + _ranks(lists)))
    else:
        worth = np.stack([_normalised(one, how.normalise) for one in lists])
    fused: F64 = weights @ worth
    return fused


def _ranks(lists: F64) -> F64:
    """Rank each list from 1 on; equal scores share the best of their ranks."""
    ranks = np.full(lists.shape, np.nan)
    for row, one in zip(ranks, lists, strict=True):
        seen = np.flatnonzero(~np.isnan(one))
        falling = np.sort(-one[seen])
        row[seen] = np.searchsorted(falling, -one[seen]) + 1
    return ranks


def _normalised(one: F64, how: str) -> F64:
    seen = one[~np.isnan(one)]
    if seen.size == 0:
        return np.zeros_like(one)
    low, high = seen.min(), seen.max()
    if how == "minmax":
        one = (one - low) / (high - low) if high > low else np.where(np.isnan(one), np.nan, 1.0)
        low = 0.0
    return np.where(np.isnan(one), low, one)
