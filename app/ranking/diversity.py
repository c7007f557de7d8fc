"""An order of candidates in which each adds to those before it: MMR, and greedy MAP of a DPP.

Both choose one candidate after the other, so what is chosen first does not depend on how many are
wanted, and pages fit together. Candidates come best first; of equal ones the earlier is chosen.
Similarities are asked for row by row, as candidates are chosen: `cosine_rows`, `gaussian_rows`.

Sources: J. Carbonell and J. Goldstein, The use of MMR, diversity-based reranking for reordering
documents and producing summaries (SIGIR 1998); L. Chen, G. Zhang and H. Zhou, Fast greedy MAP
inference for determinantal point process to improve recommendation diversity (NeurIPS 2018, arXiv
1709.05135): algorithm 1, and section 4 for the trade-off of relevance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.ranking.algebra.vectors import unit
from app.types import F32, F64

Rows = Callable[[int], F64]
"""Similarity of one candidate to all: place → float64[n], 1 to itself."""

_DIGITS = 10
"""Digits that are compared: sums of the same numbers in another order are the same."""

_NOTHING_NEW = 1e-9
"""What is left of a unit vector that the chosen ones span already, but for rounding."""


class Chosen(NamedTuple):
    """Candidates in the order in which they were chosen.

    places   of each
    worth    of each when it was chosen: the criterion's value
    """

    places: list[int]
    worth: list[float]


class Cap:
    """At most `most` chosen candidates for each value; one without any is not bound.

    values   of each candidate, all different
    """

    def __init__(self, values: Sequence[Sequence[Hashable]], most: int) -> None:
        self._values = values
        self._most = most
        self._taken: dict[Hashable, int] = defaultdict(int)
        self._holders: dict[Hashable, list[int]] = defaultdict(list)
        for place, own in enumerate(values):
            for value in own:
                self._holders[value].append(place)

    def takes(self, place: int) -> bool:
        """Count one if it may be chosen, and tell whether it was."""
        may = all(self._taken[value] < self._most for value in self._values[place])
        if may:
            self.take(place)
        return may

    def take(self, place: int) -> list[int]:
        """Count one that was chosen; give the places that may not be chosen any more."""
        closed: list[int] = []
        for value in self._values[place]:
            self._taken[value] += 1
            if self._taken[value] == self._most:
                closed += self._holders[value]
        return closed


def cosine_rows(vectors: F32, has: NDArray[np.bool_]) -> Rows:
    """Give cosines, a positive semi-definite kernel; one without a vector is like nothing else.

    vectors   float32[n, d]
    has       bool[n]
    """
    rows = unit(np.where(has[:, None], vectors, 0.0))

    def row(place: int) -> F64:
        found: F64 = rows @ rows[place]
        found[place] = 1.0
        return found

    return row


def gaussian_rows(vectors: F32, has: NDArray[np.bool_]) -> Rows:
    """Give exp(−d²/σ²) of distances, σ² being the mean d² between two of the candidates.

    It is positive semi-definite, and does not change with the unit of the vectors.

    vectors   float32[n, d]
    has       bool[n]: one without a vector is like nothing else
    """
    count = int(has.sum())
    points = vectors.astype(np.float64)
    # Around their mean products are no larger than distances, and little is lost between them.
    points -= points[has].mean(axis=0) if count else 0.0
    points[~has] = 0.0
    lengths = np.einsum("nd,nd->n", points, points)
    spread = 2 * float(lengths.sum()) / (count - 1) if count > 1 else 0.0

    def row(place: int) -> F64:
        found: F64 = np.zeros(len(points))
        if has[place]:
            squared = np.maximum(lengths + lengths[place] - 2 * (points @ points[place]), 0.0)
            found = np.where(has, np.exp(-squared / spread) if spread > 0 else 1.0, 0.0)
        found[place] = 1.0
        return found

    return row


def mmr(relevance: F64, similar: Rows, count: int, weight: float, cap: Cap | None = None) -> Chosen:
    """Choose by maximal marginal relevance: λ·relevance − (1 − λ)·(most similarity to one chosen).

    relevance   float64[n], on the scale of the similarities
    count       how many to choose, at most
    weight      λ: 1 is the order of relevance, 0 looks at similarities alone
    """
    closest = np.zeros(len(relevance))
    seen_any = False

    def worth() -> F64:
        return weight * relevance - (1 - weight) * closest

    def chosen(place: int) -> None:
        nonlocal seen_any
        row = similar(place)
        # Not from zero on: what is less than orthogonal to everything chosen is worth more.
        np.copyto(closest, np.maximum(closest, row) if seen_any else row)
        seen_any = True

    return _greedy(len(relevance), count, worth, chosen, cap)


def dpp(
    relevance: F64, similar: Rows, count: int, strength: float, cap: Cap | None = None
) -> Chosen:
    """Choose greedily what raises log det L most, L = Diag(q) S Diag(q), q = exp(α·relevance).

    With θ = 1 − strength and α = θ / (2(1 − θ)), log det of the chosen part of L is in proportion
    to θ·Σ relevance + (1 − θ)·log det S. By an incremental Cholesky factor each step costs one row
    of S and O(n × chosen). It ends when nothing is left that the chosen ones do not span.

    relevance   float64[n]
    similar     a positive semi-definite kernel with a diagonal of ones
    strength    of diversity, 0 … 1; 0 is the order of relevance
    returns     its worth is θ·relevance + (1 − θ)·log d², d² being what determinants gain
    """
    size = len(relevance)
    theta = 1 - strength
    left = np.ones(size)
    factor = np.empty((min(count, size), size))
    steps = 0

    def worth() -> F64:
        if strength == 0:
            return relevance
        with np.errstate(divide="ignore"):
            gain = np.log(np.where(left > _NOTHING_NEW, left, 0.0))
        found: F64 = theta * relevance + strength * gain
        return found

    def chosen(place: int) -> None:
        nonlocal steps
        if strength == 0:
            return
        before = factor[:steps]
        row = (similar(place) - before[:, place] @ before) / np.sqrt(left[place])
        factor[steps] = row
        steps += 1
        np.copyto(left, left - row * row)

    return _greedy(size, count, worth, chosen, cap)


def capped(size: int, count: int, cap: Cap) -> Chosen:
    """Choose in the order given, as long as the cap allows."""
    order = -np.arange(size, dtype=np.float64)
    return _greedy(size, count, lambda: order, lambda place: None, cap)


def _greedy(
    size: int,
    count: int,
    worth: Callable[[], F64],
    chosen: Callable[[int], None],
    cap: Cap | None,
) -> Chosen:
    """Choose what is worth most now, tell of it, and go on; −inf is never chosen."""
    is_open = np.ones(size, dtype=np.bool_)
    found = Chosen([], [])
    while len(found.places) < min(count, size):
        now = np.where(is_open, np.round(worth(), _DIGITS), -np.inf)
        place = int(np.argmax(now))
        if now[place] == -np.inf:
            break
        found.places.append(place)
        found.worth.append(float(now[place]))
        is_open[place] = False
        if cap is not None:
            # The cap may know of more candidates than are compared here.
            is_open[[one for one in cap.take(place) if one < size]] = False
        if len(found.places) < count:
            chosen(place)
    return found
