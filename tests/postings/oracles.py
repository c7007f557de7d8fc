"""What postings must answer, from dicts, one point at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.postings.growing import GrowingPostings
from app.postings.postings import Postings, build

Row = Mapping[int, float]
"""A sparse vector: term → weight."""

Text = Mapping[int, Sequence[int]]
"""A text: word → how often it stands in each field."""


def sparse_postings(rows: Sequence[Row]) -> Postings:
    bounds = np.cumsum([0, *map(len, rows)])
    terms = np.array([term for row in rows for term in row], dtype=np.uint64)
    weights = np.array([weight for row in rows for weight in row.values()], dtype=np.float32)
    return build(bounds, terms, weights[:, None])


def growing_sparse(rows: Sequence[Row]) -> GrowingPostings:
    growing = GrowingPostings()
    for slot, row in enumerate(rows):
        terms = np.array(list(row), dtype=np.uint64)
        growing.append(slot, terms, np.array(list(row.values()), dtype=np.float32)[:, None])
    return growing


def lengths_of(texts: Sequence[Text], fields: int) -> np.ndarray:
    counted = [
        [sum(text[word][field] for word in text) for field in range(fields)] for text in texts
    ]
    return np.array(counted, dtype=np.uint32).reshape(len(texts), fields)


def word_postings(texts: Sequence[Text], fields: int) -> Postings:
    bounds = np.cumsum([0, *map(len, texts)])
    words = np.array([word for text in texts for word in text], dtype=np.uint64)
    counts = [count for text in texts for count in text.values()]
    weights = np.array(counts, dtype=np.uint16).reshape(len(counts), fields)
    return build(bounds, words, weights, lengths_of(texts, fields))


def growing_words(texts: Sequence[Text], fields: int) -> GrowingPostings:
    growing = GrowingPostings(fields)
    lengths = lengths_of(texts, fields)
    for slot, text in enumerate(texts):
        weights = np.array(list(text.values()), dtype=np.uint16).reshape(len(text), fields)
        growing.append(slot, np.array(list(text), dtype=np.uint64), weights, lengths[slot])
    return growing


def inner_products(query: Row, rows: Sequence[Row]) -> dict[int, float]:
    """Score every slot that shares a term with the query."""
    return {
        slot: sum(weight * row[term] for term, weight in query.items() if term in row)
        for slot, row in enumerate(rows)
        if set(query) & set(row)
    }


def bm25(words: Sequence[int], texts: Mapping[int, Text], mix: Sequence[float]) -> dict[int, float]:
    """Score by one index over all `texts`, as the formula is written."""

    def frequency(text: Text, word: int) -> float:
        return sum(weight * count for weight, count in zip(mix, text.get(word, ()), strict=False))

    lengths = {slot: sum(frequency(text, word) for word in text) for slot, text in texts.items()}
    counted = [length for length in lengths.values() if length]
    scores: dict[int, float] = {}
    for slot, text in texts.items():
        for word in words:
            f = frequency(text, word)
            if f:
                holding = sum(frequency(other, word) > 0 for other in texts.values())
                idf = math.log(1 + (len(counted) - holding + 0.5) / (holding + 0.5))
                average = sum(counted) / len(counted)
                norm = 1.2 * (1 - 0.75 + 0.75 * lengths[slot] / average)
                scores[slot] = scores.get(slot, 0.0) + idf * 2.2 * f / (f + norm)
    return scores
