"""Searches on the event loop wait for nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.local import LocalBackend
from app.errors import CollectionNotFound
from tests.builders import definition, point, search


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    opened = LocalBackend(tmp_path, sync=False)
    opened.create("c", definition())
    opened.upsert("c", [point(n, [n, 1, 0, 0], f"text {n}", n=n) for n in range(10)])
    yield opened
    opened.close()


def within_seconds(work: Any) -> Any:
    """Do it on a thread that is given up: what waits for a lock of ours would wait for ever."""
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(10)
    assert done, "it waits"
    return done[0]


def test_it_answers_as_a_search_does_while_a_writer_holds_the_lock(backend: LocalBackend) -> None:
    asked = [search([1, 0, 0, 0], k=3), search([0, 1, 0, 0], k=2)]
    expected = backend.search("c", asked)
    with backend._collection("c")._write_lock:
        assert within_seconds(lambda: backend.search_now("c", asked)) == expected


def test_it_gives_up_when_a_write_overtakes_it(backend: LocalBackend) -> None:
    collection = backend._collection("c")
    asked = [search([1, 0, 0, 0], k=10)]
    with collection._write_lock:
        # Committed and not yet shown, and in the middle of a sync for all one knows.
        collection._store.write(lambda writer: writer.delete([writer.next_row - 1]))
        assert within_seconds(lambda: backend.search_now("c", asked)) is None


def test_it_knows_unknown_collections(backend: LocalBackend) -> None:
    with pytest.raises(CollectionNotFound):
        backend.search_now("nobody", [search([1, 0, 0, 0])])
