"""Measures of scored pairs, and how they vary when pairs, or their labels, are drawn anew.

Pairs that were given are drawn themselves. Pairs of points share points and labels, and are no
independent sample: there the labels are drawn. A pair of one label then counts as often as that
label was drawn, a pair of two as often as both were together, nᵢ · nⱼ.
Source: the subsets bootstrap of Bolle, Ratha & Pankanti 2004 (Computer Vision and Image
Understanding 93) draws subjects, since scores of one subject hang together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.verification import Roc, eer, roc_auc, tar_at_far
from app.types import F64, I64

RATES = (0.1, 0.01, 0.001)
"""Rates of false accepts at which true ones are told, where there are pairs enough."""

_TAIL = 0.05


class PairMeasures:
    """ROC AUC, EER, TAR at rates of FAR and the gap of scores, of the pairs at some draws.

    The scores are sorted once. A draw is weights, whatever is drawn; what it came to is
    remembered, since intervals and differences ask for each measure of the same draws.
    """

    def __init__(
        self,
        scores: NDArray[Any],
        same: NDArray[np.bool_],
        rates: Sequence[float] = RATES,
        labels: tuple[I64, I64] | None = None,
    ) -> None:
        """Sort the pairs.

        scores   [n], higher for more alike
        same     bool[n]
        labels   int64[n] of either side, from 0 on: these are drawn; None draws the pairs
        """
        order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
        self._scores = np.asarray(scores, np.float64)[order]
        self._same = np.asarray(same, np.bool_)[order]
        self._ends = np.flatnonzero(np.append(self._scores[1:] != self._scores[:-1], True))
        self._order = order
        self._labels = None if labels is None else (labels[0][order], labels[1][order])
        self._rates = tuple(rates)
        self._seen: dict[bytes, F64] = {}
        self.things = self._scores.size
        if labels is not None:
            self.things = int(max(labels[0].max(), labels[1].max())) + 1
        self.names = [
            "roc auc", "eer", *(f"tar@far={rate:g}" for rate in self._rates), "score gap",
        ]  # fmt: skip

    def wholes(self) -> dict[str, Callable[[I64], float]]:
        """Give each measure of the things at some places, as `bootstrap.statistic` takes them."""
        return {name: partial(self._one, number) for number, name in enumerate(self.names)}

    def curve(self) -> Roc:
        """Follow the threshold down over all pairs."""
        return self._curve(np.ones(self._scores.size))

    def threshold(self) -> float:
        """Give the score at which both kinds of errors are most alike."""
        curve = self.curve()
        return float(curve.thresholds[int(np.argmin(np.abs(curve.far - (1 - curve.tar))))])

    def at(self, places: I64) -> F64:
        """Measure the pairs of some things: float64[names], nan where one kind is missing."""
        key = hashlib.blake2b(places.tobytes(), digest_size=16).digest()
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = self._measured(self._weights(places))
        return found

    def _one(self, number: int, places: I64) -> float:
        return float(self.at(places)[number])

    def _weights(self, places: I64) -> F64:
        counts = np.bincount(places, minlength=self.things).astype(np.float64)
        if self._labels is None:
            return counts[self._order]
        one, other = counts[self._labels[0]], counts[self._labels[1]]
        return np.where(self._same, one, one * other)

    def _curve(self, weights: F64) -> Roc:
        equal = np.cumsum(np.where(self._same, weights, 0.0))[self._ends]
        different = np.cumsum(np.where(self._same, 0.0, weights))[self._ends]
        return Roc(
            np.concatenate(([0.0], different / different[-1])),
            np.concatenate(([0.0], equal / equal[-1])),
            np.concatenate(([np.inf], self._scores[self._ends])),
        )

    def _measured(self, weights: F64) -> F64:
        equal, different = weights[self._same], weights[~self._same]
        if not equal.any() or not different.any():
            return np.full(len(self.names), np.nan)
        curve = self._curve(weights)
        gap = _quantile(self._scores[self._same], equal, _TAIL) - _quantile(
            self._scores[~self._same], different, 1 - _TAIL
        )
        rates = [tar_at_far(curve, rate) for rate in self._rates]
        return np.array([roc_auc(curve), eer(curve), *rates, gap])


def _quantile(descending: F64, weights: F64, share: float) -> float:
    """Quantile of values that are there so many times each, as NumPy's of them all in a row."""
    values, upto = descending[::-1], np.cumsum(weights[::-1])
    place = (upto[-1] - 1) * share
    below, above = np.searchsorted(upto, [np.floor(place), np.ceil(place)], side="right")
    part = place - np.floor(place)
    return float(values[below] * (1 - part) + values[above] * part)


def rank_agreement(scores: F64, said: F64) -> F64:
    """How alike two rankings put each pair: 1 less the distance of its ranks, as shares of all."""
    found: F64 = 1 - np.abs(_shares(scores) - _shares(said))
    return found


def _shares(values: F64) -> F64:
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    found: F64 = order / max(1.0, values.size - 1.0)
    return found
