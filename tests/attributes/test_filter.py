"""Reading filters, and their canonical form."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attributes.filter import (
    MAX_DEPTH,
    And,
    AnyOf,
    Filter,
    Ids,
    Not,
    Or,
    Range,
    canonical,
    digest,
    parse_filter,
)
from app.attributes.listed import MANY
from app.attributes.matches import matches
from app.errors import InvalidFilter
from tests.attributes.strategies import any_json, attributes, filters, ids


def refusal(raw: object, pointer: str) -> InvalidFilter | None:
    try:
        parse_filter(raw, pointer=pointer)
    except InvalidFilter as refused:
        return refused
    return None


@given(any_json)
def test_reading_raises_nothing_but_invalid_filter(raw: Any) -> None:
    refused = refusal(raw, "/filter")
    if refused is not None:
        assert (refused.pointer or "").startswith("/filter")
        assert f"{refused.detail} {refused.pointer}".encode()


@given(any_json)
def test_a_refusal_points_at_a_place_that_exists(raw: Any) -> None:
    refused = refusal(raw, "")
    if refused is None or "?" in (refused.pointer or ""):  # which stands for a lone surrogate
        return
    for token in (refused.pointer or "").split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        raw = raw[int(key)] if isinstance(raw, list) else raw[key]


@given(filters)
def test_generated_filters_are_read(raw: dict[str, Any]) -> None:
    parse_filter(raw)


def test_the_pointer_starts_where_the_caller_says() -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter({"year": {"$gtt": 1}}, pointer="/queries/3/filter")
    assert refused.value.pointer == "/queries/3/filter/year/$gtt"


@pytest.mark.parametrize(
    ("operand", "pointer"),
    [
        ({"a": math.nan}, "/filter/a"),
        ({"a": {"$gte": math.inf}}, "/filter/a/$gte"),
        ({"a": {"$in": [1, -math.inf]}}, "/filter/a/$in/1"),
        ({"a": {"$lt": -(2**63) - 1}}, "/filter/a/$lt"),
        ({"a": {"$containsAll": [1, 2**63]}}, "/filter/a/$containsAll/1"),
        ({"a": "\ud800"}, "/filter/a"),
        ({"a\ud800": 1}, "/filter/a?"),
        ({"x" * 257: 1}, "/filter/" + "x" * 257),
        ({"$id": "\ud800"}, "/filter/$id"),
        ({"$id": ""}, "/filter/$id"),
        ({"$id": "x" * 513}, "/filter/$id"),
        ({"$id": True}, "/filter/$id"),
        ({"$id": {}}, "/filter/$id"),
        ({"$id": {"$in": 1}}, "/filter/$id/$in"),
        ({"$id": [2**64]}, "/filter/$id/0"),
        ({1: 2}, "/filter/1"),
        ({"a": (1, 2)}, "/filter/a"),
    ],
)
def test_refused_operands_that_markdown_cannot_show(operand: Any, pointer: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter(operand)
    assert refused.value.pointer == pointer


def test_messages_never_repeat_values() -> None:
    for raw in ({"a": {"$gt": "secret"}}, {"a": ["secret"]}, {"$id": {"secret": 1}}, "secret"):
        with pytest.raises(InvalidFilter) as refused:
            parse_filter(raw)
        assert "secret" not in refused.value.detail


def nested(levels: int, wrap: str) -> dict[str, Any]:
    """A filter of so many objects inside each other."""
    raw: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        raw = {wrap: raw if wrap == "$not" else [raw]}
    return raw


@pytest.mark.parametrize("wrap", ["$not", "$and", "$or"])
def test_nesting_ends_at_the_limit(wrap: str) -> None:
    parse_filter(nested(MAX_DEPTH, wrap))
    with pytest.raises(InvalidFilter, match="levels") as refused:
        parse_filter(nested(MAX_DEPTH + 1, wrap))
    step = "/$not" if wrap == "$not" else f"/{wrap}/0"
    assert refused.value.pointer == "/filter" + step * MAX_DEPTH


def test_nesting_counts_the_not_inside_a_field() -> None:
    raw: dict[str, Any] = {"$exists": True}
    for _ in range(MAX_DEPTH):
        raw = {"$not": raw}
    with pytest.raises(InvalidFilter, match="levels") as refused:
        parse_filter({"a": raw})
    assert refused.value.pointer == "/filter/a" + "/$not" * MAX_DEPTH


def test_very_deep_filters_are_refused_without_overflow() -> None:
    for wrap in ("$not", "$and"):
        with pytest.raises(InvalidFilter, match="levels"):
            parse_filter(nested(100_000, wrap))


@pytest.mark.parametrize(
    ("raw", "nodes"),
    [
        ({}, 1),
        ({"a": 1}, 1),
        ({"a": 1, "b": 2}, 2),
        ({"a": {"$gt": 1, "$lt": 3}}, 2),
        ({"a": {"$not": {"$gt": 1}}}, 2),
        ({"$and": [{"a": 1}, {}]}, 3),
        ({"$not": {"a": 1}}, 2),
        ({"a": {"$in": [1, 2, 3]}}, 1),
        ({"a": {"$containsAll": [1, 2, 3]}}, 4),
        ({"$id": [1, 2, 3]}, 1),
        ({"$id": {"$in": [1, 2, 3], "$ne": 2}}, 2),
    ],
)
def test_conditions_are_counted_as_documented(raw: dict[str, Any], nodes: int) -> None:
    parse_filter(raw, max_nodes=nodes)
    with pytest.raises(InvalidFilter, match=f"at most {nodes - 1} conditions"):
        parse_filter(raw, max_nodes=nodes - 1)


def test_the_first_condition_too_many_is_named() -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter({"$or": [{"a": i} for i in range(9)]}, max_nodes=4)
    assert refused.value.pointer == "/filter/$or/3/a"


def test_the_tighter_of_two_bounds_is_kept() -> None:
    read = parse_filter({"a": {"$gt": 1, "$gte": 1, "$lt": 5, "$lte": 4.5}})
    assert read == Range("a", "numbers", 1, 4.5, low_open=True, high_open=False)


# ── canonical form ───────────────────────────────────────────────────────────────────────────


def rearranged(filter: Filter, random: random.Random) -> Filter:
    """The same filter in other words: shuffled, repeated, regrouped, negated twice."""
    if isinstance(filter, And | Or):
        kind = type(filter)
        children = [rearranged(child, random) for child in filter.children]
        children += random.choices(children, k=random.randrange(2)) if children else []
        random.shuffle(children)
        if len(children) > 1 and random.random() < 0.3:
            children = [kind(tuple(children[:1])), kind(tuple(children[1:]))]
        filter = kind(tuple(children))
    elif isinstance(filter, Not):
        filter = Not(rearranged(filter.child, random))
    if random.random() < 0.2:
        filter = Not(Not(filter))
    return And((filter,)) if random.random() < 0.1 else filter


@given(filters, st.randoms(use_true_random=False))
def test_canonical_forgets_order_repetition_and_grouping(
    raw: dict[str, Any], random: random.Random
) -> None:
    read = parse_filter(raw)
    assert canonical(rearranged(read, random)) == canonical(read)


@given(filters, filters, st.lists(st.tuples(ids, attributes), max_size=20))
def test_equal_canonical_forms_mean_equal_filters(
    raw: dict[str, Any], other: dict[str, Any], points: list[tuple[Any, Any]]
) -> None:
    one, two = parse_filter(raw), parse_filter(other)
    if canonical(one) == canonical(two):
        assert all(matches(one, *point) == matches(two, *point) for point in points)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": 0}, {"a": -0.0}),
        ({"a": {"$in": [1, "x", 1.0]}}, {"a": {"$in": ["x", 1]}}),
        ({"a": {"$contains": 1}}, {"a": {"$in": [1]}}),
        ({"a": 1, "b": 2}, {"$and": [{"b": 2}, {"a": 1}, {"a": 1}]}),
        ({"a": {"$ne": 1}}, {"$not": {"a": 1}}),
        ({"$id": [1, "1"]}, {"$id": {"$in": ["1", 1, 1]}}),
        ({"a": {"$gte": "2024-05-01"}}, {"a": {"$gte": "2024-05-01T00:00:00Z"}}),
        ({"a": {"$gt": 1, "$gte": 0}}, {"a": {"$gt": 1.0}}),
    ],
)
def test_one_meaning_in_two_spellings_has_one_form(one: Any, two: Any) -> None:
    assert canonical(parse_filter(one)) == canonical(parse_filter(two))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {"a": {"$in": []}}),
        ({"a": {"$gt": 1}}, {"a": {"$gte": 1}}),
        ({"a": {"$gt": 0}}, {"a": {"$gt": "1970-01-01"}}),
        ({"$id": 1}, {"$id": "1"}),
        ({"a": "x"}, {"b": "x"}),
        ({"a": 2**53}, {"a": 2**53 + 1}),
        ({"$and": [{"a": 1}, {"b": 1}]}, {"$or": [{"a": 1}, {"b": 1}]}),
        ({'a":{"$in":["x': 1}, {"a": "x"}),
    ],
)
def test_two_meanings_have_two_forms(one: Any, two: Any) -> None:
    assert canonical(parse_filter(one)) != canonical(parse_filter(two))


@given(
    st.lists(st.text(max_size=5) | st.integers(0, 200) | st.booleans() | st.none(), min_size=32),
    st.randoms(use_true_random=False),
    st.sampled_from((0, "", None, True, 0.5)),
)
def test_many_values_have_one_form_in_any_order(
    values: list[Any], random: random.Random, another: Any
) -> None:
    values += [f"value {i}" for i in range(MANY)]
    shuffled = random.sample(values, len(values)) + values[:3]
    form = canonical(parse_filter({"a": {"$in": values}}))
    assert len(form) < 200
    assert canonical(parse_filter({"a": {"$in": shuffled}})) == form
    kinds = {(type(value), value) for value in values}
    other = canonical(parse_filter({"a": {"$in": [*values, another]}}))
    assert (other == form) == ((type(another), another) in kinds)


def test_many_values_have_no_form_that_few_can_take() -> None:
    read = parse_filter({"a": {"$in": [f"value {i}" for i in range(100)]}})
    [listed] = json.loads(canonical(read))["a"]["$in"]
    for spelled in (listed["$sha256"], json.dumps(listed), canonical(read)):
        assert canonical(parse_filter({"a": spelled})) != canonical(read)


@given(filters, filters)
def test_digests_are_equal_where_canonical_forms_are(
    raw: dict[str, Any], other: dict[str, Any]
) -> None:
    one, two = parse_filter(raw), parse_filter(other)
    assert digest(one) == digest(parse_filter(raw))
    assert (digest(one) == digest(two)) == (canonical(one) == canonical(two))
    # What a filter remembers of itself is no part of it.
    assert one == parse_filter(raw)
    assert pickle.loads(pickle.dumps(one)) == one
    assert digest(copy.deepcopy(one)) == digest(one)


@pytest.mark.parametrize(
    ("bad", "among"),
    [
        (math.nan, [0.5] * 50),
        (math.inf, [0.5, 1e308, 1e308]),
        (2**63, list(range(50))),
        (-(2**63) - 1, list(range(50))),
        ("\ud83d", ["x"] * 50),
        ([], ["x", 1]),
        ({}, [None, True]),
    ],
)
def test_one_bad_value_among_many_is_named(bad: Any, among: list[Any]) -> None:
    for at in (0, len(among) // 2, len(among)):
        raw = {"a": {"$in": [*among[:at], bad, *among[at:]]}}
        with pytest.raises(InvalidFilter) as refused:
            parse_filter(raw)
        assert refused.value.pointer == f"/filter/a/$in/{at}"


def test_halves_of_a_surrogate_pair_do_not_make_a_whole_one() -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter({"a": {"$in": ["x", "\ud83d", "\ude00"]}})
    assert refused.value.pointer == "/filter/a/$in/1"


def test_listed_numbers_are_exact_and_finite_however_large_their_sum() -> None:
    read = parse_filter({"a": {"$in": [1.0, 1, -0.0, 2.5, 2.0**63, 1e308, 1.7e308, 2**63 - 1]}})
    assert isinstance(read, AnyOf)
    assert {(type(number), number) for number in read.values.numbers} == {
        (int, 1), (int, 0), (float, 2.5), (float, 2.0**63), (float, 1e308), (float, 1.7e308),
        (int, 2**63 - 1),
    }  # fmt: skip


def test_trees_can_key_a_dict() -> None:
    raw = {"a": {"$in": [1, "x"]}, "$id": ["p"]}
    assert {parse_filter(raw): 1}[parse_filter(raw)] == 1
    assert isinstance(parse_filter({"a": 1}), AnyOf)
    assert isinstance(parse_filter({"$id": 1}), Ids)
