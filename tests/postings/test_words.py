"""`$match` answered from an index means what it means one point at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attributes.filter import Match, parse_filter
from app.attributes.matches import matches
from app.kernels import bits as bitset
from app.postings.growing_words import GrowingWords
from app.postings.matching import matching_words
from app.postings.words import WordReader, build_words
from app.text.analysis import analyzer_of, document_of
from app.types import TEXT_FIELD, Attributes, Lexical

LEXICAL = Lexical({TEXT_FIELD: 1.0, "title": 2.0})
ENGLISH = Lexical(LEXICAL.fields, "english")

WORDS = st.sampled_from(["a", "ab", "abc", "b", "run", "runs", "running", "universities", "Ünï"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
POINTS = st.lists(
    st.tuples(
        st.none() | TEXTS, st.just({}) | st.fixed_dictionaries({"title": TEXTS | st.lists(TEXTS)})
    ),
    max_size=12,
)
CLAUSES = st.tuples(
    st.sampled_from(["", "", "-"]),
    st.lists(WORDS, min_size=1, max_size=3).map(" ".join),
    st.sampled_from(["", "*"]),
).map(lambda parts: f'{parts[0]}"{parts[1]}"{parts[2]}')
QUERIES = st.tuples(WORDS, st.lists(CLAUSES, max_size=3)).map(lambda p: " ".join((p[0], *p[1])))

Points = Sequence[tuple[str | None, Attributes]]


def in_a_head(lexical: Lexical, points: Points) -> WordReader:
    growing = GrowingWords(len(lexical.fields), lexical.language)
    for text, attributes in points:
        growing.append(document_of(lexical, attributes, text))
    view = growing.view(len(points))
    for _ in range(300):  # what comes later, and moves the arrays, is not seen
        growing.append(document_of(lexical, {"title": "a ab abc"}, "run a b"))
    return view


def in_a_segment(lexical: Lexical, points: Points) -> WordReader:
    documents = (document_of(lexical, attributes, text) for text, attributes in points)
    return build_words(documents, len(lexical.fields), lexical.language)


def found(match: Match, words: WordReader, lexical: Lexical) -> list[int]:
    fields = [number for number, name in enumerate(lexical.fields) if match.field in (None, name)]
    bits = matching_words(match, words, fields, analyzer_of(lexical.language))
    return bitset.slots_of(bits).tolist()


@pytest.mark.parametrize("lexical", [LEXICAL, ENGLISH], ids=["plain", "english"])
@pytest.mark.parametrize("reader", [in_a_head, in_a_segment])
@settings(deadline=None)  # the first call compiles
@given(
    POINTS, QUERIES, st.sampled_from([None, TEXT_FIELD, "title"]), st.sampled_from(["and", "or"])
)
def test_the_index_agrees_with_the_meaning(
    reader, lexical: Lexical, points: Points, query: str, field: str | None, operator: str
) -> None:
    condition = {"$match": {"query": query, "operator": operator}}
    match = parse_filter(condition if field is None else {field: condition})
    assert isinstance(match, Match)
    expected = [
        slot
        for slot, (text, attributes) in enumerate(points)
        if matches(match, slot, attributes, text, lexical)
    ]
    assert found(match, reader(lexical, points), lexical) == expected
