"""What the engine tells of itself agrees with its files."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np

from app.backends.local import LocalBackend
from app.exchange import CollectionStatistics
from app.types import Point
from tests.builders import definition, search

DIMENSION = 4


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False, head_points=10)
    try:
        backend.create("c", definition(dimension=DIMENSION))
        rows = np.random.default_rng(1).normal(size=(50, DIMENSION)).astype(np.float32)
        for place, row in enumerate(rows):
            backend.upsert("c", [Point(place, {"v": row}, {})])
        backend.upsert("c", [Point(0, {"v": rows[1]}, {})])
        (folder,) = (tmp_path / "collections").iterdir()
        one = _built(backend, folder)
        store = sum(file.stat().st_size for file in folder.glob("store.sqlite*"))
        assert one.store_bytes <= store < one.store_bytes + 65_536, "all but the shared index"
        assert one.points == 50
        assert one.segments >= 1
        statistics = backend.statistics()
        assert statistics.commit_seconds.count == statistics.commit_writes.count == 51
        assert statistics.commit_writes.sum == 51
        assert statistics.build_seconds["segment"].count >= 1
        (answer,) = backend.search("c", [search([1, 0, 0, 0])])
        assert answer.parts >= 1
    finally:
        backend.close()


def _built(backend: LocalBackend, folder: Path) -> CollectionStatistics:
    """Wait for a moment between builds: what was replaced is deleted just after the swap."""
    until = time.monotonic() + 60
    while True:
        (one,) = backend.statistics().collections
        with contextlib.suppress(FileNotFoundError):
            files = [file for file in folder.glob("segments/**/*") if file.is_file()]
            on_disk = sum(file.stat().st_size for file in files)
            if one.segments and one.segment_bytes + one.cover_bytes == on_disk:
                return one
        assert time.monotonic() < until, (one, files)
        time.sleep(0.01)
