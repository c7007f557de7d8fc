"""Answers one search on one snapshot: filter → bits → plan → nearest of each part → page.

Every candidate, whatever found it, is scored by one compiled loop over the float32 vector
(`app.kernels.ranking`), so scores are comparable across parts and plans, and equal vectors tie
exactly. Ties at the cut are settled by id, which is why all candidates that share the last score
are kept until then.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np

from app.attributes.evaluate import evaluate
from app.attributes.filter import Filter, Match, digest, matches_in
from app.engine.merged import without
from app.engine.snapshot import LivePart, Snapshot
from app.errors import InvalidFilter, LexicalUnavailable
from app.exchange import Search
from app.kernels import bits as bitset
from app.planner.costs import Costs
from app.planner.plan import Empty, GraphWalk, Plan
from app.planner.planner import choose, unfiltered_walk_ns
from app.postings.matching import matching_words
from app.postings.words import WordReader
from app.segments.covers import Wish, conditions_of
from app.segments.part import Part
from app.segments.segment import Segment
from app.text.analysis import analyzer_of, fingerprint
from app.types import F32, F64, TEXT_FIELD, U32, Bits, Lexical, Metric, VectorField
from app.vectors.graph import Graph
from app.vectors.metric import prepare, scores_from_distances
from app.vectors.search import scan, walk


class Found(NamedTuple):
    """One hit before its record is read: the store's row, the id's key, the score."""

    row: int
    key: bytes
    score: float


class Outcome(NamedTuple):
    """What a search found on a snapshot; see `app.exchange.Answer` for the meanings."""

    page: list[Found]
    matches: int
    plan: str
    exact: bool
    explanation: dict[str, Any] | None
    parts: int


def run(
    search: Search, vector: F32, snapshot: Snapshot, field: VectorField, number: int, costs: Costs
) -> Outcome:
    """Answer `search`, by that vector, over vector field `number` of the snapshot's parts."""
    started = time.perf_counter()
    if search.filter is not None:
        check_words(search.filter, snapshot.lexical)
    query = prepare(field.metric, vector)
    wanted = search.offset + search.k
    parts: list[_PartSearch] = []
    for live in snapshot.parts:
        if live.count == 0:
            continue
        begun = time.perf_counter()
        allowed = _allowed(live, number, search, snapshot.lexical)
        matches = live.count if allowed is live.live else bitset.count(allowed)
        part = _PartSearch(live, allowed, matches)
        part.filter_s = time.perf_counter() - begun
        part.run(query, field, number, search, wanted, costs)
        parts.append(part)
    page = _page(parts, field.metric, search)

    walked = any(part.done == "graph" for part in parts)
    matches = sum(part.matches for part in parts)
    plan = "graph" if walked else "exact" if matches else "empty"
    explanation = None
    if search.explain:
        explanation = {
            "parts": [part.explained() for part in parts],
            "search_ms": round((time.perf_counter() - started) * 1000, 3),
        }
    return Outcome(page, matches, plan, not walked, explanation, len(parts))


def check_words(filter: Filter, lexical: Lexical | None) -> None:
    """Refuse `$match` on a field whose words are not indexed. Raises InvalidFilter."""
    for match in matches_in(filter):
        if lexical is None:
            raise InvalidFilter(
                "the collection has no lexical index: define one to look for words",
                pointer=match.pointer,
            )
        if match.field is not None and match.field not in lexical.fields:
            name = "the text" if match.field == TEXT_FIELD else f"{match.field!r}"
            raise InvalidFilter(
                f"{name} is no field of the collection's lexical index", pointer=match.pointer
            )


def words_of(live: LivePart) -> WordReader:
    """Give a part's words. Raises LexicalUnavailable while they are being built."""
    if live.words is None:
        raise LexicalUnavailable("the lexical index is being built: try again in a moment")
    return live.words


def matching(filter: Filter, live: LivePart, lexical: Lexical | None) -> Bits:
    """Mark the live slots that pass the filter; the bits are not the caller's to change.

    lexical   of the snapshot; `check_words` has held the filter against it
    """
    part = live.part
    if not isinstance(part, Segment):
        return _evaluated(filter, live, lexical) & live.live
    name = digest(filter)
    if lexical is not None and matches_in(filter):
        name += fingerprint(lexical).encode()  # the segment outlives its words
    cached = part.cached_filter(name)
    if cached is None:
        cached = _evaluated(filter, live, lexical)
        part.cache_filter(name, cached)
    return cached & live.live if live.dead else cached


def _evaluated(filter: Filter, live: LivePart, lexical: Lexical | None) -> Bits:
    def match(condition: Match) -> Bits:
        assert lexical is not None
        fields = [
            number
            for number, name in enumerate(lexical.fields)
            if condition.field is None or condition.field == name
        ]
        return matching_words(condition, words_of(live), fields, analyzer_of(lexical.language))

    part = live.part
    return evaluate(filter, part.attributes, part.slots, part.find_ids, match)


def _allowed(live: LivePart, number: int, search: Search, lexical: Lexical | None) -> Bits:
    """Mark what may be returned: alive, passing, with such a vector, not excluded."""
    allowed = live.live if search.filter is None else matching(search.filter, live, lexical)
    present = live.part.present(number)
    if present is not None:
        allowed = allowed & present
    return without(allowed, live, search.exclude) if search.exclude else allowed


def _graphs(part: Part, number: int, filter: Filter | None) -> list[Graph]:
    """List the graphs that hold all matches: the whole one, and covers of the filter's parts."""
    whole = part.graph(number)
    if whole is None:
        return []
    if filter is None or not isinstance(part, Segment) or part.covers is None:
        return [whole]
    return [whole, *part.covers.graphs(number, filter)]


_EMPTY = Empty()
_NO_SLOTS: U32 = np.empty(0, dtype=np.uint32)
_NO_DISTANCES: F32 = np.empty(0, dtype=np.float32)


class _PartSearch:
    """The search of one part: its plan, its candidates, and the account of both."""

    __slots__ = (
        "allowed", "computed", "distances", "done", "expanded", "filter_s", "live", "matches",
        "nodes", "plan", "search_s", "slots", "stopped",
    )  # fmt: skip

    def __init__(self, live: LivePart, allowed: Bits, matches: int) -> None:
        self.live = live
        self.allowed = allowed
        self.matches = matches
        self.plan: Plan = _EMPTY
        self.done = "empty"
        self.slots: U32 = _NO_SLOTS
        self.distances: F32 = _NO_DISTANCES
        self.computed = 0
        self.nodes = 0
        self.expanded = 0
        self.stopped = False
        self.filter_s = 0.0
        self.search_s = 0.0

    def run(
        self,
        query: F32,
        field: VectorField,
        number: int,
        search: Search,
        wanted: int,
        costs: Costs,
    ) -> None:
        begun = time.perf_counter()
        part = self.live.part
        column = part.column(number)
        graphs = _graphs(part, number, search.filter)
        self.plan = choose(
            graphs=[graph.nodes for graph in graphs],
            matches=self.matches,
            wanted=wanted,
            dimension=field.dimension,
            coded=column.codes is not None,
            ef=search.ef,
            exact=search.exact,
            costs=costs,
        )
        if isinstance(self.plan, GraphWalk):
            graph = graphs[self.plan.graph]
            walked = walk(
                field.metric,
                query,
                column,
                graph,
                self.allowed,
                ef=self.plan.ef,
                wanted=wanted,
                budget=self.plan.budget,
            )
            self.nodes = graph.nodes
            self.computed += walked.taken
            self.expanded = walked.expanded
            self.stopped = walked.stopped
            if not walked.stopped and walked.found >= min(wanted, self.matches):
                self.slots, self.distances = walked.slots, walked.distances
                self.done = "graph"
        if self.done != "graph" and not isinstance(self.plan, Empty):
            scanned = scan(field.metric, query, column, self.allowed, wanted=wanted)
            self.slots, self.distances = scanned.slots, scanned.distances
            self.computed += self.matches + (scanned.compared if column.codes is not None else 0)
            self.done = "exact"
        self.search_s = time.perf_counter() - begun
        if isinstance(part, Segment) and search.filter is not None and not search.exact:
            self._wish(
                part, number, search.filter, field.dimension, column.codes is not None, costs
            )

    def _wish(
        self,
        segment: Segment,
        number: int,
        filter: Filter,
        dimension: int,
        coded: bool,
        costs: Costs,
    ) -> None:
        """Note what this query would have saved if its conditions had graphs of their own."""
        if self.done == "graph" and self.matches >= self.nodes:
            return  # they have one
        spent_ns = 0.0
        if self.expanded:
            spent_ns += self.computed * costs.visit_ns(dimension, coded)
        if self.done == "exact":
            spent_ns += costs.scan_ns(self.matches, dimension, coded)
        ideal_ns = unfiltered_walk_ns(dimension, coded, costs)
        if spent_ns > 1.2 * ideal_ns:
            for condition in conditions_of(filter):
                segment.wish(Wish.of(number, condition), spent_ns - ideal_ns)

    def explained(self) -> dict[str, Any]:
        """Tell what was planned, what was done, and what it cost."""
        told: dict[str, Any] = {
            "kind": "graph" if isinstance(self.live.part, Segment) else "head",
            "slots": self.live.part.slots,
            "points": self.live.count,
            "matches": self.matches,
            "selectivity": round(self.matches / self.live.count, 6),
            "plan": self.plan.name,
            "reason": self.plan.reason,
            "done": self.done,
            "distances": self.computed,
            "filter_ms": round(self.filter_s * 1000, 3),
            "search_ms": round(self.search_s * 1000, 3),
        }
        if isinstance(self.plan, GraphWalk):
            told |= {
                "ef": self.plan.ef,
                "nodes": self.nodes,
                "expanded": self.expanded,
                "gave_up": self.stopped,
            }
        return told


def _page(parts: list[_PartSearch], metric: Metric, search: Search) -> list[Found]:
    """Merge the parts' candidates and cut the page out of them, best first, ties by id."""
    wanted = search.offset + search.k
    filled = [part for part in parts if part.slots.size]
    scores = [scores_from_distances(metric, part.distances) for part in filled]
    last = -np.inf
    if sum(map(len, scores)) > wanted:
        every = scores[0] if len(scores) == 1 else np.sort(np.concatenate(scores))[::-1]
        last = every[wanted - 1]
    if search.score_threshold is not None:
        last = max(last, search.score_threshold)
    found: list[tuple[float, bytes, int]] = []
    for part, own in zip(filled, scores, strict=True):
        far: list[float] = (-own).tolist()
        kept = bisect_right(far, -last)
        slots = part.slots[:kept]
        if kept > wanted:
            slots, far = _without_hopeless_ties(part, own[:kept], last, wanted)
        inner = part.live.part
        rows: list[int] = inner.rows[slots].tolist()
        found += zip(far, inner.keys(slots), rows, strict=False)
    found.sort()
    return [Found(row, key, 0.0 - far) for far, key, row in found[search.offset : wanted]]


def _without_hopeless_ties(
    part: _PartSearch, scores: F64, last: float, wanted: int
) -> tuple[U32, list[float]]:
    """Leave out, of many slots that share the last score, all but the first `wanted` by id.

    Returns slots and negated scores.
    """
    slots = part.slots[: scores.shape[0]]
    tied = scores == last
    bits = bitset.empty(part.live.part.slots)
    bitset.set_slots(bits, slots[tied])
    first = np.array(part.live.first_by_key(bits, wanted), dtype=np.uint32)
    kept = np.concatenate([slots[~tied], first])
    return kept, [*(-scores[~tied]).tolist(), *[-last] * first.size]
