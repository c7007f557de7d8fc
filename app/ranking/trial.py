"""Whether a change of scores is worth it: tried on queries whose answers are known.

For each of Q queries there are C candidates, best first as they were found: float64[Q, C] scores,
−inf where there are fewer, and bool[Q, C] that says which are right. `due` is float64[Q], what the
best order there could be would gain: right answers that were not found count there.

What wins on the queries by which it was chosen would be flattered, so it is measured on others
(`chosen_apart`): each half of the queries is ranked by what was best for the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.types import F64

DEPTH = 10
"""Results that are judged."""

_DISCOUNTS = 1.0 / np.log2(np.arange(2, DEPTH + 2))


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """What an order is worth, query by query: float64[Q] each.

    first   1 where the first result is right
    ndcg    of the first ten
    """

    first: F64
    ndcg: F64


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much is gained on queries that had no say in the choice.

    gain    mean of nDCG@10 more than without, and `error` its standard error
    wins    whether the gain is larger than its error
    """

    gain: float
    error: float

    @property
    def wins(self) -> bool:
        """Tell whether it is worth it."""
        return self.gain > self.error


def due_of(right: NDArray[np.int64]) -> F64:
    """Give what the best order would gain of so many right answers: int64[Q] → float64[Q]."""
    summed = np.concatenate([[0.0], np.cumsum(_DISCOUNTS)])
    due: F64 = summed[np.minimum(right, DEPTH)]
    return due


def judged(scores: F64, right: NDArray[np.bool_], due: F64) -> Reached:
    """Judge the order that scores make; of equal ones the first stay first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    hits = np.take_along_axis(right & np.isfinite(scores), order, axis=1).astype(np.float64)
    gained = hits @ _DISCOUNTS[: hits.shape[1]]
    return Reached(hits[:, 0], np.divide(gained, due, out=np.zeros_like(gained), where=due > 0))


def chosen_apart(raw: F64, tried: F64) -> Verdict:
    """Measure the choice of the best of several, each half chosen for by the other.

    raw     float64[Q]: nDCG of each query without
    tried   float64[tries, Q]: with each

    A half for which nothing was better than doing nothing is left as it is.
    """
    gains = np.zeros(raw.size)
    for half in (0, 1):
        held = np.arange(raw.size) % 2 == half
        better = tried[:, ~held].mean(axis=1) - raw[~held].mean()
        if better.size and better.max() > 0:
            gains[held] = (tried[better.argmax()] - raw)[held]
    error = float(gains.std(ddof=1) / np.sqrt(gains.size)) if gains.size > 1 else 0.0
    return Verdict(float(gains.mean()), error)
