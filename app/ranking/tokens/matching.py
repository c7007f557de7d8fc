"""Which token belongs to which: every matcher, and the doubt after it, behind one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from app.ranking.tokens.anchors import Anchors, match_anchors
from app.ranking.tokens.dense import Dense, match_dense
from app.ranking.tokens.mutual import MutualNearest, match_mutual
from app.ranking.tokens.second_order import SecondOrder, match_second_order
from app.ranking.tokens.segment import Segment, match_segment
from app.ranking.tokens.sides import Assignment, Fact, Sides
from app.ranking.tokens.sinkhorn import Sinkhorn, match_sinkhorn
from app.ranking.tokens.verify import cycle, topology
from app.types import F32, F64

Matcher: TypeAlias = MutualNearest | Sinkhorn | SecondOrder | Segment | Anchors | Dense

KINDS: dict[str, type[Matcher]] = {
    "mutual_nn": MutualNearest,
    "sinkhorn": Sinkhorn,
    "graph": SecondOrder,
    "segment": Segment,
    "anchors": Anchors,
    "dense": Dense,
}


@dataclass(frozen=True, slots=True)
class Matching:
    """A matcher with its parameters, and what its result is checked by.

    verify  "topology": the score is multiplied by the share of preserved orientations, and pairs
            that turn theirs over are left out; "cycle": the same with the share of pairs from which
            the way back leads home. Pairs of `segment` are in order already.
    """

    by: Matcher = field(default_factory=MutualNearest)
    verify: Literal["topology", "cycle"] | None = None

    @property
    def kind(self) -> str:
        """The matcher's name in a query."""
        return next(name for name, made in KINDS.items() if type(self.by) is made)

    @property
    def needs_places(self) -> bool:
        """Whether `match` must be given places."""
        return type(self.by) is Anchors


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a matching found.

    score  Σ weight × worth of its pairs / √(mn), times what the check leaves of it; of a segment
           the sum is divided by m. A pair is worth its similarity (in a segment: what it adds).
    pairs  (query token, candidate token, weight 0 … 1), by query token
    gains  float64[pairs]: what each pair contributes; they sum to the score
    facts  of the matcher and of the check
    """

    score: float
    pairs: list[tuple[int, int, float]]
    gains: F64
    facts: dict[str, Fact]


def match(
    query: F32, candidate: F32, how: Matching, places: tuple[F64, F64] | None = None
) -> Alignment:
    """Match one candidate.

    query      float32[m, d], candidate float32[n, d], rows of unit length, at least one each
    places     of the query float64[m, p] and of the candidate float64[n, p], p 1 (a time) or 2
               (y, x); None where tokens have none. `anchors` needs them (`Matching.needs_places`);
               `graph`, `dense` and the checks do better with them, and say what they do without.

    Raises InvalidQuery where `anchors` gets no places, or `dense` tokens that make no grid.
    """
    assert len(query), "match: both sides have tokens"
    assert len(candidate), "match: both sides have tokens"
    sides = Sides(query, candidate, *(places or (None, None)))
    found = _assignment(sides, how.by)
    facts = dict(found.facts)
    trust = 1.0
    kept = np.ones(len(found.pairs), bool)
    if how.verify == "topology":
        trust, kept = topology(sides, found)
        facts |= {"topology": trust, "left_out": int((~kept).sum())}
    elif how.verify == "cycle":
        trust, kept, _ = cycle(sides, found)
        facts |= {"cycle": trust, "left_out": int((~kept).sum())}
    size = found.size or float(np.sqrt(len(query) * len(candidate)))
    gains = (found.weights * found.worth)[kept] * (trust / size)
    pairs = [
        (i, j, weight)
        for (i, j), weight in zip(
            found.pairs[kept].tolist(), found.weights[kept].tolist(), strict=True
        )
    ]
    return Alignment(float(gains.sum()), pairs, gains, facts)


def _assignment(sides: Sides, by: Matcher) -> Assignment:
    if isinstance(by, MutualNearest):
        return match_mutual(sides, by)
    if isinstance(by, Sinkhorn):
        return match_sinkhorn(sides, by)
    if isinstance(by, SecondOrder):
        return match_second_order(sides, by)
    if isinstance(by, Segment):
        return match_segment(sides, by)
    if isinstance(by, Anchors):
        return match_anchors(sides, by)
    return match_dense(sides, by)
