"""Answers one search on one snapshot: filter → bits → plan → candidates → scores → page.

Every candidate, whatever found it, is scored again by one compiled loop over the float32 vector
(`app.kernels.scan`), so scores are comparable across parts and plans, and equal vectors tie
exactly. Ties at the cut are settled by id, which is why all candidates that share the last score
are kept until then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from app.attributes.evaluate import evaluate
from app.attributes.filter import Filter, canonical
from app.engine.snapshot import LivePart, Snapshot
from app.exchange import Search
from app.kernels import bits as bitset
from app.planner.costs import Costs
from app.planner.plan import Empty, ExactScan, GraphWalk, Plan
from app.planner.planner import choose, unfiltered_walk_ns
from app.segments.covers import conditions_of
from app.segments.part import Part
from app.segments.segment import Segment
from app.types import F32, F64, I64, U32, Bits, Metric, VectorField
from app.vectors.graph import Graph
from app.vectors.metric import prepare, scores_from_distances
from app.vectors.search import distances, walk


@dataclass(frozen=True, slots=True)
class Found:
    """One hit before its record is read: the store's row, the id's key, the score."""

    row: int
    key: bytes
    score: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found on a snapshot; see `app.exchange.Answer` for the meanings."""

    page: list[Found]
    matches: int
    plan: str
    exact: bool
    explanation: dict[str, Any] | None


def run(
    search: Search, snapshot: Snapshot, field: VectorField, number: int, costs: Costs
) -> Outcome:
    """Answer `search` over vector field `number` of the snapshot's parts."""
    started = time.perf_counter()
    query = prepare(field.metric, search.vector)
    wanted = search.offset + search.k
    parts: list[_PartSearch] = []
    for live in snapshot.parts:
        if live.count == 0:
            continue
        begun = time.perf_counter()
        allowed = _allowed(live, number, search)
        part = _PartSearch(live, allowed, bitset.count(allowed))
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
    return Outcome(page, matches, plan, not walked, explanation)


def matching(filter: Filter, live: LivePart) -> Bits:
    """Mark the live slots that pass the filter; the caller owns the bits."""
    part = live.part
    if not isinstance(part, Segment):
        bits = evaluate(filter, part.attributes, part.slots, part.find_ids)
        return bits & live.live
    name = sha256(canonical(filter).encode()).digest()
    cached = part.cached_filter(name)
    if cached is None:
        cached = evaluate(filter, part.attributes, part.slots, part.find_ids)
        part.cache_filter(name, cached)
    return cached & live.live


def _allowed(live: LivePart, number: int, search: Search) -> Bits:
    """Mark what may be returned: alive, passing, with such a vector, not excluded."""
    allowed = live.live if search.filter is None else matching(search.filter, live)
    present = live.part.present(number)
    if present is not None:
        allowed = allowed & present
    if search.exclude is not None:
        slots = live.part.find_ids([search.exclude])
        if slots.size:
            allowed = allowed.copy()
            bitset.clear_slots(allowed, slots)
    return allowed


def _graphs(part: Part, number: int, filter: Filter | None) -> list[Graph]:
    """List the graphs that hold all matches: the whole one, and covers of the filter's parts."""
    whole = part.graph(number)
    if whole is None:
        return []
    if filter is None or not isinstance(part, Segment) or part.covers is None:
        return [whole]
    held = part.covers.graphs
    keys = ((number, canonical(condition)) for condition in conditions_of(filter))
    return [whole, *(held[key] for key in keys if key in held)]


class _PartSearch:
    """The search of one part: its plan, its candidates, and the account of both."""

    def __init__(self, live: LivePart, allowed: Bits, matches: int) -> None:
        self.live = live
        self.allowed = allowed
        self.matches = matches
        self.plan: Plan = Empty()
        self.done = "empty"
        self.slots: U32 = np.empty(0, dtype=np.uint32)
        self.distances: F32 = np.empty(0, dtype=np.float32)
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
        graphs = _graphs(part, number, search.filter)
        self.plan = choose(
            graphs=[graph.nodes for graph in graphs],
            matches=self.matches,
            wanted=wanted,
            dimension=field.dimension,
            ef=search.ef,
            exact=search.exact,
            costs=costs,
        )
        if isinstance(self.plan, GraphWalk):
            graph = graphs[self.plan.graph]
            found = walk(
                field.metric,
                query,
                part.vectors(number),
                graph,
                self.allowed,
                ef=self.plan.ef,
                budget=self.plan.budget,
            )
            self.nodes = graph.nodes
            self.computed += found.taken
            self.expanded = found.expanded
            self.stopped = found.stopped
            if not found.stopped and found.slots.size >= min(wanted, self.matches):
                self.slots = found.slots
                self.done = "graph"
        if isinstance(self.plan, ExactScan | GraphWalk) and self.done != "graph":
            self.slots = bitset.slots_of(self.allowed)
            self.done = "exact"
        if self.slots.size:
            self.distances = distances(field.metric, query, part.vectors(number), self.slots)
            self.computed += self.slots.size
        self.search_s = time.perf_counter() - begun
        if isinstance(part, Segment) and search.filter is not None and not search.exact:
            self._wish(part, number, search.filter, field.dimension, costs)

    def _wish(
        self, segment: Segment, number: int, filter: Filter, dimension: int, costs: Costs
    ) -> None:
        """Note what this query would have saved if its conditions had graphs of their own."""
        spent_ns = 0.0
        if self.expanded:
            spent_ns += self.computed * costs.visit_ns(dimension)
        if self.done == "exact":
            spent_ns += costs.scan_ns(self.matches, dimension)
        ideal_ns = unfiltered_walk_ns(dimension, costs)
        if spent_ns > 1.2 * ideal_ns:
            for condition in conditions_of(filter):
                segment.wish((number, condition.field), spent_ns - ideal_ns)

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
    scores = [scores_from_distances(metric, part.distances) for part in parts]
    every = np.concatenate(scores) if parts else np.empty(0)
    last = -np.inf
    if every.shape[0] > wanted:
        last = -np.partition(-every, wanted - 1)[wanted - 1]
    if search.score_threshold is not None:
        last = max(last, search.score_threshold)
    found = []
    for part, own in zip(parts, scores, strict=True):
        kept = np.flatnonzero(own >= last)
        if kept.shape[0] > wanted:
            kept = _without_hopeless_ties(part, own, last, kept, wanted)
        for at in kept.tolist():
            slot = int(part.slots[at])
            live = part.live.part
            found.append(Found(int(live.rows[slot]), live.key(slot), float(own[at])))
    found.sort(key=lambda hit: (-hit.score, hit.key))
    return found[search.offset : wanted]


def _without_hopeless_ties(
    part: _PartSearch, scores: F64, last: float, kept: I64, wanted: int
) -> I64:
    """Leave out, of many slots that share the last score, all but the first `wanted` by id."""
    tied = kept[scores[kept] == last]
    bits = bitset.empty(part.live.part.slots)
    bitset.set_slots(bits, part.slots[tied])
    first = np.array(part.live.first_by_key(bits, wanted), dtype=np.uint32)
    better = kept[scores[kept] > last]
    return np.concatenate([better, tied[np.isin(part.slots[tied], first)]])
