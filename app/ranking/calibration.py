"""From scores to probabilities, learned from pairs of which it is known whether they match.

Scores are float64[n], matches bool[n]. A `Calibration` is monotone: it never changes an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64

METHODS = ("platt", "isotonic")

MOST_KNOTS = 512
"""Knots of a stored isotonic curve; longer ones are thinned out."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A monotone map from scores to probabilities.

    method   "platt": 1 / (1 + e^−(slope·s + offset)); "isotonic": straight lines between knots
    scores, values   float64[knots], both ascending; of isotonic ones
    """

    method: str
    slope: float = 0.0
    offset: float = 0.0
    scores: F64 | None = None
    values: F64 | None = None

    def __call__(self, scores: F64) -> F64:
        """Give the probability of each score, float64 of the same shape; NaN stays NaN."""
        if self.method == "platt":
            return _logistic(self.slope * scores + self.offset)
        assert self.scores is not None
        assert self.values is not None
        found: F64 = np.interp(scores, self.scores, self.values)
        return np.where(np.isnan(scores), np.nan, found)

    def json(self) -> dict[str, Any]:
        """Give it as JSON."""
        if self.method == "platt":
            return {"method": "platt", "slope": self.slope, "offset": self.offset}
        assert self.scores is not None
        assert self.values is not None
        knots = {"scores": self.scores.tolist(), "values": self.values.tolist()}
        return {"method": "isotonic", **knots}


def calibration_from(raw: object) -> Calibration:
    """Read what `json` gave. Raises ValueError for anything else: it may be of anybody's."""
    if not isinstance(raw, Mapping):
        raise ValueError("not a calibration")
    if raw.get("method") == "platt":
        slope, offset = raw.get("slope"), raw.get("offset")
        if not _finite([slope, offset]) or float(slope) < 0:  # type: ignore[arg-type]
            raise ValueError("not a slope and an offset")
        return Calibration("platt", float(slope), float(offset))  # type: ignore[arg-type]
    scores, values = raw.get("scores"), raw.get("values")
    if raw.get("method") != "isotonic" or not isinstance(scores, list):
        raise ValueError("not a method")
    if not isinstance(values, list) or not 0 < len(scores) == len(values) <= MOST_KNOTS:
        raise ValueError("not as many values as scores")
    if not _finite(scores) or not _finite(values):
        raise ValueError("not finite")
    at, worth = np.array(scores, np.float64), np.array(values, np.float64)
    rising = (np.diff(at) > 0).all() and (np.diff(worth) >= 0).all()
    if not rising or worth[0] < 0 or worth[-1] > 1:
        raise ValueError("not ascending within 0 … 1")
    return Calibration("isotonic", scores=at, values=worth)


def fit(method: str, scores: F64, matches: NDArray[np.bool_]) -> Calibration:
    """Fit a calibration by either method, to scores of −1e30 … 1e30; both kinds must be there."""
    return platt(scores, matches) if method == "platt" else isotonic(scores, matches)


def platt(scores: F64, matches: NDArray[np.bool_]) -> Calibration:
    """Fit a logistic curve by maximum likelihood, which must rise.

    Targets are (N₊+1)/(N₊+2) and 1/(N₋+2), so that pairs that a threshold separates have finite
    slopes. Source: Platt 1999; Newton's method as Lin, Lin & Weng 2007 (doi
    10.1007/s10994-007-5018-6) give it.
    """
    true, false = int(matches.sum()), int((~matches).sum())
    assert true, "platt: at least one match"
    assert false, "platt: at least one that is none"
    target = np.where(matches, (true + 1) / (true + 2), 1 / (false + 2))
    middle = float(scores.mean())
    spread = float(scores.std())
    spread = spread if spread > 1e-100 else 1.0  # a slope is divided by it
    points = (scores - middle) / spread
    slope, offset = 0.0, float(np.log((true + 1) / (false + 1)))
    loss = _cross_entropy(slope * points + offset, target)
    for _ in range(100):
        shares = _logistic(slope * points + offset)
        apart, bend = shares - target, shares * (1 - shares)
        gradient = np.array([apart @ points, apart.sum()])
        hessian = np.array([[bend @ points**2, bend @ points], [bend @ points, bend.sum()]])
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        size = 1.0
        while size > 1e-10:
            new = slope - size * step[0], offset - size * step[1]
            reached = _cross_entropy(new[0] * points + new[1], target)
            if reached <= loss - 1e-4 * size * float(gradient @ step):
                break
            size /= 2
        else:
            break
        (slope, offset), loss = new, reached
        if np.abs(gradient).max() < 1e-9 * len(points):
            break
    if slope < 0:  # higher scores match less: nothing but the share of matches is known
        slope, offset = 0.0, float(np.log((true + 1) / (false + 1)))
    return Calibration("platt", float(slope / spread), float(offset - slope * middle / spread))


def isotonic(scores: F64, matches: NDArray[np.bool_]) -> Calibration:
    """Fit the nearest rising curve in least squares, by pooling adjacent violators.

    Source: Zadrozny & Elkan 2002 (doi 10.1145/775047.775151); the algorithm is of Ayer et al. 1955.
    A pool is flat from its least score to its largest; pools are joined by straight lines.
    """
    at, where = np.unique(scores, return_inverse=True)
    counts = np.bincount(where).astype(np.float64)
    shares = np.bincount(where, weights=matches.astype(np.float64)) / counts
    pools: list[tuple[float, float, float, float]] = []  # least, largest score; matches, count
    for score, share, count in zip(at.tolist(), shares.tolist(), counts.tolist(), strict=True):
        pools.append((score, score, share * count, count))
        while len(pools) > 1 and pools[-2][2] * pools[-1][3] >= pools[-1][2] * pools[-2][3]:
            _, high, more, others = pools.pop()
            low, _, own, some = pools[-1]
            pools[-1] = (low, high, own + more, some + others)
    table = np.array(pools)
    knots, first = np.unique(table[:, :2].ravel(), return_index=True)
    values = np.repeat(table[:, 2] / table[:, 3], 2)[first]
    if knots.size > MOST_KNOTS:
        kept = np.unique(np.linspace(0, knots.size - 1, MOST_KNOTS).round().astype(np.int64))
        knots, values = knots[kept], values[kept]
    return Calibration("isotonic", scores=knots, values=values)


def crossed(method: str, scores: F64, matches: NDArray[np.bool_], folds: int = 5) -> F64:
    """Give the probability of each pair by a curve that did not see it: float64[n].

    Pairs are dealt to folds in turn, matches and others each for themselves; there must be two of
    either. What is measured on these is not flattered by having been fitted on them.
    """
    deal = np.empty(scores.size, dtype=np.int64)
    for kind in (matches, ~matches):
        deal[kind] = np.arange(int(kind.sum())) % folds
    found = np.empty(scores.size)
    for fold in range(folds):
        held = deal == fold
        if held.any():
            found[held] = fit(method, scores[~held], matches[~held])(scores[held])
    return found


def margin_scale(target_scores: F64, classes: int, alpha: float = 0.1) -> float:
    """Give the scale 1/τ of a softmax under which the median target has a middling loss, ≥ 32.

    target_scores   cosines of things with what they belong to
    classes         things that the softmax chooses among
    alpha           probability that the median target is to miss

    s = log((classes − 1)(1 − α)/α) / (1 − median). Source: Zhu et al. 2023, "Coarse-to-Fine" (CFCD,
    arXiv 2308.04008), which adapts the scale of its loss so.
    """
    apart = max(1.0 - float(np.median(target_scores)), 1e-6)
    return max(32.0, float(np.log(max(classes - 1, 1) * (1 - alpha) / alpha)) / apart)


def _logistic(logits: F64) -> F64:
    halved: F64 = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return halved


def _cross_entropy(logits: F64, target: F64) -> float:
    return float(np.sum(np.logaddexp(0.0, logits) - target * logits))


def _finite(numbers: list[Any]) -> bool:
    plain = all(type(one) in (int, float) for one in numbers)
    return plain and bool(np.isfinite(np.array(numbers, np.float64)).all())
