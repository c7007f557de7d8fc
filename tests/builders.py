"""Points, filters and collections with stated properties."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from app.attributes.filter import Filter, parse_filter
from app.backends.base import Backend, Search
from app.types import (
    F32,
    AttributeValue,
    Definition,
    Metric,
    Point,
    PointId,
    Projection,
    VectorField,
)


def definition(
    dimension: int = 4, metric: Metric = Metric.IP, schema: Mapping[str, str] | None = None
) -> Definition:
    """A collection with one vector, "v"."""
    return Definition({"v": VectorField("v", dimension, metric)}, schema or {})


def vector(*numbers: float) -> F32:
    return np.array(numbers, dtype=np.float32)


def point(
    id_: PointId, numbers: Sequence[float] | F32, text: str | None = None, **attributes: Any
) -> Point:
    """A point with the vector "v"."""
    return Point(id_, {"v": np.asarray(numbers, dtype=np.float32)}, attributes, text)


class Clock:
    """A clock that stands until it is moved, in seconds since 1970."""

    def __init__(self, now_s: float = 1_900_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def in_ms(self, seconds: float) -> int:
        """Milliseconds since 1970 of so many seconds from now."""
        return round((self.now_s + seconds) * 1000)


def where(**conditions: Any) -> Filter:
    """A filter from field=value or field={"$op": …}."""
    return parse_filter(conditions)


def search(numbers: Sequence[float] | F32, filter: Filter | None = None, **more: Any) -> Search:
    """A search of "v"."""
    return Search(np.asarray(numbers, dtype=np.float32), "v", filter, **more)


def found_ids(backend: Backend, name: str, question: Search) -> list[PointId]:
    """The ids of one answer, in order."""
    return [hit.record.id for hit in backend.search(name, [question])[0].hits]


def settle(backend: Backend, name: str, timeout_s: float = 60.0) -> None:
    """Wait until no build is running or due."""
    deadline = time.monotonic() + timeout_s
    while backend.describe(name).building:
        assert time.monotonic() < deadline, "the build does not end"
        time.sleep(0.01)


def everything(backend: Backend, name: str) -> dict[PointId, dict[str, AttributeValue]]:
    """All points by scrolling: id → attributes."""
    seen: dict[PointId, dict[str, AttributeValue]] = {}
    after: PointId | None = None
    while True:
        page = backend.scroll(name, filter=None, limit=7, after=after, projection=Projection())
        for record in page.records:
            assert record.id not in seen
            seen[record.id] = record.attributes
        if page.next_after is None:
            return seen
        after = page.next_after


def random_points(count: int, dimension: int, seed: int = 0) -> list[Point]:
    """Gaussian vectors; `group` of ten values, `n` the number itself."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return [point(n, vectors[n], group=n % 10, n=n) for n in range(count)]


def upsert_all(backend: Backend, name: str, points: Iterable[Point], batch: int = 1000) -> None:
    """Write points in batches."""
    waiting: list[Point] = []
    for one in points:
        waiting.append(one)
        if len(waiting) == batch:
            backend.upsert(name, waiting)
            waiting = []
    if waiting:
        backend.upsert(name, waiting)
