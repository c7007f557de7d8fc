"""Snapshots of the embedded engine: what they hold, and what a restored collection is."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.engine.collection import Collection
from app.errors import (
    CollectionExists,
    CollectionNotFound,
    CorruptFile,
    InvalidSnapshot,
    SchemaViolation,
    SnapshotExists,
    SnapshotNotFound,
    StorageFull,
)
from app.types import IndexSettings, Projection
from tests.builders import definition, everything, point, search, settle, where

from .making import DEFINITION, POINTS, content, filled, members, opened, receive, whole


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    one = opened(tmp_path)
    filled(one)
    yield one
    one.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_restored_collection_equals_the_one_it_was_taken_of(backend: LocalBackend) -> None:
    settle(backend, "c")
    taken = backend.snapshots.take("c", "s")
    info = backend.snapshots.restore("s", "d", replace=False)
    assert (taken.collection, taken.points, info.points) == ("c", len(POINTS), len(POINTS))
    assert info.definition == backend.definition("c") == DEFINITION
    assert list(info.definition.vectors) == ["title", "own"]
    assert whole(backend, "d") == whole(backend, "c")
    assert len(whole(backend, "d")) == len(POINTS)
    assert backend.all_kept("d") == backend.all_kept("c")
    kept = backend.kept("d", "kind", "kept")
    assert kept is not None
    assert kept.body == b"kept" * 3
    assert backend.keep("d", "kind", "more", b"").revision > kept.info.revision
    for name in ("c", "d"):
        settle(backend, name)
        (answer,) = backend.search(
            name, [search([1, 5, 0.5], where(year={"$gte": 1905}))._replace(using="title")]
        )
        assert [hit.record.id for hit in answer.hits][:2] == [101, 102]


def test_a_restored_collection_takes_writes_and_keeps_its_schema(backend: LocalBackend) -> None:
    backend.delete("c", Selection(ids=(139,)))  # the newest row is gone, and its number is not
    backend.snapshots.take("c", "s")
    backend.snapshots.restore("s", "d", replace=False)
    wrong = POINTS[0].__class__("x", {}, {"year": "1975"})
    with pytest.raises(SchemaViolation):
        backend.upsert("d", [wrong])
    backend.upsert("d", [POINTS[0].__class__("x", POINTS[1].vectors, {"year": 1})])
    assert backend.count("d", where(year=1)) == 1
    assert backend.count("c", where(year=1)) == 0


def test_a_restored_collection_is_there_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    filled(first)
    first.snapshots.take("c", "s")
    first.snapshots.restore("s", "d", replace=False)
    expected = whole(first, "c")
    first.close()
    again = opened(tmp_path)
    assert whole(again, "d") == expected
    assert [info.name for info in again.snapshots.describe_all()] == ["s"]
    again.close()


def test_an_empty_collection_can_be_taken_and_restored(backend: LocalBackend) -> None:
    backend.create("empty", definition())
    assert backend.snapshots.take("empty", "e").points == 0
    assert backend.snapshots.restore("e", "other", replace=False).points == 0
    assert backend.upsert("other", [point(1, [1, 2, 3, 4])]) == 1


def test_a_snapshot_holds_what_was_there_and_nothing_deleted(backend: LocalBackend) -> None:
    backend.upsert("c", [POINTS[0].__class__("secret", {}, {"note": "do not keep me"})])
    backend.delete("c", Selection(ids=("secret",)))
    backend.snapshots.take("c", "s")
    assert b"do not keep me" not in content(backend, "s")


def test_a_snapshot_is_a_tar_that_says_what_it_is(backend: LocalBackend) -> None:
    info = backend.snapshots.take("c", "s")
    octets = content(backend, "s")
    manifest, store = members(octets)
    assert hashlib.sha256(octets).hexdigest() == info.sha256
    assert (info.size, info.created_at) == (len(octets), manifest["created_at"])
    assert manifest["format"] == 1
    assert manifest["members"]["store.sqlite"] == {
        "size": len(store),
        "sha256": hashlib.sha256(store).hexdigest(),
    }
    assert store.startswith(b"SQLite format 3\0")
    assert store[18:20] == b"\x01\x01", "a database without a log beside it"


def test_a_snapshot_outlives_what_it_was_taken_of(backend: LocalBackend) -> None:
    expected = whole(backend, "c")
    backend.snapshots.take("c", "s")
    backend.drop("c")
    assert backend.snapshots.restore("s", "c", replace=False).points == len(POINTS)
    assert whole(backend, "c") == expected


def test_a_copied_file_is_kept_under_another_name(backend: LocalBackend) -> None:
    first = backend.snapshots.take("c", "s")
    again = receive(backend, "t", content(backend, "s"), first.sha256)
    assert (again.sha256, again.collection, again.size) == (first.sha256, "c", first.size)
    assert [info.name for info in backend.snapshots.describe_all()] == ["s", "t"]
    backend.snapshots.drop("s")
    assert [info.name for info in backend.snapshots.describe_all()] == ["t"]
    assert backend.snapshots.restore("t", "d", replace=False).points == len(POINTS)


def test_names_are_taken_once_and_unknown_ones_are_not_found(backend: LocalBackend) -> None:
    snapshots = backend.snapshots
    snapshots.take("c", "s")
    octets = content(backend, "s")
    for again in (lambda: snapshots.take("c", "s"), lambda: receive(backend, "s", octets)):
        with pytest.raises(SnapshotExists):
            again()
    with pytest.raises(CollectionNotFound):
        snapshots.take("x", "t")
    for unknown in ("t", "s.t"):
        with pytest.raises(SnapshotNotFound):
            snapshots.describe(unknown)
        with pytest.raises(SnapshotNotFound):
            snapshots.drop(unknown)
        with pytest.raises(SnapshotNotFound):
            snapshots.open(unknown)
        with pytest.raises(SnapshotNotFound):
            snapshots.restore(unknown, "d", replace=False)


def test_a_snapshot_that_is_sent_can_be_dropped_meanwhile(backend: LocalBackend) -> None:
    info = backend.snapshots.take("c", "s")
    _, file = backend.snapshots.open("s")
    backend.snapshots.drop("s")
    with file:
        assert hashlib.sha256(file.read()).hexdigest() == info.sha256


# ── replacing ────────────────────────────────────────────────────────────────────────────────


def test_a_collection_is_replaced_only_when_told_so(tmp_path: Path, backend: LocalBackend) -> None:
    backend.snapshots.take("c", "s")
    expected = whole(backend, "c")
    backend.delete("c", Selection(filter=where()))
    with pytest.raises(CollectionExists):
        backend.snapshots.restore("s", "c", replace=False)
    assert backend.count("c", None) == 0
    backend.snapshots.restore("s", "c", replace=True)
    assert whole(backend, "c") == expected
    assert len(names(tmp_path / "collections")) == 1, "the old folder is gone"


def test_a_collection_that_cannot_be_opened_is_replaced(tmp_path: Path) -> None:
    first = opened(tmp_path)
    filled(first)
    first.snapshots.take("c", "s")
    expected = whole(first, "c")
    first.close()
    (store,) = (tmp_path / "collections").glob("*/store.sqlite")
    store.write_bytes(b"no database" * 1000)
    again = opened(tmp_path)
    with pytest.raises(CorruptFile):
        again.count("c", None)
    with pytest.raises(CollectionExists):
        again.snapshots.restore("s", "c", replace=False)
    again.snapshots.restore("s", "c", replace=True)
    assert whole(again, "c") == expected
    assert again.health()["status"] == "ok"
    again.close()


def test_readers_and_writers_of_a_replaced_collection_never_miss_it(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    backend.create("c", definition())
    backend.upsert("c", [point(n, [n, 1, 0, 0], version=0) for n in range(20)])
    backend.snapshots.take("c", "s")
    over, wrong, calls = threading.Event(), [], [0] * 4
    kinds = [
        lambda: len(backend.search("c", [search([1, 0, 0, 0], k=20)])[0].hits),
        lambda: len((backend.search_now("c", [search([1, 0, 0, 0], k=20)]) or [])[0].hits),
        lambda: len(backend.get("c", list(range(20)), Projection())),
        lambda: backend.upsert("c", [point(n, [n, 1, 0, 0], version=0) for n in range(20)]),
    ]

    def ask(kind: int) -> None:
        while not over.is_set():
            try:
                found = kinds[kind]()
                calls[kind] += 1
                if found != 20:
                    wrong.append(found)
            except IndexError:  # `search_now` may give up
                continue
            except Exception as exc:
                wrong.append(exc)

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in range(len(kinds))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            backend.snapshots.restore("s", "c", replace=True)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(calls) > 0
    backend.close()
    assert len(names(tmp_path / "collections")) == 1


CALLS: dict[str, Callable[[LocalBackend], object]] = {
    "upsert": lambda backend: backend.upsert("c", POINTS),
    "patch": lambda backend: backend.patch("c", Selection(filter=where()), set_={}, unset=["a"]),
    "count": lambda backend: backend.count("c", None),
    "get": lambda backend: len(backend.get("c", [one.id for one in POINTS], Projection())),
    "scroll": lambda backend: len(whole(backend, "c")),
    "search": lambda backend: backend.search("c", [QUESTION])[0].matches,
    "search_now": lambda backend: (backend.search_now("c", [QUESTION]) or [])[0].matches,
    "delete": lambda backend: backend.delete("c", Selection(filter=where())),
    "alter": lambda backend: backend.alter("c", schema={"n": "integer"}, index=None).points,
}
QUESTION = search([1, 5, 0.5])._replace(using="title")


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_comes_too_late_for_the_old_collection_is_done_on_the_new_one(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    backend.snapshots.take("c", "s")
    find = backend._collection
    found = []

    def replaced_in_between(name: str, mark: str | None = None) -> Collection:
        collection = find(name, mark)
        found.append(collection)
        if len(found) == 1:
            backend.snapshots.restore("s", "c", replace=True)
        return collection

    monkeypatch.setattr(backend, "_collection", replaced_in_between)
    assert CALLS[call](backend) == len(POINTS)
    assert found[0] is not found[1]


# ── while writers write ──────────────────────────────────────────────────────────────────────


def test_every_snapshot_is_a_state_that_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call writes 20 points that all carry its round, another adds one point a round."""
    monkeypatch.setattr("app.storage.store_copy._ROWS", 5)  # many statements, as for large ones
    backend = opened(tmp_path, head_points=60)
    backend.create("c", definition())
    over = threading.Event()
    failed: list[Exception] = []
    written = 0

    def write() -> None:
        nonlocal written
        try:
            while not over.is_set():
                number = written + 1
                twenty = [point(n, [n, 1, 0, 0], round=number) for n in range(20)]
                backend.upsert("c", twenty)
                backend.upsert("c", [point(f"r{number}", [0, 0, 0, 1])])
                written = number
        except Exception as exc:
            failed.append(exc)

    writer = threading.Thread(target=write)
    writer.start()
    while written == 0:
        assert writer.is_alive(), failed
    bounds = []
    try:
        for number in range(12):
            before = written
            backend.snapshots.take("c", f"s{number}")
            bounds.append((before, written + 1))
    finally:
        over.set()
        writer.join()
    assert failed == []
    for number, (least, most) in enumerate(bounds):
        backend.snapshots.restore(f"s{number}", "d", replace=True)
        points = everything(backend, "d")
        rounds = {points[n]["round"] for n in range(20)}
        assert len(rounds) == 1, "half of a write"
        (last,) = rounds
        assert isinstance(last, int)
        added = {f"r{n}" for n in range(1, last + 1)}
        assert set(points) - set(range(20)) in (added, added - {f"r{last}"})
        assert least <= last <= most
    assert bounds[0][0] < bounds[-1][1], "the writer did go on"
    backend.close()


def test_definition_and_points_of_a_snapshot_agree(tmp_path: Path) -> None:
    """While a field is declared and forgotten, and written to as it then may be."""
    backend = opened(tmp_path)
    backend.create("c", definition())
    over = threading.Event()
    failed: list[Exception] = []

    def alter() -> None:
        m = 4
        try:
            while not over.is_set():
                m = 4 + (m + 1) % 100
                index = IndexSettings(m, 200)

                def change(_: IndexSettings, index: IndexSettings = index) -> IndexSettings:
                    return index

                backend.upsert("c", [point(1, [1, 0, 0, 0], year=1)])
                backend.alter("c", schema={"year": "integer"}, index=change)
                backend.alter("c", schema={"year": None}, index=None)
                backend.upsert("c", [point(1, [1, 0, 0, 0], year="one")])
        except Exception as exc:
            failed.append(exc)

    thread = threading.Thread(target=alter)
    thread.start()
    schemas = set()
    try:
        for number in range(25):
            backend.snapshots.take("c", f"s{number}")
            # It would be refused if the points contradicted the schema.
            info = backend.snapshots.restore(f"s{number}", "d", replace=True)
            schemas.add(tuple(info.definition.schema))
    finally:
        over.set()
        thread.join()
    assert failed == []
    assert schemas == {(), ("year",)}
    backend.close()


# ── nothing is left behind ───────────────────────────────────────────────────────────────────


def test_a_start_removes_what_was_not_finished(tmp_path: Path) -> None:
    first = opened(tmp_path)
    filled(first)
    first.snapshots.take("c", "s")
    expected = whole(first, "c")
    first.close()
    kept = names(tmp_path / "snapshots"), names(tmp_path / "collections")
    room = tmp_path / "snapshots" / "0123.tmp"
    room.mkdir()
    (room / "store.sqlite").write_bytes(b"half")
    # A crash just before the catalog would have listed a restored collection …
    unlisted = tmp_path / "collections" / "4567"
    unlisted.mkdir()
    (unlisted / "unlisted").touch()
    # … and one just after, with the folder that it replaced still there.
    (listed,) = kept[1]
    (tmp_path / "collections" / "89ab").mkdir()
    (tmp_path / "collections" / "89ab" / "store.sqlite").write_bytes(b"old")
    (tmp_path / "collections" / "89ab" / "unlisted").touch()
    (tmp_path / "collections" / listed / "unlisted").touch()
    for _ in range(2):
        again = opened(tmp_path)
        assert whole(again, "c") == expected
        again.close()
        assert (names(tmp_path / "snapshots"), names(tmp_path / "collections")) == kept
    assert not (tmp_path / "collections" / listed / "unlisted").exists()


def test_without_room_nothing_is_begun_and_nothing_is_left(
    tmp_path: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.snapshots.take("c", "s")
    octets = content(backend, "s")
    before = names(tmp_path / "snapshots"), names(tmp_path / "collections")
    monkeypatch.setattr("app.engine.snapshots._LEFT_FREE", 1 << 60)
    for call in (
        lambda: backend.snapshots.take("c", "t"),
        lambda: backend.snapshots.receive(len(octets)),
        lambda: backend.snapshots.restore("s", "d", replace=False),
    ):
        with pytest.raises(StorageFull):
            call()
    assert (names(tmp_path / "snapshots"), names(tmp_path / "collections")) == before
    assert backend.count("c", None) == len(POINTS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes, where this system lets a test have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_on_the_way_loses_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the look ahead switched off, and the disk full at one step after the other."""
    monkeypatch.setattr("app.engine.snapshots._LEFT_FREE", -(1 << 40))
    backend = opened(small_disk, head_points=10**6)
    backend.create("c", definition())
    text = "x" * 1000
    backend.upsert("c", [point(n, [n, 1, 0, 0], text) for n in range(1000)])
    taken = backend.snapshots.take("c", "s")
    octets = content(backend, "s")
    kept = names(small_disk / "snapshots"), names(small_disk / "collections")
    filler = small_disk / "filler"
    refused = 0
    for left in (0, 50_000, taken.size // 2, taken.size, taken.size * 3 // 2):
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(free - left))
        for call, undo in (
            (lambda: backend.snapshots.take("c", "t"), lambda: backend.snapshots.drop("t")),
            (lambda: receive(backend, "t", octets), lambda: backend.snapshots.drop("t")),
            (
                lambda: backend.snapshots.restore("s", "d", replace=False),
                lambda: backend.drop("d"),
            ),
        ):
            try:
                call()
                undo()
            except StorageFull:
                refused += 1
            assert (names(small_disk / "snapshots"), names(small_disk / "collections")) == kept
            assert backend.count("c", None) == 1000
        filler.unlink()
    assert refused >= 12
    backend.snapshots.restore("s", "d", replace=False)
    assert whole(backend, "d") == whole(backend, "c")
    backend.close()


def test_a_sender_that_leaves_leaves_nothing(tmp_path: Path, backend: LocalBackend) -> None:
    incoming = backend.snapshots.receive(None)
    incoming.write(b"some bytes")
    incoming.discard()
    incoming.discard()
    assert names(tmp_path / "snapshots") == set()


def test_another_checksum_than_announced_is_refused(tmp_path: Path, backend: LocalBackend) -> None:
    backend.snapshots.take("c", "s")
    with pytest.raises(InvalidSnapshot, match="announced"):
        receive(backend, "t", content(backend, "s"), "0" * 64)
    assert len(names(tmp_path / "snapshots")) == 1


def test_a_snapshot_that_comes_and_goes_is_there_or_is_not(backend: LocalBackend) -> None:
    backend.snapshots.take("c", "kept")
    octets = content(backend, "kept")
    over = threading.Event()
    wrong: list[BaseException] = []

    def again_and_again(work: Callable[[], object], *expected: type[Exception]) -> None:
        while not over.is_set():
            try:
                work()
            except expected:
                pass
            except BaseException as error:
                wrong.append(error)
                return

    kept = backend.snapshots
    threads = [
        threading.Thread(target=again_and_again, args=work)
        for work in (
            (lambda: receive(backend, "s", octets), SnapshotExists),
            (lambda: kept.drop("s"), SnapshotNotFound),
            (lambda: kept.drop("s"), SnapshotNotFound),
            (lambda: kept.describe("s"), SnapshotNotFound),
            (lambda: kept.describe("s"), SnapshotNotFound),
            (lambda: kept.open("s")[1].close(), SnapshotNotFound),
            (lambda: kept.restore("s", "r", replace=True), SnapshotNotFound),
        )
    ]
    for thread in threads:
        thread.start()
    over.wait(1.0)
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not [name for name in names(kept._folder) if name.endswith(".tmp")]
