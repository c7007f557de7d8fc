"""Readers beside writers and builds: each answer is one consistent state."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from app.backends.base import Search, Selection
from app.backends.local import LocalBackend
from app.engine import builder
from app.engine.parts import Effect, Parts
from app.errors import CollectionNotFound, LikewiseError, PointNotFound, StorageFull
from app.storage.store import Writer
from app.types import Definition, Metric, Point, Projection, VectorField
from tests.builders import (
    definition,
    found_ids,
    point,
    random_points,
    search,
    settle,
    upsert_all,
    where,
)


def test_no_reader_sees_a_torn_write(tmp_path: Path) -> None:
    """Each write moves all twenty points to a new round; no answer may mix two rounds."""
    backend = LocalBackend(tmp_path, sync=False, head_points=100)
    backend.create("c", definition())
    backend.upsert("c", [point(n, [0, n, 1, 0], round=0) for n in range(20)])
    done = threading.Event()
    faults: list[str] = []
    read = [0]

    def reader() -> None:
        while not done.is_set():
            answer, counted = backend.search("c", [search([0, 1, 0, 0], k=20)] * 2)
            rounds = {hit.record.attributes["round"] for hit in answer.hits + counted.hits}
            if len(answer.hits) != 20 or len(rounds) != 1:
                faults.append(f"{len(answer.hits)} hits of rounds {rounds}")
            if backend.count("c", where(round={"$gte": 0})) != 20:
                faults.append("a count saw half a write")
            read[0] += 1

    backend.search("c", [search([0, 1, 0, 0])])  # loads, or compiles, the kernels
    readers = [threading.Thread(target=reader) for _ in range(3)]
    for thread in readers:
        thread.start()
    for round_ in range(1, 150):
        backend.upsert("c", [point(n, [0, n, 1, 0], round=round_) for n in range(20)])
    done.set()
    for thread in readers:
        thread.join()
    settle(backend, "c")
    assert faults == []
    assert read[0] > 10
    assert backend.count("c", where(round=149)) == 20
    backend.close()


def test_writers_of_one_collection_do_not_lose_each_others_points(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False, head_points=200)
    backend.create("c", definition())
    failed: list[BaseException] = []

    def writer(number: int) -> None:
        try:
            for n in range(50):
                backend.upsert("c", [point(f"{number}-{n}", [number, n, 0, 1], writer=number)])
                if n % 10 == 9:
                    backend.delete("c", Selection(ids=(f"{number}-{n}",)))
                    backend.patch(
                        "c", Selection(filter=where(writer=number)), set_={"at": n}, unset=[]
                    )
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(backend, "c")
    assert failed == []
    assert backend.count("c", None) == 6 * 45
    for number in range(6):
        assert backend.count("c", where(writer=number, at=49)) == 45
    backend.close()


def test_a_group_with_one_bad_write_fails_only_that_one(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False)
    backend.create("c", definition())
    collection = backend._open["c"]

    def explode(writer: object) -> None:
        raise LikewiseError("refused")

    outcomes: list[object] = []

    def call(work: object) -> None:
        try:
            outcomes.append(work())  # type: ignore[operator]
        except LikewiseError as exc:
            outcomes.append(str(exc))

    with collection._write_lock:  # so that all three meet in one group
        threads = [
            threading.Thread(target=call, args=(work,))
            for work in (
                lambda: backend.upsert("c", [point(1, [1, 0, 0, 0])]),
                lambda: collection._commits.write(explode),
                lambda: backend.upsert("c", [point(2, [1, 0, 0, 0])]),
            )
        ]
        for thread in threads:
            thread.start()
        while len(collection._commits._queue) < 3:
            pass
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["1", "1", "refused"]
    assert backend.count("c", None) == 2
    backend.close()


def test_dropping_while_reading_ends_in_not_found_and_nothing_else(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False, head_points=500)
    backend.create("c", definition(8))
    upsert_all(backend, "c", random_points(1500, 8))
    ends: list[BaseException] = []

    def reader() -> None:
        try:
            while True:
                backend.search("c", [search([1] * 8)])
        except BaseException as exc:
            ends.append(exc)

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for thread in threads:
        thread.start()
    backend.drop("c")
    for thread in threads:
        thread.join()
    assert [type(exc) for exc in ends] == [CollectionNotFound] * 4
    assert list((tmp_path / "collections").iterdir()) == []
    backend.close()


def test_the_vectors_of_a_record_belong_together(tmp_path: Path) -> None:
    """Both vectors of a point are rewritten at once; no answer may lack one or mix versions."""
    backend = LocalBackend(tmp_path, sync=False, head_points=50)
    fields = {name: VectorField(name, 2, Metric.L2) for name in ("a", "b")}
    backend.create("c", Definition(fields))
    done = threading.Event()
    faults: list[object] = []

    def write(round_: int) -> None:
        vector = np.array([round_, 1], dtype=np.float32)
        backend.upsert("c", [Point(n, {"a": vector, "b": vector}, {}) for n in range(5)])

    def reader() -> None:
        question = Search(np.zeros(2, np.float32), "a", projection=Projection(with_vectors=True))
        while not done.is_set():
            for hit in backend.search("c", [question])[0].hits:
                vectors = hit.record.vectors or {}
                if len(vectors) != 2 or vectors["a"][0] != vectors["b"][0]:
                    faults.append(vectors)

    write(0)
    readers = [threading.Thread(target=reader) for _ in range(3)]
    for thread in readers:
        thread.start()
    for round_ in range(1, 200):
        write(round_)
    done.set()
    for thread in readers:
        thread.join()
    backend.close()
    assert faults == []


def test_a_store_that_fails_during_a_build_loses_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(tmp_path, sync=False, head_points=50)
    backend.create("c", definition())
    failures = iter([True, True])
    replace = Writer.replace_segments

    def failing(self: Writer, old: Sequence[str], new: Sequence[str]) -> None:
        if next(failures, False):
            raise StorageFull("no room for the test")
        replace(self, old, new)

    monkeypatch.setattr(Writer, "replace_segments", failing)
    monkeypatch.setattr(builder, "_FIRST_PAUSE_S", 0.01)
    upsert_all(backend, "c", random_points(60, 4))
    backend.upsert("c", [point("more", [9, 9, 9, 9])])
    settle(backend, "c")
    assert next(failures, None) is None, "the builds met both failures"
    assert backend.count("c", None) == 61
    assert [part["kind"] for part in backend.describe("c").segments] == ["graph", "head"]
    backend.delete("c", Selection(filter=where(n={"$exists": True})))
    backend.delete("c", Selection(ids=("more",)))
    settle(backend, "c")
    assert backend.count("c", None) == 0
    backend.upsert("c", [point("new", [1, 1, 1, 1])])
    assert backend.count("c", None) == 1
    backend.close()
    folders = list((tmp_path / "collections").glob("*/segments/*"))
    assert len(folders) <= 1


def test_after_a_failed_publication_nothing_is_missing_and_builds_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write is durable by then: readers and builds must both see the store drawn again."""
    backend = LocalBackend(tmp_path, sync=False, head_points=50)
    backend.create("c", definition())
    backend.upsert("c", [point("first", [1, 0, 0, 0])])
    failures = iter([True])
    publish = Parts.publish

    def failing(self: Parts, effects: Sequence[Effect]) -> None:
        if next(failures, False):
            raise MemoryError("for the test")
        publish(self, effects)

    monkeypatch.setattr(Parts, "publish", failing)
    assert backend.upsert("c", [point("second", [2, 0, 0, 0])]) == 1
    assert found_ids(backend, "c", search([1, 0, 0, 0])) == ["second", "first"]
    upsert_all(backend, "c", random_points(60, 4))
    settle(backend, "c")
    assert backend.describe("c").segments == [
        {"kind": "graph", "points": 62, "deleted": 0},
        {"kind": "head", "points": 0, "deleted": 0},
    ]
    assert backend.count("c", None) == 62
    backend.close()


def test_a_write_is_seen_by_every_kind_of_read_or_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between commit and publication it is in the store already: no read may tell of it yet."""
    backend = LocalBackend(tmp_path, sync=False)
    backend.create("c", definition())
    backend.upsert("c", [point("old", [1, 0, 0, 0])])
    publish = Parts.publish

    def visible() -> list[int]:
        whole = Projection(with_vectors=True)
        return [
            backend.count("c", None),
            len(backend.get("c", ["old", "new"], whole)),
            len(backend.scroll("c", filter=None, limit=9, after=None, projection=whole).records),
            len(found_ids(backend, "c", search([1, 0, 0, 0]))),
            backend.describe("c").points,
        ]

    def watched(self: Parts, effects: Sequence[Effect]) -> None:
        assert visible() == [1] * 5
        with pytest.raises(PointNotFound):
            backend.search("c", [Search("new", "v")])
        publish(self, effects)

    monkeypatch.setattr(Parts, "publish", watched)
    backend.upsert("c", [point("new", [2, 0, 0, 0])])
    assert visible() == [2] * 5
    backend.close()
