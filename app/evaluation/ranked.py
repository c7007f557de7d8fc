"""Measures of one ranked answer: recall, precision, hit, MRR, MAP and nDCG at k.

An answer is held as two arrays: the gain of each result, best first, and the gains of everything
that is relevant. A document that a list holds twice counts where it came first. A query to which
nothing is relevant has no value in any measure (nan), and no part in a mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from app.types import F64


class Ranking(NamedTuple):
    """One answer, judged.

    gains   float64[results] of each result, best first; 0 for what is not relevant, or came before
    due     float64[relevant], the gains of all that is relevant, descending, each above 0
    """

    gains: F64
    due: F64


class Measure(NamedTuple):
    """A measure at a depth, such as `ndcg@10`."""

    kind: str
    k: int

    @property
    def name(self) -> str:
        """Its name, as it is written."""
        return f"{self.kind}@{self.k}"


def judged(ranked: Sequence[Any], gains: Mapping[Any, float]) -> Ranking:
    """Hold a ranked list of ids against the gains of what is relevant.

    gains   above 0 for relevant ids; all others, and those that are left out, are not relevant
    """
    seen: set[Any] = set()
    found = np.zeros(len(ranked))
    for place, one in enumerate(ranked):
        if one not in seen:
            seen.add(one)
            found[place] = max(gains.get(one, 0.0), 0.0)
    due = np.sort(np.array([gain for gain in gains.values() if gain > 0], np.float64))[::-1]
    return Ranking(found, due)


def recall(one: Ranking, k: int) -> float:
    """Share of what is relevant among the first k."""
    return float((one.gains[:k] > 0).sum() / one.due.size)


def precision(one: Ranking, k: int) -> float:
    """Share of the first k places that hold something relevant; places left empty do not."""
    return float((one.gains[:k] > 0).sum() / k)


def hit(one: Ranking, k: int) -> float:
    """1 if anything relevant is among the first k, otherwise 0."""
    return float((one.gains[:k] > 0).any())


def reciprocal_rank(one: Ranking, k: int) -> float:
    """1 / place of the first relevant result, 0 if that is not among the first k.

    Source: Voorhees 1999, TREC-8 question answering track report.
    """
    places = np.flatnonzero(one.gains[:k] > 0)
    return 1.0 / (int(places[0]) + 1) if places.size else 0.0


def average_precision(one: Ranking, k: int) -> float:
    """Mean precision at the places of what is relevant.

    AP@k = 1 / min(m, k) · Σ_{i ≤ k} P(i) · rel(i), with m relevant documents.
    Source: mAP@100 of Google Landmarks v2 (Weyand et al. 2020, arXiv 2004.01804).
    """
    found = one.gains[:k] > 0
    precisions = np.cumsum(found) / np.arange(1, found.size + 1)
    return float((precisions * found).sum() / min(one.due.size, k))


def gain(one: Ranking, k: int) -> float:
    """Normalised discounted cumulative gain, with linear gains.

    DCG@k = Σ gain(i) / log2(i + 1), divided by that of the best order there is.
    Source: Järvelin & Kekäläinen 2002 (doi 10.1145/582415.582418).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    found, best = one.gains[:k], one.due[:k]
    return float(found @ discounts[: found.size]) / float(best @ discounts[: best.size])


MEASURES: dict[str, Callable[[Ranking, int], float]] = {
    "recall": recall,
    "precision": precision,
    "hit": hit,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "ndcg": gain,
}
"""Measures of a ranking by the word before the @."""

DEFAULT = ("ndcg@10", "recall@10", "recall@100", "precision@10", "mrr@10", "map@100", "hit@1")
"""What is measured unless somebody says otherwise."""

CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Depths at which a curve of recall is drawn."""

_MEASURE = re.compile(r"([a-z]+)@([1-9]\d{0,4})")


def measure_from(name: str, known: Sequence[str] = tuple(MEASURES)) -> Measure:
    """Read the name of a measure. Raises ValueError with what was expected."""
    found = _MEASURE.fullmatch(name)
    if found is None or found[1] not in known:
        raise ValueError(
            f"expected one of {', '.join(known)}, an @ and a depth, as in {known[0]}@10"
        )
    return Measure(found[1], int(found[2]))


def values_of(rankings: Sequence[Ranking], measures: Sequence[Measure]) -> F64:
    """Take measures of many answers: float64[queries, measures], nan where nothing is relevant."""
    values = np.full((len(rankings), len(measures)), np.nan)
    for row, one in enumerate(rankings):
        if one.due.size:
            values[row] = [MEASURES[measure.kind](one, measure.k) for measure in measures]
    return values


def recall_curve(rankings: Sequence[Ranking], depth: int) -> tuple[list[int], list[float]]:
    """Mean recall at the depths of `CURVE` up to `depth`, over queries with something relevant."""
    counted = [one for one in rankings if one.due.size]
    at = [k for k in CURVE if k <= depth]
    if not counted:
        return [], []
    return at, [float(np.mean([recall(one, k) for one in counted])) for k in at]


def precision_curve(rankings: Sequence[Ranking]) -> tuple[list[float], list[float]]:
    """Interpolated precision at eleven levels of recall, the mean of all judged queries.

    At a level r it is the greatest precision at any recall ≥ r; 0 where that is never reached.
    Source: TREC's eleven-point average (Manning, Raghavan & Schütze 2008, 8.4).
    """
    levels = np.linspace(0, 1, 11)
    curves = []
    for one in rankings:
        if not one.due.size:
            continue
        found = one.gains > 0
        hits = np.cumsum(found)
        precisions = hits / np.arange(1, found.size + 1)
        recalls = hits / one.due.size
        curves.append([float(precisions[recalls >= r - 1e-12].max(initial=0.0)) for r in levels])
    if not curves:
        return [], []
    return [round(float(r), 1) for r in levels], np.mean(curves, axis=0).tolist()
