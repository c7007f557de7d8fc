"""The short run: a few kills at random and at some points. `make crash-test` is the long one.

Reproduce a failure with the seed that it tells: `python -m tests.crash --seed N`.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.local import LocalBackend
from app.storage.write_points import WritePoint, observe, reached
from tests.builders import definition
from tests.crash.rounds import crash

ROOT = Path(__file__).parents[2]

SHORT = [WritePoint.STORE_COMMITTED, WritePoint.DROP_UNLISTED, WritePoint.SEGMENTS_REPLACED]


@pytest.mark.skipif(sys.platform != "linux", reason="the harness knows Linux's processes only")
def test_nothing_acknowledged_is_lost_and_nothing_is_torn(tmp_path: Path) -> None:
    report = crash(tmp_path, seed=7, kills=2, points=SHORT, builds=0, stops=0)
    assert not report.faults, report.table()
    assert report.counts.acknowledged > 50, report.table()
    assert report.recall >= 0.8, report.table()
    assert set(report.killed_at) == {point.name for point in SHORT}


# ── the points themselves ────────────────────────────────────────────────────────────────────


def test_every_point_is_called_somewhere_once_named() -> None:
    """That each is *reached* is held by the long run, which fails at one that is not."""
    called = Counter(
        node.args[0].attr
        for path in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "reached"
        and isinstance(node.args[0], ast.Attribute)
    )
    assert set(called) == set(WritePoint.__members__)


CHANGES = {"rename", "rmtree", "unlink", "write_bytes", "write_text", "touch", "mkdir", "truncate"}
"""Calls that change what is on the disk."""

WITHOUT = {
    ("storage/files.py", "lock_folder"),  # the lock is not data
    ("storage/faults.py", "fault_of_folder"),  # its file is gone before it returns
    ("storage/reserve.py", "_allocate"),  # its caller tells
    ("engine/collection.py", "create"),  # the folder has another name until its caller tells
    ("engine/database.py", "__init__"),  # the data directory itself, empty
    ("engine/database.py", "_opened_catalog"),  # an empty catalog made a moment ago
    ("engine/folders.py", "sweep"),  # each is done again by the next start
    ("engine/folders.py", "mark"),  # its callers tell
    ("engine/folders.py", "unmark"),  # a mark on a listed folder means nothing
    ("engine/snapshots.py", "__init__"),  # rooms are for one start; done again by the next
    ("engine/snapshots.py", "_workroom"),
    ("segments/writer.py", "save"),  # inside a folder under way
}
"""Functions that may change files without a point, and why."""


def _changing() -> Iterator[tuple[str, str, bool]]:
    """List functions of the file layers that change files, and whether they tell."""
    for package in ("engine", "segments", "storage"):
        for path in sorted((ROOT / "app" / package).rglob("*.py")):
            for function in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(function, ast.FunctionDef):
                    continue
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
                told = any(isinstance(call, ast.Name) and call.id == "reached" for call in calls)
                if names & CHANGES:
                    yield path.relative_to(ROOT / "app").as_posix(), function.name, told


def test_nothing_changes_files_behind_the_points() -> None:
    silent = {(path, name) for path, name, told in _changing() if not told}
    assert silent <= WITHOUT, silent - WITHOUT
    assert len(list(_changing())) > 8, "the search finds nothing any more"


def test_an_observer_sees_a_life_in_its_order(tmp_path: Path) -> None:
    seen: list[WritePoint] = []
    observe(seen.append)
    try:
        backend = LocalBackend(tmp_path, sync=False, reserve_bytes=1 << 16)
        backend.create("c", definition())
        backend.drop("c")
        backend.close()
    finally:
        observe(None)
    listed = ["CATALOG_WRITTEN", "CATALOG_COMMITTED"]
    created = ["STORE_CREATED", "COLLECTION_MADE", "COLLECTION_NAMED", *listed, "COLLECTION_LISTED"]
    dropped = ["DROP_MARKED", *listed, "DROP_UNLISTED", "DROP_RENAMED", "DROP_REMOVED"]
    order = ["RESERVE_MADE", *created, *dropped]
    assert [point.name for point in seen if point is not WritePoint.LOG_SETTLED] == order
    reached(WritePoint.STORE_BEGUN)
    assert seen[-1] is not WritePoint.STORE_BEGUN
