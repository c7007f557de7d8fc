"""One ranking of several: what lists of candidates say together.

Inputs are float64[lists, n] with NaN where a list lacks a candidate; outputs float64[n].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.ranking.normalise import NORMALISATIONS, POSITIVE, Normalisation, ranks
from app.types import F64

__all__ = ["METHODS", "NORMALISATIONS", "POSITIVE", "Fusion", "Normalisation", "fuse"]

METHODS = ("rrf", "sum", "max", "product")

_LARGEST_LOG = 700.0  # of what float64 holds; values of dbsf may be above 1
_LEAST = 1e-9  # a factor of a product: what is certainly no match does not erase all others


@dataclass(frozen=True, slots=True)
class Fusion:
    """How lists become one.

    method      "rrf" adds w / (rank_constant + rank), ranks from 1 (Cormack et al. 2009, SIGIR, who
                have no weights); "sum" adds w · s; "max" takes the largest w · s; "product"
                multiplies s^w, as experts that must all agree (Hinton 2002)
    weights     of each list, ≥ 0; None for equal ones
    normalise   what is done to each list's scores s before: of all, or list by list; no matter to
                "rrf"
    floor       what counts where a list lacks a candidate, after the list was normalised; None is
                the list's least, of "minmax" 0. "rrf" adds nothing then
    """

    method: str = "rrf"
    weights: tuple[float, ...] | None = None
    normalise: str | Normalisation | tuple[Normalisation, ...] = "none"
    rank_constant: float = 60.0
    floor: float | None = None

    def normalisations(self, lists: int) -> list[Normalisation]:
        """Give what is done to each list."""
        if isinstance(self.normalise, tuple):
            return list(self.normalise)
        how = self.normalise
        return [Normalisation(how) if isinstance(how, str) else how] * lists


def fuse(lists: F64, how: Fusion) -> F64:
    """Fuse float64[lists, n] to float64[n]. A list that has nothing at all says nothing."""
    weights = np.ones(lists.shape[0]) if how.weights is None else np.array(how.weights)
    fused: F64
    if how.method == "rrf":
        ranked = np.stack([ranks(one) for one in lists])
        fused = weights @ np.where(np.isnan(lists), 0.0, 1.0 / (how.rank_constant + ranked))
        return fused
    normalisations = how.normalisations(len(lists))
    worth = np.stack(
        [
            # Of a list of equals minmax makes ones, so its least is not below them.
            _filled(own(one), 0.0 if own.kind == "minmax" and how.floor is None else how.floor)
            for one, own in zip(lists, normalisations, strict=True)
        ]
    )
    if how.method == "sum":
        fused = weights @ worth
    elif how.method == "max":
        fused = (weights[:, None] * worth).max(axis=0)
    else:
        fused = np.exp(np.minimum(weights @ np.log(np.maximum(worth, _LEAST)), _LARGEST_LOG))
    return fused


def _filled(one: F64, floor: float | None) -> F64:
    """Put the floor where a list lacks a candidate."""
    seen = one[~np.isnan(one)]
    least = floor if floor is not None else float(seen.min()) if seen.size else 0.0
    return np.where(np.isnan(one), least, one)
