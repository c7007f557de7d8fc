"""Answers a search for words on one snapshot: terms → postings of each part → BM25 → the best.

Which points match is counted exactly: those that pass the filter and hold any of the words, or all
of them. Scores are those of one index over the live points (`app.postings.bm25`), whatever parts
they stand in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from app.engine.merged import Part, best_of, without
from app.engine.search import check_words, matching, words_of
from app.engine.snapshot import LivePart, Snapshot
from app.errors import InvalidQuery, LimitExceeded
from app.exchange import Recall, Recalled, Words
from app.postings import bm25
from app.postings.matching import holding
from app.postings.postings import Lists
from app.postings.search import Weighing, rank, score
from app.postings.words import WordReader
from app.text.analysis import analyzer_of
from app.types import F64, I64, U64, Lexical

MOST_WORDS = 1024
"""Different words of one query: about four pages of text."""


class Asked(NamedTuple):
    """Words as they are looked for on one snapshot.

    terms    how many different ones
    fields   int64[any], numbers of the fields that count
    parts    the parts with live points, and in each the postings and what they are worth
    """

    lexical: Lexical
    terms: int
    every: bool
    fields: I64
    parts: list[tuple[LivePart, WordReader, Lists, Weighing]]


def recall_words(wanted: Recall, asked: Asked, snapshot: Snapshot) -> Recalled:
    """Find the points that fit some words best.

    Raises InvalidFilter where the filter asks for words that are not indexed.
    """
    started = time.perf_counter()
    lexical = asked.lexical
    if wanted.filter is not None:
        check_words(wanted.filter, lexical)
    found: list[Part] = []
    matches = postings = 0
    for live, reader, lists, weighing in asked.parts:
        allowed = live.live if wanted.filter is None else matching(wanted.filter, live, lexical)
        if asked.every:
            allowed = allowed & holding(reader, lists, asked.fields, every=True)
        allowed = without(allowed, live, wanted.exclude)
        ranked = rank(lists, weighing, allowed, wanted.k)
        matches += ranked.matches
        postings += ranked.read
        found.append(Part(live, ranked.slots, ranked.scores))
    candidates = best_of(found, wanted.k)
    facts: dict[str, Any] = {}
    if wanted.explain:
        facts = {
            "terms": asked.terms,
            "postings": int(postings),
            "search_ms": round((time.perf_counter() - started) * 1000, 3),
        }
    return Recalled(candidates, matches, "lexical" if matches else "empty", True, facts)


def score_words(asked: Asked, rows: I64) -> F64:
    """Score some live rows as `recall_words` does: float64[rows], 0 for those without the words."""
    scores = np.zeros(rows.size)
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    for live, _, lists, weighing in asked.parts:
        slots = live.part.find_rows(ascending)
        if slots.size == 0:
            continue
        slots = np.sort(slots)
        own = score(lists, weighing, slots)
        scores[order[np.searchsorted(ascending, live.part.rows[slots])]] = own
    return scores


def asked_words(words: Words, snapshot: Snapshot) -> Asked:
    """Find and weigh the postings of a query in every part with live points.

    Raises InvalidQuery where there is no lexical index or no such field, LimitExceeded for too many
    words, LexicalUnavailable while the words of the points are indexed.
    """
    lexical = snapshot.lexical
    if lexical is None:
        raise InvalidQuery("the collection has no lexical index")
    mix = _mix(words.fields, lexical)
    counted = Counter(analyzer_of(lexical.language).asked_terms(words.text))
    if len(counted) > MOST_WORDS:
        raise LimitExceeded(
            f"the query has {len(counted)} different words, at most {MOST_WORDS} are looked for",
            limit=MOST_WORDS,
        )
    terms: U64 = np.array(list(counted), dtype=np.uint64)
    times = np.array(list(counted.values()), dtype=np.float64)
    parts = [live for live in snapshot.parts if live.count]
    readers = [words_of(live) for live in parts]
    weighed, _ = bm25.weigh(
        [
            bm25.Words(reader, live.live, live.count == reader.slots, live.measured)
            for live, reader in zip(parts, readers, strict=True)
        ],
        terms,
        mix,
    )
    ready = [
        (live, reader, one.lists, one.weighing._replace(factors=one.weighing.factors * times))
        for live, reader, one in zip(parts, readers, weighed, strict=True)
    ]
    return Asked(lexical, len(counted), words.every, np.flatnonzero(mix), ready)


def _mix(fields: Mapping[str, float] | None, lexical: Lexical) -> F64:
    """Give the weight of each field of the index: float64[fields]."""
    if fields is None:
        fields = lexical.fields
    unknown = next((name for name in fields if name not in lexical.fields), None)
    if unknown is not None:
        raise InvalidQuery(f"{unknown!r} is no field of the collection's lexical index")
    return np.array([fields.get(name, 0.0) for name in lexical.fields], dtype=np.float64)
