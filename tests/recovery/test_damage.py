"""Damaged files: derived ones are built again, a damaged store refuses its collection alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.engine import builder, builds
from app.errors import CorruptFile, LikewiseError, StoredDataError
from app.planner.costs import Costs
from app.segments.covers import Covers
from app.segments.segment import Segment
from app.storage.database import connect
from app.types import Metric, Projection, VectorField
from tests.builders import (
    definition,
    everything,
    point,
    random_points,
    search,
    settle,
    upsert_all,
    where,
)

COUNT = 400
FIELD = VectorField("default", 4, Metric.COSINE)
CHEAP = Costs(code_scan_fixed_ns=40, scan_fixed_ns=40, visits_fixed=1, visits_per_ef=0.5)
QUERIES = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)


def opened(folder: Path) -> LocalBackend:
    return LocalBackend(folder, sync=False, head_points=100, cover_share=50, costs=CHEAP)


def answers(backend: LocalBackend, name: str = "c") -> list[list[object]]:
    questions = [
        search(query, filter, k=20, exact=True)
        for query in QUERIES
        for filter in (None, where(group=4))
    ]
    return [[hit.record for hit in answer.hits] for answer in backend.search(name, questions)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[object]]]:
    """A closed data directory of a segment with covers, and what it answers."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "_IDLE_S", 0.0)
        patch.setattr(builder, "_TICK_S", 0.02)
        patch.setattr(builds, "WORTH_COVERS_NS", 1.0)
        backend = opened(folder)
        backend.create("c", definition(4, Metric.L2))
        upsert_all(backend, "c", random_points(COUNT, 4))
        settle(backend, "c")
        deadline = time.monotonic() + 30
        while not list(folder.glob("collections/*/segments/*.covers.?")):
            assert time.monotonic() < deadline, "no covers are built"
            for query in QUERIES:
                backend.search("c", [search(query, where(group=4), k=10)])
            time.sleep(0.02)
        settle(backend, "c")
        expected = answers(backend)
        backend.close()
    return folder, expected


def derived(folder: Path) -> tuple[Path, Path]:
    """The folders of the segment and of its covers."""
    covers, segment = sorted(folder.glob("collections/*/segments/*"), key=lambda f: -len(f.name))
    return segment, covers


Damage = Callable[[Path], None]


def _flip_at(share: float) -> Damage:
    def flip(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[min(int(share * len(raw)), len(raw) - 1)] ^= 0x40
        path.write_bytes(bytes(raw))

    return flip


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Damage] = {
    "first": _flip_at(0.0),
    "middle": _flip_at(0.5),
    "last": _flip_at(1.0),
    "truncated": _truncate,
    "emptied": _empty,
    "deleted": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_to_any_derived_file_is_noticed(
    whole: tuple[Path, list[list[object]]], tmp_path: Path, damage: str
) -> None:
    opens: tuple[Callable[[Path], object], ...] = (
        partial(Segment.open, fields=[FIELD]),
        partial(Covers.open, slots=COUNT),
    )
    for folder, open_ in zip(derived(whole[0]), opens, strict=True):
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        assert len(files) > 10
        for name in files:
            copy = tmp_path / folder.name
            shutil.copytree(folder, copy)
            open_(copy)
            DAMAGES[damage](copy / name)
            with pytest.raises(CorruptFile):
                open_(copy)
            shutil.rmtree(copy)


def test_files_of_equal_kind_that_change_places_are_noticed(
    whole: tuple[Path, list[list[object]]], tmp_path: Path
) -> None:
    segment, _ = derived(whole[0])
    swaps = [
        ("v0.graph.links.npy", "v0.codes.npy"),
        ("keys.order.npy", "rows.npy"),
        ("v0.graph.upper_node.npy", "v0.graph.upper_down.npy"),
    ]
    for one, other in swaps:
        copy = tmp_path / segment.name
        shutil.copytree(segment, copy)
        kept = (copy / one).read_bytes()
        assert kept != (copy / other).read_bytes()
        (copy / one).write_bytes((copy / other).read_bytes())
        (copy / other).write_bytes(kept)
        with pytest.raises(CorruptFile):
            Segment.open(copy, fields=[FIELD])
        shutil.rmtree(copy)


def test_a_whole_folder_in_the_place_of_another_is_noticed(
    whole: tuple[Path, list[list[object]]], tmp_path: Path
) -> None:
    """Every checksum in it is right; it is of another segment all the same."""
    segment, _ = derived(whole[0])
    shutil.copytree(segment, tmp_path / "0123")
    with pytest.raises(CorruptFile, match="another folder's"):
        Segment.open(tmp_path / "0123", fields=[FIELD])


@pytest.mark.parametrize("what", ["segment", "covers", "file for a folder"])
def test_a_damaged_collection_answers_at_once_says_so_and_is_well_again(
    whole: tuple[Path, list[list[object]]], tmp_path: Path, what: str
) -> None:
    source, expected = whole
    folder = tmp_path / "data"
    shutil.copytree(source, folder)
    segment, covers = derived(folder)
    if what == "segment":
        _flip_at(0.5)(segment / "v0.vectors.npy")
    elif what == "covers":
        _flip_at(0.5)(covers / "c0.links.npy")
    else:
        shutil.rmtree(segment)
        segment.write_bytes(b"not a folder")
    backend = opened(folder)
    assert answers(backend) == expected
    health = backend.health()
    if what != "covers":  # without covers, plans are others: nothing is to be waited for
        assert (health["status"], health["rebuilding"]) == ("degraded", ["c"])
        assert "rebuilt" in health["detail"]
        assert backend.describe("c").building
    settle(backend, "c")
    assert answers(backend) == expected
    assert backend.health()["status"] == "ok"
    assert backend.describe("c").segments[0] == {"kind": "graph", "points": COUNT, "deleted": 0}
    backend.close()


def test_files_deleted_under_a_running_service_harm_nobody_until_it_starts_again(
    whole: tuple[Path, list[list[object]]], tmp_path: Path
) -> None:
    source, expected = whole
    folder = tmp_path / "data"
    shutil.copytree(source, folder)
    backend = opened(folder)
    for path in derived(folder)[0].rglob("*.npy"):
        path.unlink()
    assert answers(backend) == expected
    backend.close()
    backend = opened(folder)
    assert answers(backend) == expected
    assert backend.health()["rebuilding"] == ["c"]
    backend.close()


# ── the store ────────────────────────────────────────────────────────────────────────────────


def stores(folder: Path) -> tuple[Path, Path]:
    """The databases of the collections "bad" and "good"."""
    catalog = connect(folder / "catalog.sqlite", "write")
    found = dict(catalog.execute("SELECT name, folder FROM collections").fetchall())
    catalog.close()
    bad, good = (folder / "collections" / found[name] / "store.sqlite" for name in ("bad", "good"))
    return bad, good


def _header(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[:100] = bytes(100)
    path.write_bytes(raw)


def _pages(path: Path) -> None:
    """Spoil every page but the first two, as a disk may spoil one."""
    raw = bytearray(path.read_bytes())
    for start in range(2 * 8192, len(raw), 8192):
        raw[start : start + 64] = b"\xff" * 64
    path.write_bytes(raw)


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [_header, _pages, _half, _empty, Path.unlink])
def test_a_damaged_store_refuses_its_collection_alone_and_can_be_dropped(
    tmp_path: Path, damage: Damage
) -> None:
    backend = opened(tmp_path)
    for name in ("bad", "good"):
        backend.create(name, definition())
        upsert_all(backend, name, random_points(90, 4))
    expected = answers(backend, "good")
    backend.close()
    damage(stores(tmp_path)[0])

    again = opened(tmp_path)
    with pytest.raises(StoredDataError):
        everything(again, "bad")
    with pytest.raises(StoredDataError):
        again.upsert("bad", [point("new", [0, 0, 0, 1])])
    health = again.health()
    assert health["status"] == "degraded"
    assert [*health["broken"], *health["damaged"]] == ["bad"]
    assert again.statistics().broken == 1
    assert "bad: " in health["detail"]
    assert "good" not in health["detail"]
    assert answers(again, "good") == expected
    again.upsert("good", [point("new", [0, 0, 0, 1])])
    again.drop("bad")
    assert again.health()["status"] == "ok"
    again.create("bad", definition())
    assert again.count("bad", None) == 0
    again.close()


def test_damage_found_while_running_ends_writing_and_is_told(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    backend.create("bad", definition())
    backend.create("good", definition())
    upsert_all(backend, "bad", random_points(90, 4))
    backend.close()
    backend = opened(tmp_path)
    path = stores(tmp_path)[0]
    with path.open("r+b") as file:  # in place: the database is open
        for start in range(2 * 8192, path.stat().st_size, 8192):
            file.seek(start)
            file.write(b"\xff" * 64)
    with pytest.raises(CorruptFile):
        backend.get("bad", list(range(90)), Projection(with_vectors=True))
    assert backend.health()["damaged"] == ["bad"]
    assert backend.statistics().broken == 1
    with pytest.raises(CorruptFile):
        backend.upsert("bad", [point("new", [0, 0, 0, 1])])
    with pytest.raises(CorruptFile):
        backend.delete("bad", Selection(ids=(1,)))
    assert backend.count("bad", None) == 90  # what needs no damaged page goes on
    backend.upsert("good", [point("new", [0, 0, 0, 1])])
    backend.drop("bad")
    assert backend.health()["status"] == "ok"
    backend.close()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_damaged_log_gives_a_state_that_there_was(tmp_path: Path, share: float) -> None:
    """SQLite reads its log up to the first damage: later writes are gone, none is half there."""
    live = opened(tmp_path / "live")
    live.create("c", definition())
    for round_ in range(40):
        live.upsert("c", [point(n, [round_, n, 1, 0], round=round_) for n in range(10)])
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "live", copy)  # with its log: as a crash leaves it
    live.close()
    (log,) = copy.glob("collections/*/store.sqlite-wal")
    assert log.stat().st_size > 100_000
    _flip_at(share)(log)
    backend = opened(copy)
    points = everything(backend, "c")
    assert len(points) in (0, 10)
    assert len({attributes["round"] for attributes in points.values()}) <= 1
    backend.close()


def test_attributes_that_are_no_json_are_damage(tmp_path: Path) -> None:
    """SQLite has no checksums: what is wrong inside a value shows when the value is read."""
    backend = opened(tmp_path)
    backend.create("bad", definition())
    backend.create("good", definition())
    upsert_all(backend, "bad", random_points(3, 4))
    store = connect(stores(tmp_path)[0], "write")
    store.execute("UPDATE points SET attributes = X'7B22' WHERE row = 2")
    store.close()
    with pytest.raises(CorruptFile):
        backend.get("bad", [0, 1, 2], Projection(fields=frozenset({"group"})))
    backend.close()


@pytest.mark.parametrize("damage", [_header, _pages, _half])
def test_a_damaged_catalog_is_refused_in_words(tmp_path: Path, damage: Damage) -> None:
    backend = opened(tmp_path)
    for number in range(30):
        backend.create(f"c{number}", definition())
    backend.close()
    damage(tmp_path / "catalog.sqlite")
    with pytest.raises(LikewiseError, match=r"catalog"):
        opened(tmp_path)


# ── folders between the files and the catalog ────────────────────────────────────────────────


def test_a_folder_whose_creation_or_drop_a_crash_cut_off_is_swept(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    backend.create("c", definition())
    backend.close()
    (folder,) = (tmp_path / "collections").iterdir()
    for name, marked in (("cut-off", True), ("strange", False)):
        shutil.copytree(folder, folder.with_name(name))
        if marked:
            (folder.with_name(name) / "unlisted").touch()
    (folder / "unlisted").touch()  # the crash came before the drop was listed
    backend = opened(tmp_path)
    assert backend.count("c", None) == 0
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, "strange"}
    assert not (folder / "unlisted").exists()
    backend.close()
