"""Every table of docs/filters.md is run: the examples, the errors, the operators named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.attributes import filter as language
from app.attributes.evaluate import evaluate
from app.attributes.filter import MAX_DEPTH, Match, parse_filter
from app.attributes.matches import matches
from app.attributes.schema import KINDS
from app.attributes.values import MAX_ELEMENTS, MAX_NAME_BYTES, check_attributes
from app.errors import InvalidFilter
from app.kernels import bits as kernels
from app.postings.matching import matching_words
from app.postings.words import WordReader
from app.text.analysis import analyzer_of
from app.text.clauses import MOST_WORDS
from app.types import TEXT_FIELD, Bits, Lexical
from tests.attributes.test_evaluate import built, finder, grown, passing
from tests.postings.test_words import in_a_head, in_a_segment

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text("utf-8")


def rows(*header: str) -> Iterator[list[str]]:
    """The cells of all tables with this header, without backquotes."""
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif tuple(cells) == header:
            inside = True
        elif inside and not set(line) <= set("|-"):
            yield cells


EXAMPLES = list(rows("attributes", "filter", "matches"))
ERRORS = list(rows("filter", "pointer", "detail contains"))
WORDS = list(rows("text", "attributes", "filter", "matches"))
LEXICAL = Lexical({TEXT_FIELD: 1.0, "title": 1.0, "tags": 1.0}, "english")


def test_the_tables_were_found() -> None:
    assert len(EXAMPLES) >= 100
    assert len(ERRORS) > 20
    assert {answer for _, _, answer in EXAMPLES} == {"yes", "no"}
    assert len(WORDS) > 20
    assert {answer for *_, answer in WORDS} == {"yes", "no"}


@pytest.mark.parametrize(("point", "raw", "answer"), EXAMPLES, ids=lambda cell: cell)
def test_an_example_is_what_the_definition_and_both_indexes_say(
    point: str, raw: str, answer: str
) -> None:
    attributes: dict[str, Any] = json.loads(point)
    check_attributes(attributes)
    filter = parse_filter(json.loads(raw))
    assert matches(filter, "p1", attributes) == (answer == "yes")
    # Among other points, so that a set is neither empty nor everything by chance.
    points = [("p0", {}), ("p1", attributes), *((f"q{i}", {"z": i}) for i in range(100))]
    for index in (built(points), grown(points)):
        assert (1 in passing(filter, index, points, len(points))) == (answer == "yes")


@pytest.mark.parametrize(("text", "point", "raw", "answer"), WORDS, ids=lambda cell: cell)
def test_an_example_with_words_is_what_the_definition_and_both_indexes_say(
    text: str, point: str, raw: str, answer: str
) -> None:
    attributes: dict[str, Any] = json.loads(point)
    filter = parse_filter(json.loads(raw))
    assert matches(filter, "p1", attributes, text, LEXICAL) == (answer == "yes")
    texts = [(None, {}), (text, attributes), *(("other words", {"z": i}) for i in range(100))]
    points = [(f"p{slot}", own) for slot, (_, own) in enumerate(texts)]
    for index, words in (
        (built(points), in_a_segment(LEXICAL, texts)),
        (grown(points), in_a_head(LEXICAL, texts)),
    ):

        def match(condition: Match, words: WordReader = words) -> Bits:
            fields = [
                number
                for number, name in enumerate(LEXICAL.fields)
                if condition.field in (None, name)
            ]
            return matching_words(condition, words, fields, analyzer_of(LEXICAL.language))

        found = evaluate(filter, index, len(points), finder(points), match)
        assert (1 in kernels.slots_of(found)) == (answer == "yes")


@pytest.mark.parametrize(("raw", "pointer", "detail"), ERRORS, ids=lambda cell: cell)
def test_a_refused_filter_says_where_and_why(raw: str, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter(json.loads(raw))
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail


def test_every_operator_has_an_example() -> None:
    known = {*language._OPERATORS, *language._RANGES, *language._GROUPS}
    every = [raw for *_, raw, _ in (*EXAMPLES, *WORDS)]
    used = {operator for operator in known for raw in every if f'"{operator}"' in raw}
    assert used == known


def test_the_limits_and_kinds_on_the_page_are_those_of_the_code() -> None:
    assert f"| {MAX_DEPTH} levels |" in PAGE
    assert f"up to {MAX_ELEMENTS} elements" in PAGE
    assert f"| words of one `$match` | {MOST_WORDS} |" in PAGE
    assert f"1–{MAX_NAME_BYTES} bytes" in PAGE
    assert [kind for kind, _ in rows("kind", "elements")] == list(KINDS)
