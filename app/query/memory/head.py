"""What heads have in common: a method of judging things, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from app.errors import LimitExceeded
from app.query.labels import Label, columns, in_order, key_of
from app.query.limits import MOST_SAID
from app.query.memory.inputs import Bench
from app.query.plan import Lookup
from app.types import F64


@dataclass(slots=True)
class Judged:
    """What one head makes of n things.

    labels         those it knows, in order
    scores         float64[n, c]: what compares between things, higher for better
    probabilities  float64[n, c]: rows sum to 1, or to less where neighbours hold several labels
    nearest        float64[n]: similarity of the likest thing that was looked at; NaN for none
    voters         of each thing, who spoke for what
    classes        float64[c, d] and queries float64[n, d], where there is one vector a class
    facts          for `explain`
    """

    labels: list[Label]
    scores: F64
    probabilities: F64
    nearest: F64
    voters: list[list[dict[str, Any]]]
    classes: F64 | None = None
    queries: F64 | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Head(Protocol):
    """A method of judging."""

    @property
    def at(self) -> str:
        """JSON pointer of the head."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def using(self) -> str | None:
        """The field that it compares in."""
        ...

    @property
    def weight(self) -> float: ...

    @property
    def by_vote(self) -> bool:
        """Whether its probabilities are shares of neighbours, each of which may hold several."""
        ...

    def lookups(self) -> Iterator[Lookup]:
        """Give those beside the things: the texts of its labels."""
        ...

    def judge(self, bench: Bench) -> Judged: ...


def check_said(heads: int, things: int, labels: int, at: str) -> None:
    """Raise LimitExceeded where heads would say more than is held in memory at once.

    Neighbours may hold a label each, where it is a name or a number of theirs.
    """
    if heads * things * labels > MOST_SAID:
        raise LimitExceeded(
            f"{heads} heads would say of {things} things whether they are one of {labels} labels: "
            f"heads × things × labels is at most {MOST_SAID}; is the label one that points share?",
            pointer=at,
            limit=MOST_SAID,
        )


def aligned(judged: Sequence[Judged], at: str) -> tuple[list[Label], F64, F64]:
    """Put what several heads say under the same labels.

    at       who is blamed for too many of them
    returns  all labels, in order; probabilities and scores float64[heads, n, c], NaN where a head
             does not know a label

    Raises LimitExceeded.
    """
    labels = in_order(label for one in judged for label in one.labels)
    check_said(len(judged), judged[0].nearest.size, len(labels), at)
    places = columns(labels)
    things = judged[0].nearest.size
    probabilities = np.full((len(judged), things, len(labels)), np.nan)
    scores = probabilities.copy()
    for number, one in enumerate(judged):
        own = [places[key_of(label)] for label in one.labels]
        probabilities[number][:, own] = one.probabilities
        scores[number][:, own] = one.scores
    return labels, probabilities, scores
