"""Derived files can be lost or damaged: answers stay exact, and segments come back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.backends.local import LocalBackend
from app.engine import builder
from app.errors import CorruptFile, DirectoryInUse, IncompatibleFormat
from app.types import Metric
from tests.builders import definition, random_points, search, settle, upsert_all, where

COUNT = 400
QUERIES = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)


def opened(folder: Path) -> LocalBackend:
    return LocalBackend(folder, sync=False, head_points=100)


def answers(backend: LocalBackend) -> list[list[object]]:
    questions = [
        search(query, filter, k=20, exact=True)
        for query in QUERIES
        for filter in (None, where(group={"$gt": 4}))
    ]
    return [[hit.record for hit in answer.hits] for answer in backend.search("c", questions)]


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, list[list[object]]]:
    """A closed data directory with one graph segment, and what it answers."""
    backend = opened(tmp_path)
    backend.create("c", definition(4, Metric.L2))
    upsert_all(backend, "c", random_points(COUNT, 4))
    settle(backend, "c")
    expected = answers(backend)
    backend.close()
    return tmp_path, expected


def segment(folder: Path) -> Path:
    (found,) = folder.glob("collections/*/segments/*")
    return found


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x40
    path.write_bytes(bytes(raw))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


NAMES = [
    "segment.json", "rows.npy", "keys.blob.npy", "keys.order.npy", "v0.vectors.npy",
    "v0.graph.links.npy", "v0.graph.upper_links.npy",
]  # fmt: skip


def test_an_undamaged_segment_is_opened_not_rebuilt(
    filled: tuple[Path, list[list[object]]],
) -> None:
    folder, expected = filled
    before = segment(folder)
    backend = opened(folder)
    assert backend.describe("c").segments[0] == {"kind": "graph", "points": COUNT, "deleted": 0}
    assert answers(backend) == expected
    backend.close()
    assert segment(folder) == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, flip) for name in NAMES]
    + [(NAMES[number], damage) for number in (0, 4) for damage in (truncate, Path.unlink)],
)
def test_a_damaged_file_is_noticed_and_its_segment_rebuilt(
    filled: tuple[Path, list[list[object]]], name: str, damage: Callable[[Path], None]
) -> None:
    folder, expected = filled
    before = segment(folder)
    damage(before / name)
    backend = opened(folder)
    assert answers(backend) == expected
    settle(backend, "c")
    assert answers(backend) == expected
    assert backend.describe("c").segments[0] == {"kind": "graph", "points": COUNT, "deleted": 0}
    backend.close()
    assert segment(folder).name != before.name


def test_every_attribute_file_is_covered_by_the_checksums(
    filled: tuple[Path, list[list[object]]],
) -> None:
    folder, expected = filled
    for path in sorted((segment(folder) / "attributes").iterdir()):
        flip(path)
        backend = opened(folder)
        assert answers(backend) == expected, path.name
        settle(backend, "c")
        backend.close()


def test_all_segments_may_be_deleted(filled: tuple[Path, list[list[object]]]) -> None:
    folder, expected = filled
    shutil.rmtree(segment(folder))
    backend = opened(folder)
    assert answers(backend) == expected
    backend.close()


def test_rubbish_of_a_crashed_build_is_swept(filled: tuple[Path, list[list[object]]]) -> None:
    folder, expected = filled
    rubbish = segment(folder).with_name("0123.tmp")
    rubbish.mkdir()
    (rubbish / "rows.npy").write_bytes(b"half")
    backend = opened(folder)
    assert not rubbish.exists()
    assert answers(backend) == expected
    backend.close()


def test_a_damaged_store_refuses_its_collection_and_leaves_the_others(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    for name in ("bad", "good"):
        backend.create(name, definition())
        upsert_all(backend, name, random_points(50, 4))
    backend.close()
    store = next(tmp_path.glob("collections/*/store.sqlite"))
    store.write_bytes(b"this is not a database" * 100)
    for extra in store.parent.glob("store.sqlite-*"):
        extra.unlink()
    again = opened(tmp_path)
    broken = [name for name in ("bad", "good") if name in again._broken]
    assert len(broken) == 1
    (whole,) = {"bad", "good"} - set(broken)
    assert again.count(whole, None) == 50
    with pytest.raises(CorruptFile):
        again.count(broken[0], None)
    assert again.health()["status"] == "degraded"
    again.drop(broken[0])
    assert again.health()["status"] == "ok"
    again.close()


def test_a_missing_catalog_is_not_taken_for_an_empty_directory(
    filled: tuple[Path, list[list[object]]],
) -> None:
    folder, expected = filled
    catalog = folder / "catalog.sqlite"
    kept = catalog.read_bytes()
    catalog.unlink()
    for _ in range(2):
        with pytest.raises(CorruptFile, match="catalog is missing"):
            opened(folder)
    catalog.write_bytes(kept)
    backend = opened(folder)
    assert answers(backend) == expected
    backend.close()


@pytest.mark.parametrize("missing", ["store.sqlite", "."])
def test_a_missing_store_refuses_its_collection_alone(tmp_path: Path, missing: str) -> None:
    backend = opened(tmp_path)
    backend.create("bad", definition())
    (folder,) = (tmp_path / "collections").iterdir()
    backend.create("good", definition())
    backend.close()
    shutil.rmtree(folder) if missing == "." else (folder / missing).unlink()
    again = opened(tmp_path)
    with pytest.raises(CorruptFile):
        again.count("bad", None)
    assert again.count("good", None) == 0
    again.close()


def test_a_folder_of_no_collection_is_left_alone(tmp_path: Path) -> None:
    stray = tmp_path / "collections" / "0123456789abcdef"
    stray.mkdir(parents=True)
    with pytest.raises(CorruptFile):  # there is no catalog that could tell whose it is
        opened(tmp_path)
    assert stray.exists()
    stray.rmdir()
    opened(tmp_path).close()
    stray.mkdir()
    opened(tmp_path).close()
    assert stray.exists()


def test_a_base_damaged_after_opening_is_rebuilt_from_the_store(
    filled: tuple[Path, list[list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_FIRST_PAUSE_S", 0.01)
    folder, _ = filled
    backend = opened(folder)
    flip(segment(folder) / "v0.graph.links.npy")
    upsert_all(backend, "c", random_points(COUNT + 150, 4))
    settle(backend, "c")
    assert backend.count("c", None) == COUNT + 150
    graph, _ = backend.describe("c").segments
    assert graph == {"kind": "graph", "points": COUNT + 150, "deleted": 0}
    backend.close()


def test_a_directory_serves_one_process_at_a_time(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    with pytest.raises(DirectoryInUse):
        opened(tmp_path)
    backend.close()
    opened(tmp_path).close()


def test_a_directory_of_another_format_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    from app.storage.database import connect

    connection = connect(tmp_path / "catalog.sqlite", "write")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IncompatibleFormat):
        opened(tmp_path)
