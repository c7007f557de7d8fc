"""Words by brute force: BM25 as the formula is written, one point at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from app.postings.bm25 import K1, B
from app.text.analysis import analyzer_of, texts_of
from app.types import Lexical, Point


def counts_of(point: Point, lexical: Lexical) -> dict[str, Counter[int]]:
    """How often each term stands in each field."""
    terms_of = analyzer_of(lexical.language).terms_of
    return {
        field: Counter(
            term
            for text in texts_of(field, point.attributes, point.text)
            for term in terms_of(text)
        )
        for field in lexical.fields
    }


def ranked_words(
    text: str,
    points: Sequence[Point],
    lexical: Lexical,
    fields: Mapping[str, float] | None = None,
    *,
    every: bool = False,
) -> dict[int, float]:
    """Score each point that holds any of the words (or every one): place → score."""
    weights = lexical.fields if fields is None else fields
    wanted = Counter(analyzer_of(lexical.language).asked_terms(text))
    documents = []
    for point in points:
        frequencies: Counter[int] = Counter()
        for field, counts in counts_of(point, lexical).items():
            for term, count in counts.items():
                if weights.get(field, 0.0):
                    frequencies[term] += weights[field] * count  # type: ignore[assignment]
        documents.append(frequencies)
    lengths = [sum(frequencies.values()) for frequencies in documents]
    having = sum(1 for length in lengths if length)
    average = sum(lengths) / having if having else 1.0
    scores: dict[int, float] = {}
    for place, frequencies in enumerate(documents):
        found = [term for term in wanted if frequencies[term]]
        if not found or (every and len(found) < len(wanted)):
            continue
        total = 0.0
        for term in found:
            holding = sum(1 for other in documents if other[term])
            idf = math.log(1 + (having - holding + 0.5) / (holding + 0.5))
            norm = K1 * (1 - B + B * lengths[place] / average)
            f = frequencies[term]
            total += wanted[term] * idf * (K1 + 1) * f / (f + norm)
        scores[place] = total
    return scores
