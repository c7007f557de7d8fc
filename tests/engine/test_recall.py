"""Recall of graph answers at each stage of a segment's life; seeded, with a stated budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.attributes.filter import Filter
from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.types import Definition, Metric, Point, VectorField
from tests.builders import definition, random_points, search, settle, upsert_all, where

COUNT, DIMENSION = 12_000, 8
QUERIES = np.random.default_rng(99).normal(size=(40, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return random_points(COUNT, DIMENSION)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    opened = LocalBackend(tmp_path, sync=False, head_points=COUNT, build_threads=2)
    opened.create("c", definition(DIMENSION, Metric.L2))
    yield opened
    opened.close()


def measure(backend: LocalBackend, filter: Filter | None = None) -> tuple[float, set[str]]:
    """Recall@10 of default answers against exact ones, and the plans that gave them."""
    hits = wanted = 0
    plans = set()
    for query in QUERIES:
        ours, truth = backend.search(
            "c", [search(query, filter), search(query, filter, exact=True)]
        )
        assert truth.exact
        assert ours.matches == truth.matches
        assert len(ours.hits) == len(truth.hits)
        plans.add(ours.plan)
        found = {hit.record.id for hit in ours.hits}
        hits += len(found & {hit.record.id for hit in truth.hits})
        wanted += len(truth.hits)
    return hits / wanted, plans


def test_recall_after_a_build(backend: LocalBackend, points: list[Point]) -> None:
    upsert_all(backend, "c", points)
    settle(backend, "c")
    assert [part["kind"] for part in backend.describe("c").segments] == ["graph", "head"]
    recall, plans = measure(backend)
    assert plans == {"graph"}
    assert recall >= 0.98  # 1.0 when written


def test_recall_under_a_filter(backend: LocalBackend, points: list[Point]) -> None:
    upsert_all(backend, "c", points)
    settle(backend, "c")
    for groups in ([1], [1, 2, 3], list(range(9))):
        recall, _ = measure(backend, where(group={"$in": groups}))
        assert recall >= 0.98
    _, plans = measure(backend, where(group={"$lt": 9}))
    assert plans == {"graph"}


def test_recall_after_inserts_into_a_built_segment(
    backend: LocalBackend, points: list[Point]
) -> None:
    upsert_all(backend, "c", points[: COUNT // 2] + points[: COUNT // 2])
    backend.close()
    folder = backend._folder.parent
    reopened = LocalBackend(folder, sync=False, head_points=COUNT // 2, build_threads=2)
    try:
        settle(reopened, "c")
        upsert_all(reopened, "c", points[COUNT // 2 :])
        settle(reopened, "c")
        segments = reopened.describe("c").segments
        assert segments == [
            {"kind": "graph", "points": COUNT, "deleted": 0},
            {"kind": "head", "points": 0, "deleted": 0},
        ]
        recall, plans = measure(reopened)
        assert plans == {"graph"}
        assert recall >= 0.98
    finally:
        reopened.close()


def test_recall_with_tombstones_and_after_their_removal(
    backend: LocalBackend, points: list[Point]
) -> None:
    upsert_all(backend, "c", points)
    settle(backend, "c")
    backend.delete("c", Selection(filter=where(group=4)))
    recall, plans = measure(backend)
    assert plans == {"graph"}
    assert recall >= 0.98
    backend.delete("c", Selection(filter=where(group={"$in": [5, 6]})))
    settle(backend, "c")
    graph, _ = backend.describe("c").segments
    assert graph == {"kind": "graph", "points": COUNT * 7 // 10, "deleted": 0}
    recall, _ = measure(backend)
    assert recall >= 0.98


def test_recall_where_some_points_lack_the_vector(tmp_path: Path) -> None:
    """Such a graph stands over some of the slots, and is extended like any other."""
    fields = {name: VectorField(name, DIMENSION, Metric.L2) for name in ("v", "w")}
    backend = LocalBackend(tmp_path, sync=False, head_points=COUNT // 2, build_threads=2)
    backend.create("c", Definition(fields))
    every = random_points(COUNT, DIMENSION)
    mixed = [
        Point(p.id, {"w" if n % 7 == 0 else "v": p.vectors["v"]}, p.attributes)
        for n, p in enumerate(every)
    ]
    for half in (mixed[: COUNT // 2], mixed[COUNT // 2 :]):
        upsert_all(backend, "c", half)
        settle(backend, "c")
    recall, plans = measure(backend)
    assert plans == {"graph"}
    assert recall >= 0.98
    backend.close()
