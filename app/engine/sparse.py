"""Answers a search for a sparse vector on one snapshot: indices → postings of each part → the best.

The score is the inner product. A point matches if it passes the filter and its vector shares an
index with the query's; these are counted exactly. All others would score 0, and say nothing.
Products are float64, added up in the order of the query's indices, so a point's score does not
depend on the part that it stands in, and equal ones tie.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from app.engine.merged import Part, best_of, without
from app.engine.search import check_words, matching
from app.engine.snapshot import LivePart, Snapshot
from app.exchange import Recall, Recalled
from app.postings.search import Searchable, Weighing, rank, score
from app.segments.segment import Segment
from app.types import F64, U32, U64, Sparse


def recall_sparse(wanted: Recall, query: Sparse, number: int, snapshot: Snapshot) -> Recalled:
    """Find the points whose vectors of sparse field `number` have the largest products with it."""
    started = time.perf_counter()
    if wanted.filter is not None:
        check_words(wanted.filter, snapshot.lexical)
    terms, weighing = _asked(query)
    found: list[Part] = []
    told: list[dict[str, Any]] = []
    matches = read = 0
    for live in snapshot.parts:
        if live.count == 0:
            continue
        begun = time.perf_counter()
        allowed = live.live
        if wanted.filter is not None:
            allowed = matching(wanted.filter, live, snapshot.lexical)
        allowed = without(allowed, live, wanted.exclude)
        filtered = time.perf_counter()
        ranked = rank(_postings(live, number).lists(terms), weighing, allowed, wanted.k)
        found.append(Part(live, ranked.slots, ranked.scores))
        matches += ranked.matches
        read += ranked.read
        if wanted.explain:
            told.append(
                {
                    "kind": "graph" if isinstance(live.part, Segment) else "head",
                    "points": live.count,
                    "matches": ranked.matches,
                    "postings": ranked.read,
                    "filter_ms": round((filtered - begun) * 1e3, 3),
                    "search_ms": round((time.perf_counter() - filtered) * 1e3, 3),
                }
            )
    candidates = best_of(found, wanted.k)
    facts: dict[str, Any] = {"by": "postings"}
    if wanted.explain:
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        facts |= {"terms": terms.size, "postings": read, "parts": told, "search_ms": took_ms}
    return Recalled(candidates, matches, "exact" if matches else "empty", True, facts)


def products(query: Sparse, number: int, live: LivePart, slots: U32) -> F64:
    """Multiply vectors of sparse field `number` with a query: float64[slots], in any order."""
    order = np.argsort(slots)
    terms, weighing = _asked(query)
    found = np.empty(slots.size)
    found[order] = score(_postings(live, number).lists(terms), weighing, slots[order])
    return found


def _asked(query: Sparse) -> tuple[U64, Weighing]:
    return query.indices.astype(np.uint64), Weighing(query.values.astype(np.float64))


def _postings(live: LivePart, number: int) -> Searchable:
    postings = live.part.postings(number)
    assert postings is not None  # of a sparse field
    return postings
