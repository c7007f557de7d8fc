"""Counts and orders of the points of a view: the promises of `app.backends.base.Subset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.attributes.places import Place
from app.backends.base import Backend, Facet, Order, Ordered, View
from app.keys import id_from_key
from app.types import PointId
from tests.builders import definition, point, where


def facet(backend: Backend, field: str, most: int = 10, **equal: object) -> Facet:
    wanted = where(**equal) if equal else None
    return backend.view("c", lambda view: view.subset(wanted).facet(field, most))


def ordered(backend: Backend, order: Order, most: int = 100) -> list[tuple[PointId, Any]]:
    def work(view: View) -> list[tuple[PointId, Any]]:
        return listed(view.subset(None).in_order(order, most))

    return backend.view("c", work)


def listed(found: Ordered) -> list[tuple[PointId, Any]]:
    assert found.rows.shape == (len(found.keys),)
    return list(zip(map(id_from_key, found.keys), found.values, strict=True))


@pytest.fixture
def mixed(backend: Backend) -> Backend:
    backend.create("c", definition())
    values: Sequence[object] = [
        3,
        2.5,
        "b",
        ["a", 7],
        None,
        True,
        [],
        3.0,
        [1, "z"],
        {"lat": 1, "lon": 2},
    ]
    backend.upsert("c", [point(i, [1, 0, 0, 0], x=value) for i, value in enumerate(values)])
    backend.upsert("c", [point("none", [1, 0, 0, 0])])
    return backend


def test_a_facet_counts_points_by_value_the_most_frequent_first(filled: Backend) -> None:
    assert facet(filled, "even") == Facet([(True, 6), (False, 5)], 2, 0)
    assert facet(filled, "tags") == Facet([("a", 1), ("b", 1)], 2, 10)
    assert facet(filled, "n", 3, even=True) == Facet([(0, 1), (2, 1), (4, 1)], 6, 0)
    assert facet(filled, "no such") == Facet([], 0, 11)


def test_values_of_all_kinds_are_told_apart_and_tie_in_a_fixed_order(mixed: Backend) -> None:
    found = facet(mixed, "x")
    assert found.values == [
        (3, 2), (None, 1), (True, 1), (1, 1), (2.5, 1), (7, 1), ("a", 1), ("b", 1), ("z", 1)
    ]  # fmt: skip
    assert found.missing == 3  # an empty list, a place, nothing
    assert [type(value) for value, _ in found.values[:4]] == [int, type(None), bool, int]


def test_numbers_come_with_how_many_points_hold_them(mixed: Backend) -> None:
    found = mixed.view("c", lambda view: view.subset(None).numbers("x", "numbers"))
    assert (found.ints.tolist(), found.int_counts.tolist()) == ([1, 3, 7], [1, 2, 1])
    assert (found.floats.tolist(), found.float_counts.tolist()) == ([2.5], [1])
    assert found.missing == 6


def test_an_order_has_numbers_before_strings_and_what_is_missing_last(mixed: Backend) -> None:
    assert ordered(mixed, Order("x")) == [
        (8, 1), (1, 2.5), (0, 3), (7, 3), (3, 7), (2, "b"),
        (4, None), (5, None), (6, None), (9, None), ("none", None),
    ]  # fmt: skip
    assert ordered(mixed, Order("x", descending=True), 6) == [
        (8, "z"), (2, "b"), (3, "a"), (0, 3), (7, 3), (1, 2.5)
    ]  # fmt: skip


def test_instants_are_ordered_by_time_whatever_their_offset(backend: Backend) -> None:
    backend.create("c", definition())
    times = ["2024-05-01T10:00:00+02:00", "2024-05-01T09:00:00Z", "2024-05-01", "soon"]
    backend.upsert("c", [point(i, [1, 0, 0, 0], t=time) for i, time in enumerate(times)])
    found = ordered(backend, Order("t", "instants"))
    assert [id_ for id_, _ in found] == [2, 0, 1, 3]
    assert found[-1][1] is None
    assert found[1][1] - found[0][1] == 8 * 3_600_000_000


@pytest.mark.parametrize("descending", [False, True])
def test_distances_are_metres_from_the_origin(backend: Backend, descending: bool) -> None:
    backend.create("c", definition())
    at = [(0, 0), (0, 3), (2, 0), (0, 179), (0, -1)]
    backend.upsert(
        "c",
        [point(i, [1, 0, 0, 0], at={"lat": lat, "lon": lon}) for i, (lat, lon) in enumerate(at)],
    )
    backend.upsert("c", [point(9, [1, 0, 0, 0])])
    order = Order("at", "distance", descending, Place(0, 0.0))
    found = ordered(backend, order)
    nearest = [0, 4, 2, 1, 3]
    assert [id_ for id_, _ in found] == [*(nearest[::-1] if descending else nearest), 9]
    metres = dict(found)
    assert metres[4] == pytest.approx(111_195, abs=1)
    assert metres[3] == pytest.approx(179 * 111_195, rel=1e-5)
    assert ordered(backend, order, 2) == found[:2]


def test_a_subset_of_rows_is_those_points(filled: Backend) -> None:
    def work(view: View) -> tuple[int, Facet, Ordered]:
        chosen = view.subset(view.find(["ten", 3, 5]))
        return chosen.points, chosen.facet("even", 5), chosen.in_order(Order("n"), 2)

    points, found, first = filled.view("c", work)
    assert points == 3
    assert found == Facet([(False, 2), (True, 1)], 2, 0)
    assert listed(first) == [(3, 3), (5, 5)]
