"""Every table of docs/filters.md is run: the examples, the errors, the operators named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.attributes import filter as language
from app.attributes.filter import MAX_DEPTH, parse_filter
from app.attributes.matches import matches
from app.attributes.schema import KINDS
from app.attributes.values import MAX_ELEMENTS, MAX_NAME_BYTES, check_attributes
from app.errors import InvalidFilter
from tests.attributes.test_evaluate import built, grown, passing

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


def test_the_tables_were_found() -> None:
    assert len(EXAMPLES) >= 100
    assert len(ERRORS) > 20
    assert {answer for _, _, answer in EXAMPLES} == {"yes", "no"}


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


@pytest.mark.parametrize(("raw", "pointer", "detail"), ERRORS, ids=lambda cell: cell)
def test_a_refused_filter_says_where_and_why(raw: str, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter(json.loads(raw))
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail


def test_every_operator_has_an_example() -> None:
    known = {*language._OPERATORS, *language._RANGES, *language._GROUPS}
    used = {operator for operator in known for _, raw, _ in EXAMPLES if f'"{operator}"' in raw}
    assert used == known


def test_the_limits_and_kinds_on_the_page_are_those_of_the_code() -> None:
    assert f"| {MAX_DEPTH} levels |" in PAGE
    assert f"up to {MAX_ELEMENTS} elements" in PAGE
    assert f"1–{MAX_NAME_BYTES} bytes" in PAGE
    assert [kind for kind, _ in rows("kind", "elements")] == list(KINDS)
