"""A few seconds of the stress; `make stress` runs minutes of it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.local import LocalBackend
from tests.builders import definition, random_points, search

from .stress import Tally, resident_bytes, run

SECONDS = 2.5


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads change places five hundred times as often as they do by default."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def clean(tally: Tally) -> None:
    assert tally.faults == []
    assert tally.logged == []
    assert (tally.left_folders, tally.left_threads, tally.left_descriptors) == (0, 0, 0)
    assert sum(tally.reads.values()) > 50
    assert tally.near >= 9 * tally.reads["still"], "of ten results nine are among the nearest ten"
    assert tally.writes["sets"] > 5


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("over_http", [False, True], ids=["engine", "http"])
def test_nothing_torn_nothing_lost_nothing_left(tmp_path: Path, over_http: bool) -> None:
    clean(run(tmp_path / "data", over_http=over_http, seconds=SECONDS))


def test_memory_does_not_grow_with_collections_that_are_gone(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False)
    points = random_points(200, 64)
    sizes = []
    for round_ in range(20):
        backend.create("c", definition(64))
        backend.upsert("c", points)
        backend.search("c", [search([1.0] * 64)])
        backend.drop("c")
        if round_ % 5 == 4:
            gc.collect()
            sizes.append(resident_bytes())
    backend.close()
    assert sizes[-1] - sizes[0] < 8 << 20, sizes
