"""Covers: built for the filters that are asked, used by the plans that gain, never needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.attributes.filter import Filter, parse_filter
from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.engine import builder, builds
from app.planner.costs import Costs
from app.segments.covers import conditions_of
from app.types import Metric, Point
from tests.builders import definition, point, random_points, search, settle, upsert_all, where

COUNT, DIMENSION = 6000, 8
DEAR = Costs(code_scan_fixed_ns=300, code_visit_fixed_ns=85)  # a few hundred rows are worth a graph
QUERIES = np.random.default_rng(3).normal(size=(40, DIMENSION)).astype(np.float32)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build covers after a few queries, and without waiting for a pause."""
    monkeypatch.setattr(builder, "_IDLE_S", 0.0)
    monkeypatch.setattr(builder, "_TICK_S", 0.02)
    monkeypatch.setattr(builds, "WORTH_COVERS_NS", 1.0)


def opened(folder: Path) -> LocalBackend:
    # Links weigh much beside eight numbers: the share is for vectors of hundreds.
    return LocalBackend(
        folder, sync=False, head_points=COUNT, costs=DEAR, build_threads=2, cover_share=50
    )


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = opened(tmp_path)
    backend.create("c", definition(DIMENSION, Metric.L2))
    points = [
        Point(
            p.id, p.vectors, {**p.attributes, "tags": ["tenth", "any"] if n % 10 == 0 else ["any"]}
        )
        for n, p in enumerate(random_points(COUNT, DIMENSION))
    ]
    upsert_all(backend, "c", points)
    settle(backend, "c")
    yield backend
    backend.close()


def wait_for_covers(backend: LocalBackend, filter: Filter, name: str = "c") -> None:
    deadline = time.monotonic() + 30
    while nodes_walked(backend, filter) in (0, COUNT):
        assert time.monotonic() < deadline, "no cover is built"
        time.sleep(0.02)


def nodes_walked(backend: LocalBackend, filter: Filter) -> int:
    """Size of the graph that a query walks; 0 for a scan."""
    (answer,) = backend.search("c", [search(QUERIES[0], filter, explain=True)])
    assert answer.explanation is not None
    graph = answer.explanation["parts"][0]
    return int(graph.get("nodes", 0))


def recall(backend: LocalBackend, filter: Filter) -> float:
    hits = wanted = 0
    for query in QUERIES:
        ours, truth = backend.search(
            "c", [search(query, filter), search(query, filter, exact=True)]
        )
        assert ours.matches == truth.matches
        assert len(ours.hits) == len(truth.hits)
        hits += len({h.record.id for h in ours.hits} & {h.record.id for h in truth.hits})
        wanted += len(truth.hits)
    return hits / wanted


def test_a_filter_that_is_asked_gets_a_graph_over_its_matches(backend: LocalBackend) -> None:
    group = where(group=3)
    assert nodes_walked(backend, group) in (0, COUNT)
    wait_for_covers(backend, group)
    assert nodes_walked(backend, group) == COUNT // 10
    assert recall(backend, group) >= 0.98


def test_covers_of_one_value_come_with_those_of_the_others(backend: LocalBackend) -> None:
    wait_for_covers(backend, where(group=3))
    assert nodes_walked(backend, where(group=7)) == COUNT // 10
    assert recall(backend, where(group=7)) >= 0.98


def test_lists_are_covered_by_element_and_conjunctions_by_a_part(backend: LocalBackend) -> None:
    tenth = where(tags={"$contains": "tenth"})
    wait_for_covers(backend, tenth)
    assert nodes_walked(backend, tenth) == COUNT // 10
    both = parse_filter({"tags": "tenth", "n": {"$lt": 5000}})
    assert nodes_walked(backend, both) == COUNT // 10
    assert recall(backend, both) >= 0.98


def test_a_range_gets_a_graph_over_a_window_that_holds_it(backend: LocalBackend) -> None:
    eighth = where(n={"$gte": 2000, "$lt": 2700})
    wait_for_covers(backend, eighth)
    assert nodes_walked(backend, eighth) == COUNT // 2
    assert recall(backend, eighth) >= 0.98
    half = where(n={"$gte": 1600, "$lte": 4400})
    assert nodes_walked(backend, half) == COUNT // 2
    assert recall(backend, half) >= 0.98
    open_ended = where(n={"$gt": 4600})
    assert nodes_walked(backend, open_ended) == COUNT // 2
    assert recall(backend, open_ended) >= 0.98
    wide = where(n={"$gte": 100, "$lte": 5900})
    assert nodes_walked(backend, wide) == COUNT
    both = parse_filter({"n": {"$gte": 2000, "$lt": 2700}, "tags": "any"})
    assert nodes_walked(backend, both) == COUNT // 2
    assert recall(backend, both) >= 0.98


def test_windows_come_back_after_a_restart(backend: LocalBackend, tmp_path: Path) -> None:
    eighth = where(n={"$gte": 2000, "$lt": 2700})
    wait_for_covers(backend, eighth)
    backend.close()
    reopened = opened(tmp_path)
    assert nodes_walked(reopened, eighth) == COUNT // 2
    assert recall(reopened, eighth) >= 0.98
    reopened.close()


def test_deleted_points_do_not_return_through_a_cover(backend: LocalBackend) -> None:
    group = where(group=3)
    wait_for_covers(backend, group)
    backend.delete("c", Selection(ids=tuple(range(3, 1000, 10))))
    assert nodes_walked(backend, group) == COUNT // 10
    assert recall(backend, group) >= 0.98
    backend.upsert("c", [point(3, QUERIES[0], group=3)])
    (answer,) = backend.search("c", [search(QUERIES[0], group, k=1)])
    assert answer.hits[0].record.id == 3


def test_covers_survive_a_restart_and_a_damaged_one_is_done_without(
    backend: LocalBackend, tmp_path: Path
) -> None:
    group = where(group=3)
    wait_for_covers(backend, group)
    backend.close()
    reopened = opened(tmp_path)
    assert nodes_walked(reopened, group) == COUNT // 10
    reopened.close()
    (folder,) = tmp_path.glob("collections/*/segments/*.covers.*")
    (folder / "c0.links.npy").write_bytes(b"nothing")
    reopened = opened(tmp_path)
    assert reopened.count("c", None) == COUNT
    assert recall(reopened, group) >= 0.98
    wait_for_covers(reopened, group)
    reopened.close()


def test_a_new_segment_gets_the_covers_that_the_old_one_had(backend: LocalBackend) -> None:
    group = where(group=3)
    wait_for_covers(backend, group)
    more = random_points(2 * COUNT, DIMENSION, seed=1)[COUNT:]
    upsert_all(backend, "c", more)
    deadline = time.monotonic() + 30
    while nodes_walked(backend, group) != 2 * COUNT // 10:
        assert time.monotonic() < deadline, "the merged segment has no covers"
        time.sleep(0.02)
    assert recall(backend, group) >= 0.98


def test_the_budget_bounds_what_is_built(tmp_path: Path) -> None:
    row_bytes = 2 * 2 * 12 + 4  # covers have three quarters of the links
    share = 1500 * row_bytes / (COUNT * DIMENSION * 4)  # for 1,500 rows: two groups of ten
    backend = LocalBackend(
        tmp_path, sync=False, head_points=COUNT, costs=DEAR, build_threads=2, cover_share=share
    )
    backend.create("c", definition(DIMENSION, Metric.L2))
    upsert_all(backend, "c", random_points(COUNT, DIMENSION))
    settle(backend, "c")
    walked: list[int] = []
    deadline = time.monotonic() + 30
    while sum(nodes == COUNT // 10 for nodes in walked) == 0:
        assert time.monotonic() < deadline
        walked = [nodes_walked(backend, where(group=group)) for group in range(10)]
    walked = [nodes_walked(backend, where(group=group)) for group in range(10)]
    assert sum(nodes == COUNT // 10 for nodes in walked) == 2
    backend.close()


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        ({}, []),
        ({"a": 1}, ["a"]),
        ({"a": 1, "b": {"$contains": "x"}, "c": {"$gt": 2}}, ["a", "b", "c"]),
        ({"$or": [{"a": {"$gt": 1}}, {"b": 1}]}, []),
        ({"a": {"$in": [1, 2]}}, []),
        ({"a": None}, []),
        ({"$or": [{"a": 1}, {"b": 1}]}, []),
        ({"$not": {"a": 1}}, []),
        ({"a": {"$ne": 1}}, []),
    ],
)
def test_only_conditions_that_every_match_meets_can_be_covered(
    raw: dict[str, object], fields: list[str]
) -> None:
    assert sorted(part.field for part in conditions_of(parse_filter(raw))) == fields
