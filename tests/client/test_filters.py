"""Filter expressions are the plain dicts they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from likewise import F, Filter, match
from likewise._json import to_json

names = st.text(min_size=1, max_size=5).filter(lambda name: not name.startswith("$"))
scalars = st.one_of(st.text(max_size=4), st.integers(-3, 3), st.booleans())
lists = st.lists(scalars, max_size=3)

# Each expression together with the dict that it must be, from operators upwards.
COMPARISONS: dict[str, Callable[[F, Any], Filter]] = {
    "$eq": lambda field, value: field == value,
    "$ne": lambda field, value: field != value,
    "$gt": lambda field, value: field > value,
    "$gte": lambda field, value: field >= value,
    "$lt": lambda field, value: field < value,
    "$lte": lambda field, value: field <= value,
    "$contains": F.contains,
}
MEMBERSHIPS: dict[str, Callable[[F, Any], Filter]] = {
    "$in": F.is_in,
    "$nin": F.not_in,
    "$containsAny": F.contains_any,
    "$containsAll": F.contains_all,
}
Pair = tuple[Filter, dict[str, Any]]


def test_words_are_their_operator() -> None:
    assert F("title").match("white whale").to_dict() == {"title": {"$match": "white whale"}}
    either = {"query": "a b", "operator": "or"}
    assert F("$text").match("a b", operator="or").to_dict() == {"$text": {"$match": either}}
    assert match("a").to_dict() == {"$match": "a"}
    assert (~match("a b", operator="or")).to_dict() == {"$not": {"$match": either}}


def test_areas_are_their_operators() -> None:
    at = F("at")
    assert at.within_radius(52.5, 13.4, 1000).to_dict() == {
        "at": {"$geoRadius": {"lat": 52.5, "lon": 13.4, "radius": 1000}}
    }
    assert at.within_box(-9, 170, 9, -170).to_dict() == {
        "at": {"$geoBox": {"min": {"lat": -9, "lon": 170}, "max": {"lat": 9, "lon": -170}}}
    }
    assert at.within_polygon([(0, 0), (0, 9), (9, 0)]).to_dict() == {
        "at": {"$geoPolygon": [{"lat": 0, "lon": 0}, {"lat": 0, "lon": 9}, {"lat": 9, "lon": 0}]}
    }


@st.composite
def conditions(draw: st.DrawFn) -> Pair:
    name = draw(names)
    builders = {**COMPARISONS, **MEMBERSHIPS, "$exists": F.exists}
    operator = draw(st.sampled_from(sorted(builders)))
    if operator == "$exists":
        operand: Any = draw(st.booleans())
    else:
        operand = draw(scalars if operator in COMPARISONS else lists)
    return builders[operator](F(name), operand), {name: {operator: operand}}


def _flat(operator: str, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    parts: list[Any] = []
    for side in (left, right):
        parts += side[operator] if list(side) == [operator] else [side]
    return {operator: parts}


def _combinations(pairs: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    two = st.tuples(pairs, pairs)
    return st.one_of(
        two.map(lambda p: (p[0][0] & p[1][0], _flat("$and", p[0][1], p[1][1]))),
        two.map(lambda p: (p[0][0] | p[1][0], _flat("$or", p[0][1], p[1][1]))),
        # A plain dict on either side.
        two.map(lambda p: (p[0][1] & p[1][0], _flat("$and", p[0][1], p[1][1]))),
        two.map(lambda p: (p[0][0] | p[1][1], _flat("$or", p[0][1], p[1][1]))),
        pairs.map(lambda p: (~p[0], {"$not": p[1]})),
    )


filters = st.recursive(conditions(), _combinations, max_leaves=6)


@given(filters)
def test_an_expression_is_its_dict(pair: Pair) -> None:
    expression, plain = pair
    assert expression.to_dict() == plain
    assert expression == Filter(plain)


@given(filters)
def test_an_expression_is_sent_as_its_dict_wherever_it_stands(pair: Pair) -> None:
    expression, plain = pair
    sent = json.loads(to_json({"filter": {"$and": [expression, plain]}}))
    assert sent == {"filter": {"$and": [plain, plain]}}


@given(filters, filters, filters)
def test_chains_are_flat_and_their_grouping_is_no_matter(a: Pair, b: Pair, c: Pair) -> None:
    for operator in ("__and__", "__or__"):
        join = getattr(Filter, operator)
        assert join(join(a[0], b[0]), c[0]) == join(a[0], join(b[0], c[0]))


def test_combining_leaves_its_parts_alone() -> None:
    left = (F("a") == 1) & (F("b") == 2)
    before = left.to_dict()
    _ = left & (F("c") == 3), left | (F("d") == 4), ~left
    assert left.to_dict() == before


def test_the_point_id_is_a_field() -> None:
    assert F("$id").is_in(["a", 1]).to_dict() == {"$id": {"$in": ["a", 1]}}


@pytest.mark.parametrize(
    "dropped_condition",
    [
        lambda: (F("a") == 1) and (F("b") == 2),
        lambda: (F("a") == 1) or (F("b") == 2),
        lambda: not F("a").exists(),
        lambda: 1 < F("a") < 3,
    ],
)
def test_python_words_that_would_drop_a_condition_are_refused(dropped_condition: Any) -> None:
    with pytest.raises(TypeError, match="combine with &"):
        dropped_condition()


@pytest.mark.parametrize("method", list(MEMBERSHIPS.values()))
def test_a_string_is_no_list_of_values(method: Any) -> None:
    with pytest.raises(TypeError, match="letter by letter"):
        method(F("lang"), "en")
