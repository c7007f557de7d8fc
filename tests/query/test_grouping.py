"""Groups and orders against a look at every point, on a plan that is read and run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attributes.filter import parse_filter
from app.attributes.matches import matches
from app.backends.base import View
from app.errors import InvalidQuery, LimitExceeded
from app.keys import id_from_key
from app.query.pool import Pool
from app.query.read import Asked, PlanReader
from app.query.running import Running
from app.types import PointId
from tests.builders import definition, point, vector
from tests.reference_backend import ReferenceBackend

MAX_K = 40


def run(
    backend: ReferenceBackend,
    members: Mapping[str, object],
    *,
    searched: bool = True,
    max_k: int = MAX_K,
    **more: Any,
) -> tuple[Pool, Running]:
    leaf = ("vector", None, None) if searched else None
    asked = Asked("", leaf, "v", None, 10, 0, members)._replace(**more)
    plan = PlanReader(max_k, 100, asked).plan()

    def work(view: View) -> tuple[Pool, Running]:
        field = view.definition.vectors["v"]
        running = Running(view, {"": field}, {("", "v"): vector(1, 0, 0, 0)}, explain=True)
        return plan.run(running), running

    return backend.view("c", work)


def grouped(pool: Pool) -> list[tuple[Any, list[PointId]]]:
    ids = {row: id_from_key(key) for row, key in zip(pool.rows.tolist(), pool.keys, strict=True)}
    assert pool.groups is not None
    return [(group.value, [ids[row] for row in group.rows]) for group in pool.groups]


def filled(attributes: list[dict[str, Any]], scores: list[int]) -> ReferenceBackend:
    backend = ReferenceBackend()
    backend.create("c", definition())
    backend.upsert(
        "c",
        [
            point(at, [score, 1, 0, 0])
            if not having
            else point(at, [score, 1, 0, 0], None, **having)
            for at, (having, score) in enumerate(zip(attributes, scores, strict=True))
        ],
    )
    return backend


def best_groups(
    attributes: list[dict[str, Any]], scores: list[int], keep: Any, size: int
) -> list[tuple[Any, list[PointId]]]:
    ranked = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    groups: dict[tuple[str, Any], list[PointId]] = {}
    for at in ranked:
        if keep(at):
            value = attributes[at].get("g", [])
            seen = value if isinstance(value, list) else [value]
            for one in dict.fromkeys((type(one) is bool, one) for one in seen if one is not None):
                groups.setdefault(one, []).append(at)
    return [(value, found[:size]) for (_, value), found in groups.items()]


values = st.sampled_from(["a", "b", "c", 1, 2.5, True, None])
having = st.fixed_dictionaries(
    {}, optional={"g": values | st.lists(values, max_size=3), "n": st.integers(0, 3)}
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(having, st.integers(0, 9)), max_size=40),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([None, {"n": {"$gte": 1}}]),
)
def test_groups_are_those_of_all_points_ranked(
    points: list[tuple[dict[str, Any], int]],
    groups: int,
    size: int,
    offset: int,
    raw: dict[str, Any] | None,
) -> None:
    attributes, scores = [one for one, _ in points], [score for _, score in points]
    filter = parse_filter(raw or {})
    expected = best_groups(attributes, scores, lambda at: matches(filter, at, attributes[at]), size)
    members = {"group_by": {"field": "g", "groups": groups, "size": size}}
    pool, running = run(filled(attributes, scores), members, filter=raw, offset=offset)
    assert grouped(pool) == expected[offset : offset + groups]
    assert running.account[-1]["cut"] is False
    assert len(set(pool.rows.tolist())) == len(pool)


def test_recall_is_deepened_until_there_are_enough_groups() -> None:
    attributes = [{"g": "same" if at < 120 else f"g{at}"} for at in range(140)]
    backend = filled(attributes, list(range(140, 0, -1)))
    members = {"group_by": {"field": "g", "groups": 3, "size": 2}}
    pool, running = run(backend, members, max_k=1000)
    assert grouped(pool) == [("same", [0, 1]), ("g120", [120]), ("g121", [121])]
    assert (running.account[-1]["rounds"], running.account[-1]["cut"]) == (2, False)


def test_what_the_pool_limit_cuts_off_is_said() -> None:
    attributes = [{"g": "same" if at < 120 else f"g{at}"} for at in range(140)]
    backend = filled(attributes, list(range(140, 0, -1)))
    members = {"group_by": {"field": "g", "groups": 3, "size": 2}}
    pool, running = run(backend, members, max_k=110)
    assert grouped(pool) == [("same", [0, 1])]
    assert (running.account[-1]["rounds"], running.account[-1]["cut"]) == (2, True)


def test_a_group_met_with_too_few_points_is_filled_up() -> None:
    # One point of "late" is near, the next one far below what is recalled at first.
    attributes = [{"g": "late" if at in (0, 70) else "many"} for at in range(80)]
    backend = filled(attributes, list(range(80, 0, -1)))
    pool, running = run(backend, {"group_by": {"field": "g", "groups": 2, "size": 2}})
    assert grouped(pool) == [("late", [0, 70]), ("many", [1, 2])]
    assert running.account[-1]["filled"] == 1


def test_all_that_pass_are_ordered_without_a_query() -> None:
    attributes = [{"n": (7 * at) % 10} if at != 4 else {} for at in range(10)]
    backend = filled(attributes, [0] * 10)
    pool, running = run(backend, {"order_by": "n"}, searched=False, k=3, offset=1)
    assert [id_from_key(key) for key in pool.keys] == [3, 6, 9]
    assert pool.scores.tolist() == [-1, -2, -3]
    assert (running.matches, running.exact) == (10, True)
    assert pool.notes[int(pool.rows[0])] == {"order_by": {"value": 1}}
    down = {"field": "n", "direction": "desc"}
    pool, _ = run(backend, {"order_by": down}, searched=False, filter={"n": {"$lt": 5}}, k=2)
    assert [id_from_key(key) for key in pool.keys] == [2, 9]


def test_a_query_says_which_points_are_ordered_and_keeps_their_scores() -> None:
    attributes = [{"n": at % 4} for at in range(20)]
    backend = filled(attributes, list(range(20)))
    pool, _ = run(backend, {"order_by": {"field": "n", "candidates": 5}}, k=3)
    assert [id_from_key(key) for key in pool.keys] == [16, 17, 18]
    assert pool.scores.tolist() == [16, 17, 18]


def test_groups_of_an_order_begin_with_its_first() -> None:
    attributes = [{"g": "ab"[at % 2], "n": -at} for at in range(30)]
    members = {"order_by": "n", "group_by": {"field": "g", "groups": 2, "size": 2}}
    pool, _ = run(filled(attributes, [0] * 30), members, searched=False)
    assert grouped(pool) == [("b", [29, 27]), ("a", [28, 26])]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"order_by": 3}, "/order_by"),
        ({"order_by": "$n"}, "/order_by"),
        ({"order_by": {"direction": "asc"}}, "/order_by"),
        ({"order_by": {"field": "n", "direction": "up"}}, "/order_by/direction"),
        ({"order_by": {"field": "n", "near": {"lat": 1}}}, "/order_by/near"),
        ({"order_by": {"field": "n", "near": {"lat": 91, "lon": 0}}}, "/order_by/near/lat"),
        (
            {"order_by": {"field": "n", "near": {"lat": 1, "lon": 0}, "as": "datetime"}},
            "/order_by/as",
        ),
        ({"group_by": {"field": 1}}, "/group_by/field"),
        ({"group_by": {"field": "g", "size": 0}}, "/group_by/size"),
        ({"group_by": {"field": "g", "sizes": 2}}, "/group_by/sizes"),
    ],
)
def test_a_mistake_is_named_by_its_place(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        run(filled([], []), members)
    assert refused.value.pointer == pointer


def test_groups_and_their_sizes_are_bounded_together() -> None:
    with pytest.raises(LimitExceeded) as refused:
        run(filled([], []), {"group_by": {"field": "g", "groups": 21, "size": 2}})
    assert (refused.value.pointer, refused.value.context["limit"]) == ("/group_by", MAX_K)


def test_groups_are_of_something() -> None:
    with pytest.raises(InvalidQuery, match="of something"):
        run(filled([], []), {"group_by": "g"}, searched=False)
