"""Both indexes against the definition: evaluate == {slot | matches}."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.attributes.evaluate import AttributeReader, evaluate
from app.attributes.filter import And, Filter, Or, Range, Values, parse_filter
from app.attributes.growing import GrowingIndex
from app.attributes.index import AttributeIndex
from app.attributes.matches import matches
from app.kernels import bits as kernels
from app.types import U32, Attributes, PointId
from tests.attributes.strategies import (
    FLOATS,
    INSTANTS,
    INTS,
    TWINS,
    attributes,
    filters,
    ids,
    ranges,
)

Points = Sequence[tuple[PointId, Attributes]]


def grown(points: Points) -> GrowingIndex:
    index = GrowingIndex()
    for _, point in points:
        index.append(point)
    return index


def built(points: Points) -> AttributeIndex:
    return AttributeIndex.build(point for _, point in points)


def finder(points: Points) -> Callable[[Sequence[PointId]], U32]:
    def find_ids(wanted: Sequence[PointId]) -> U32:
        return np.array([s for s, (id, _) in enumerate(points) if id in wanted], np.uint32)

    return find_ids


def passing(filter: Filter, index: AttributeReader, points: Points, slots: int) -> list[int]:
    found = evaluate(filter, index, slots, finder(points))
    assert found.dtype == np.uint64
    assert found.shape == (kernels.words(slots),)
    passed: list[int] = kernels.slots_of(found).tolist()
    assert kernels.count(found) == len(passed)
    return passed


def expected(filter: Filter, points: Points, slots: int) -> list[int]:
    return [s for s, point in enumerate(points[:slots]) if matches(filter, *point)]


# Repeated, so that sets are narrow for some values and wide for others.
points_strategy = st.builds(
    lambda points, times, rare: [*points * times, *rare],
    st.lists(st.tuples(ids, attributes), max_size=8),
    st.sampled_from((1, 1, 9, 40)),
    st.lists(st.tuples(ids, attributes), max_size=4),
)


@settings(max_examples=400, deadline=None)
@given(filters, points_strategy, st.data())
@example(
    {"a": {"$in": list(TWINS)}}, [(1, {"a": TWINS[0]}), (2, {"a": TWINS[1]}), (3, {"a": "x"})], None
)
def test_both_indexes_agree_with_the_definition(
    raw: dict[str, Any], points: Points, data: st.DataObject | None
) -> None:
    filter = parse_filter(raw)
    slots = len(points)
    assert passing(filter, built(points), points, slots) == expected(filter, points, slots)
    seen = data.draw(st.integers(0, slots)) if data else slots
    assert passing(filter, grown(points), points, seen) == expected(filter, points, seen)


@pytest.mark.parametrize("make", [built, grown])
def test_every_range_of_edge_numbers_is_exact(make: Callable[[Points], AttributeReader]) -> None:
    numbers = [*INTS, *FLOATS, 0.1, 3, 2.5]
    points: Points = [(i, {"n": number}) for i, number in enumerate(numbers)]
    index = make(points)
    for bound in numbers:
        for operator in ("$gt", "$gte", "$lt", "$lte"):
            filter = parse_filter({"n": {operator: bound}})
            assert passing(filter, index, points, len(points)) == expected(
                filter, points, len(points)
            ), (operator, bound)


def test_the_collision_that_is_tested_is_one() -> None:
    assert len({zlib.crc32(text.encode()) for text in TWINS}) == 1


def made_of_one_hash(count: int) -> list[str]:
    """Make different texts of one CRC-32.

    For texts of one length the CRC is affine over bits: flipping an input bit flips a fixed set of
    output bits. Gaussian elimination finds combinations of flips that cancel out.
    """
    base = b"A" * 64
    start = zlib.crc32(base)
    # Flipping bit 0 or 1 of an "A" gives "@", "C", "B": all printable.
    flips = [(1 << (8 * i + b)) for i in range(64) for b in (0, 1)]
    pivots: dict[int, tuple[int, int]] = {}
    kernel: list[int] = []
    for flip in flips:
        changed = bytes(x ^ y for x, y in zip(base, flip.to_bytes(64, "little"), strict=True))
        effect, combination = zlib.crc32(changed) ^ start, flip
        while effect:
            top = effect.bit_length()
            if top not in pivots:
                pivots[top] = effect, combination
                break
            effect ^= pivots[top][0]
            combination ^= pivots[top][1]
        else:
            kernel.append(combination)
    texts = []
    for number in range(count):
        mask = 0
        for i, vector in enumerate(kernel[:16]):
            if number >> i & 1:
                mask ^= vector
        texts.append(
            bytes(x ^ y for x, y in zip(base, mask.to_bytes(64, "little"), strict=True)).decode()
        )
    return texts


@pytest.mark.parametrize("wanted", [1, 5, 100])
def test_strings_made_to_collide_are_told_apart(wanted: int) -> None:
    texts = made_of_one_hash(600)
    assert len(set(texts)) == 600
    assert len({zlib.crc32(text.encode()) for text in texts}) == 1
    # The greatest are absent, so that a search for them ends past the last key.
    texts.sort()
    points: Points = [(i, {"s": text}) for i, text in enumerate(texts[:300])]
    index = built(points)
    filter = parse_filter({"s": {"$in": texts[200 : 200 + wanted] + texts[400 : 400 + wanted]}})
    assert passing(filter, index, points, 300) == list(range(200, 200 + wanted))


def test_a_slot_stands_once_under_a_value_however_often_the_point_repeats_it() -> None:
    repeated = {
        "n": [1, 1.0, "x", "x", True, True, None, None, "2024-05-01", "2024-05-01T00:00:00Z"]
    }
    # Few of many, so that sets come as slots.
    index = AttributeIndex.build([repeated] * 5 + [{}] * 300)
    for values in (
        Values(numbers=frozenset((1,))),
        Values(strings=frozenset("x")),
        Values(bools=frozenset((True,))),
        Values(null=True),
    ):
        assert np.concatenate(index.sets_equal("n", values)).tolist() == [0, 1, 2, 3, 4]
    for range in (Range("n", "numbers"), Range("n", "instants")):
        assert np.concatenate(index.sets_in_range(range)).tolist() == [0, 1, 2, 3, 4]


columns = st.one_of(
    st.integers(-20, 20),
    st.sampled_from((*INTS, *FLOATS)),
    st.floats(-20, 20),
    st.sampled_from(INSTANTS),
    st.just([]),
    st.integers(0, 9).map(lambda number: [number, number, float(number)]),
    st.lists(st.integers(-20, 20), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(columns, max_size=400), st.lists(ranges, min_size=1, max_size=4), st.booleans())
@example([[1, 3], [], [], 2] * 40, [{"$gt": 0}], False)
@example([1, 1.5, [1, 1.5], [1.5, 1.5]] * 40, [{"$gte": 1.2}, {"$lte": 1.1}], False)
@example([1, 3, [1, 3], [3, 1]] * 40, [{"$gt": 2}, {"$lt": 2}], False)
@example(["2024-05-01", ["2024-05-01", "2017-01-01"]], [{"$gt": "2020-01-01"}] * 2, True)
@example([0.0, -0.0, 0], [{"$gte": 0}, {"$lte": -0.0}], False)
@example([2**53, 2.0**53, 2**53 + 1], [{"$gt": 2.0**53}, {"$lt": 2**53 + 2}], False)
def test_ranges_of_one_field_mean_the_same_together(
    column: list[Any], several: list[dict[str, Any]], more: bool
) -> None:
    points: Points = [(i, {"a": value, "b": i % 3}) for i, value in enumerate(column)]
    indexes = built(points), grown(points)
    wanted: list[dict[str, Any]] = [{"a": range} for range in several]
    for operator in ("$and", "$or"):
        for raw in (
            {operator: wanted},
            {operator: [{"$not": one} for one in wanted]},
            {operator: [{"b": 1}, *wanted, {"$not": wanted[0]} if more else {"b": 1}]},
        ):
            filter = parse_filter(raw)
            for index in indexes:
                found = passing(filter, index, points, len(points))
                assert found == expected(filter, points, len(points)), raw


def test_two_values_of_one_point_may_meet_two_ranges() -> None:
    raw = {"$and": [{"a": {"$gte": 10}}, {"a": {"$lte": 5}}]}
    for value in ([1, 11], [1.5, 11], [1.5, 11.5]):
        points: Points = [(0, {"a": value}), (1, {"a": 1}), (2, {"a": 11}), (3, {"a": 1.5})] * 30
        index = built(points)
        assert not index.is_single("a", "numbers")
        assert passing(parse_filter(raw), index, points, 120) == list(range(0, 120, 4))
    assert built([(0, {"a": [1, 1.0]}), (1, {"a": 0.5})]).is_single("a", "numbers")


def test_wide_sets_that_an_index_keeps_are_never_changed() -> None:
    def point(i: int) -> dict[str, Any]:
        return {"half": i % 2, "year": 1990 + i % 30, "tags": [i % 3, i % 4], "on": i % 3 > 0}

    points: Points = [(i, point(i)) for i in range(500)]
    index = built(points)
    leaves: list[dict[str, Any]] = [
        {"half": 1},
        {"tags": 2},
        {"on": True},
        {"on": {"$exists": True}},
        {"year": {"$gte": 1995, "$lt": 2010}},
        {"tags": {"$gt": 1}},
    ]
    for _ in range(2):
        for operator in ("$and", "$or"):
            for one in leaves:
                for two in (*leaves, {"$not": leaves[0]}, {"$not": leaves[4]}):
                    filter = parse_filter({operator: [one, two]})
                    assert passing(filter, index, points, 500) == expected(filter, points, 500)


def test_the_first_readers_of_a_range_may_come_at_once() -> None:
    points: Points = [(i, {"a": i * 7919 % 3001}) for i in range(3000)]
    filter = parse_filter({"a": {"$gte": 500, "$lt": 2500}})
    wanted = expected(filter, points, 3000)
    for _ in range(5):
        index = built(points)
        with ThreadPoolExecutor(4) as readers:
            asked = [readers.submit(passing, filter, index, points, 3000) for _ in range(8)]
            assert all(answer.result() == wanted for answer in asked)


def test_many_values_are_found_like_few() -> None:
    points: Points = [
        (i, {"s": f"title {i}", "n": [i, i + 0.5], "m": "same" if i % 2 else [f"{i}", i]})
        for i in range(5000)
    ]
    index, growing = built(points), grown(points)
    for raw in (
        {"s": {"$in": [f"title {i}" for i in range(0, 9000, 7)]}},
        {"s": {"$in": [f"absent {i}" for i in range(100)]}},
        {"n": {"$in": [i / 2 for i in range(-50, 800, 3)]}},
        {"m": {"$in": ["same", *(f"{i}" for i in range(0, 600, 3)), *range(100)]}},
        {"n": {"$in": [f"{i}" for i in range(100)]}},
        {"s": {"$in": list(range(100))}},
        {"absent": {"$in": list(range(100))}},
    ):
        filter = parse_filter(raw)
        wanted = expected(filter, points, 5000)
        assert passing(filter, index, points, 5000) == wanted
        assert passing(filter, growing, points, 5000) == wanted


def test_narrow_and_wide_sets_combine_in_every_way() -> None:
    def point(i: int) -> dict[str, Any]:
        some = {"half": i % 2, "third": i % 3, "rare": i // 7, "rarer": [i // 11, i // 13]}
        return {**some, "most": None} if i % 5 else some

    points: Points = [(i, point(i)) for i in range(300)]
    leaves: list[dict[str, Any]] = [
        {"half": 0},
        {"third": {"$ne": 1}},
        {"rare": 30},
        {"rarer": {"$in": [15, 16, 17, 18, 19]}},
        {"rare": {"$ne": 31}},
        {"absent": 1},
        {"half": {"$exists": True}},
        {"most": {"$exists": True}},
        {"$id": {"$nin": list(range(190, 220))}},
    ]
    index = built(points)
    for outer in ("$and", "$or"):
        for inner in ("$and", "$or"):
            for one in leaves:
                for two in leaves:
                    for three in leaves:
                        raw = {outer: [{inner: [one, two]}, {"$not": three}]}
                        filter = parse_filter(raw)
                        found = passing(filter, index, points, 300)
                        assert found == expected(filter, points, 300), raw


def test_the_answer_is_the_callers_to_change() -> None:
    points: Points = [(i, {"a": i % 2}) for i in range(200)]
    index = built(points)
    for raw in ({}, {"a": 1}, {"a": {"$exists": True}}, {"$id": 3}, {"b": 1}):
        first = evaluate(parse_filter(raw), index, 200, finder(points))
        kept = first.copy()
        first[:] = 0
        again = evaluate(parse_filter(raw), index, 200, finder(points))
        assert np.array_equal(again, kept)


def test_empty_groups_and_ranges_have_their_logical_meaning() -> None:
    points: Points = [(i, {"a": i}) for i in range(3)]
    for index in (built(points), grown(points)):
        assert passing(And(()), index, points, 3) == [0, 1, 2]
        assert passing(Or(()), index, points, 3) == []
        assert passing(Range("a", "numbers"), index, points, 3) == [0, 1, 2]
        assert passing(Range("a", "numbers", 2, 1), index, points, 3) == []


def test_no_points_pass_nothing() -> None:
    for index in (built([]), grown([])):
        assert passing(parse_filter({}), index, [], 0) == []
        assert passing(parse_filter({"a": {"$ne": 1}}), index, [], 0) == []
