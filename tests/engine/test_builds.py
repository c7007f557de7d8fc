"""What may come between the order of a build and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.attributes.filter import parse_filter
from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.engine import database
from app.engine.build_process import build
from app.engine.builds import SegmentBuild
from tests.builders import definition, random_points, upsert_all
from tests.model.world import NoBuilder


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    monkeypatch.setattr(database, "Builder", NoBuilder)
    opened = LocalBackend(tmp_path, sync=False, head_points=10)
    opened.create("c", definition())
    upsert_all(opened, "c", random_points(20, 4))
    yield opened
    opened.close()


def test_all_points_of_a_build_may_be_deleted_before_it_reads_them(
    backend: LocalBackend, tmp_path: Path
) -> None:
    """It was tried again and again: nothing can be coded, and an empty segment not be replaced."""
    builds = backend._open["c"].builds
    begun = builds.begin(idle=True, threads=1)
    assert isinstance(begun, SegmentBuild)
    backend.delete("c", Selection(filter=parse_filter({})))
    build(begun.order)
    builds.finish(begun)
    assert backend.describe("c").segments == [{"kind": "head", "points": 0, "deleted": 0}]
    assert list(tmp_path.glob("collections/*/segments/*")) == []
    upsert_all(backend, "c", random_points(20, 4))
    begun = builds.begin(idle=True, threads=1)
    assert isinstance(begun, SegmentBuild)
    build(begun.order)
    builds.finish(begun)
    assert [part["kind"] for part in backend.describe("c").segments] == ["graph", "head"]


def test_a_drop_ends_the_build_and_leaves_neither_folder_nor_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = LocalBackend(tmp_path, sync=False, head_points=3000)
    try:
        for round_ in range(3):
            opened.create("c", definition(32))
            upsert_all(opened, "c", random_points(3000, 32))
            while round_ and opened._builder._running is None:  # the first goes before its build
                time.sleep(0.001)
            opened.drop("c")
            assert list((tmp_path / "collections").iterdir()) == []
    finally:
        opened.close()
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
