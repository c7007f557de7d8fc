"""Scores of one list made comparable with those of others.

A list is float64[n] with NaN where it lacks a candidate; what is seen is what is not NaN. Every
normalisation is monotone: it never changes the order within a list. What scale and shift do:

    minmax, z, dbsf, rank, softmax without τ    nothing: a·s + b gives what s gives, for a > 0
    temperature                                 a does nothing, b adds the same to every score
    softmax with τ                              b does nothing
    none, calibrated                            they count
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.ranking.calibration import Calibration
from app.types import F64

NORMALISATIONS = (
    "none", "minmax", "z", "dbsf", "rank", "softmax", "temperature", "calibrated",
)  # fmt: skip

POSITIVE = ("minmax", "dbsf", "rank", "softmax", "calibrated")
"""Those whose values can be multiplied: none is negative, but for a few of dbsf, which are cut."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to the scores of a list.

    kind    "none"; "minmax" (s − least)/(largest − least); "z" (s − µ)/σ; "dbsf" the same with
            µ − 3σ at 0 and µ + 3σ at 1; "rank" (n + 1 − rank)/n; "softmax" shares of e^(s/τ);
            "temperature" s/τ; "calibrated" a probability, by `curve`
    tau     of softmax and temperature; None takes it from the list: the standard deviation of all
            that is seen, for softmax, and of the `top` best, for temperature
    top     see `tau`. Few are not wise: a head that has found something is divided by its own lead
    name    of a stored calibration, whose `curve` is put in before scores are normalised
    """

    kind: str = "none"
    tau: float | None = None
    top: int = 50
    name: str | None = None
    curve: Calibration | None = None

    def __call__(self, scores: F64) -> F64:
        """Normalise float64[n]; NaN stays NaN.

        Of equal scores minmax makes 1, dbsf 0.5, z and temperature 0.

        Sources: DBSF as Qdrant 1.11 documents it ("Distribution-Based Score Fusion": the limits are
        the mean ± 3 standard deviations); temperature after Wang et al. 2023, "Adaptive Multi-head
        Contrastive Learning" (arXiv 2310.05615), which divides each head's similarity by one of its
        own: taken from the spread of its best scores, since nothing is trained here.
        """
        seen = scores[~np.isnan(scores)]
        if self.kind == "none" or seen.size == 0:
            return scores
        if self.kind == "calibrated":
            assert self.curve is not None, "the curve is put in before"
            return self.curve(scores)
        return np.asarray(getattr(self, f"_{self.kind}")(scores, seen), dtype=np.float64)

    def _minmax(self, scores: F64, seen: F64) -> Any:
        low, high = seen.min(), seen.max()
        if high > low:
            return (scores - low) / (high - low)
        return np.where(np.isnan(scores), np.nan, 1.0)

    def _z(self, scores: F64, seen: F64) -> Any:
        return (scores - seen.mean()) / (_spread(seen) or 1.0)

    def _dbsf(self, scores: F64, seen: F64) -> Any:
        return self._z(scores, seen) / 6 + 0.5

    def _rank(self, scores: F64, seen: F64) -> Any:
        return (seen.size + 1 - ranks(scores)) / seen.size

    def _softmax(self, scores: F64, seen: F64) -> Any:
        tau = self.tau or _spread(seen) or 1.0
        raised = np.exp((scores - seen.max()) / tau)
        return raised / np.nansum(raised)

    def _temperature(self, scores: F64, seen: F64) -> Any:
        best = np.sort(seen)[::-1][: self.top]
        tau = self.tau or _spread(best) or _spread(seen)
        return scores / tau if tau else 0.0 * scores


MINMAX = Normalisation("minmax")


def ranks(scores: F64) -> F64:
    """Rank a list from 1 on, best first; equal scores share the best of their ranks."""
    ranked = np.full(scores.shape, np.nan)
    seen = np.flatnonzero(~np.isnan(scores))
    falling = np.sort(-scores[seen])
    ranked[seen] = np.searchsorted(falling, -scores[seen]) + 1
    return ranked


def _spread(scores: F64) -> float:
    """Give the standard deviation; 0 where it is nothing but rounding."""
    spread = float(scores.std())
    return spread if spread > 1e-12 * float(np.abs(scores).max()) else 0.0
