"""What a collection keeps beside its points: durable, bounded, one state in a view."""

from __future__ import annotations

import threading

import pytest

from app.backends.base import Backend, Kept, View
from app.errors import CollectionNotFound, LimitExceeded
from app.storage import artefacts
from app.types import MOST_KEPT, MOST_KEPT_BYTES
from tests import reference_backend
from tests.builders import Clock, definition, point


def body_of(backend: Backend, kind: str, key: str) -> bytes | None:
    found = backend.kept("c", kind, key)
    return None if found is None else found.body


def test_what_is_kept_is_read_listed_and_forgotten(filled: Backend, clock: Clock) -> None:
    assert filled.kept("c", "bank", "a") is None
    assert filled.all_kept("c") == []
    first = filled.keep("c", "bank", "b", b"\x00\xff")
    filled.keep("c", "bank", "a", b"")
    filled.keep("c", "labels", "a", b"other")
    assert (first.kind, first.key, first.bytes) == ("bank", "b", 2)
    assert first.created_at == "2030-03-17T17:46:40.000Z"
    assert filled.kept("c", "bank", "b") == Kept(first, b"\x00\xff")
    assert body_of(filled, "bank", "a") == b""
    assert [(one.kind, one.key) for one in filled.all_kept("c")] == [
        ("bank", "a"),
        ("bank", "b"),
        ("labels", "a"),
    ]
    assert filled.all_kept("c", "bank")[1] == first
    assert filled.all_kept("c", "nothing") == []
    assert filled.forget("c", "bank", "a") is True
    assert filled.forget("c", "bank", "a") is False
    assert body_of(filled, "bank", "a") is None
    assert body_of(filled, "labels", "a") == b"other"


def test_every_revision_is_another_number(filled: Backend, clock: Clock) -> None:
    seen = [filled.keep("c", "bank", "a", b"1").revision]
    clock.now_s += 1
    again = filled.keep("c", "bank", "a", b"1")
    assert again.created_at == "2030-03-17T17:46:41.000Z"
    seen.append(again.revision)
    filled.forget("c", "bank", "a")
    seen += [filled.keep("c", "bank", "a", b"1").revision, filled.keep("c", "b", "b", b"").revision]
    assert seen == sorted(set(seen))


def test_points_and_what_is_kept_leave_each_other_alone(filled: Backend) -> None:
    filled.keep("c", "bank", "a", b"bank")
    filled.upsert("c", [point("new", [99, 0, 0, 0])])
    assert filled.count("c", None) == 12
    assert body_of(filled, "bank", "a") == b"bank"


def test_a_collection_of_its_name_later_has_nothing_of_it(filled: Backend) -> None:
    mark = filled.definition("c").mark
    filled.keep("c", "bank", "a", b"1", mark)
    filled.drop("c")
    for call in (
        lambda: filled.kept("c", "bank", "a"),
        lambda: filled.all_kept("c"),
        lambda: filled.keep("c", "bank", "a", b""),
        lambda: filled.forget("c", "bank", "a"),
    ):
        with pytest.raises(CollectionNotFound):
            call()
    filled.create("c", definition())
    assert filled.all_kept("c") == []
    with pytest.raises(CollectionNotFound):
        filled.keep("c", "bank", "a", b"1", mark)


def test_a_view_reads_it_and_always_the_same(filled: Backend) -> None:
    filled.keep("c", "bank", "a", b"1")

    def read(view: View) -> tuple[Kept | None, ...]:
        return view.kept("bank", "a"), view.kept("bank", "none"), view.kept("bank", "a")

    first, none, again = filled.view("c", read)
    assert (first, none) == (filled.kept("c", "bank", "a"), None)
    assert again == first


def test_a_view_does_not_see_what_comes_after_it_looked(filled: Backend) -> None:
    filled.keep("c", "bank", "a", b"1")
    looked, written = threading.Event(), threading.Event()

    def read(view: View) -> list[bytes]:
        first = view.kept("bank", "a")
        looked.set()
        written.wait(0.2)  # one lock around everything: then the write waits for the view
        second = view.kept("bank", "a")
        assert first is not None
        assert second is not None
        return [first.body, second.body]

    def write() -> None:
        looked.wait()
        filled.keep("c", "bank", "a", b"2")
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert filled.view("c", read) == [b"1", b"1"]
    writer.join()
    assert body_of(filled, "bank", "a") == b"2"


def test_one_is_bounded(filled: Backend) -> None:
    filled.keep("c", "bank", "a", bytes(MOST_KEPT_BYTES))
    with pytest.raises(LimitExceeded):
        filled.keep("c", "bank", "a", bytes(MOST_KEPT_BYTES + 1))
    kept = filled.kept("c", "bank", "a")
    assert kept is not None
    assert kept.info.bytes == MOST_KEPT_BYTES, "a refused value replaces nothing"


def test_their_number_is_bounded(filled: Backend) -> None:
    for number in range(MOST_KEPT):
        filled.keep("c", f"kind-{number % 3}", str(number), b"")
    filled.keep("c", "kind-0", "0", b"replaced")
    with pytest.raises(LimitExceeded):
        filled.keep("c", "kind-0", "more", b"")
    filled.forget("c", "kind-1", "1")
    filled.keep("c", "kind-0", "more", b"")


def test_their_bytes_together_are_bounded(filled: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (artefacts, reference_backend):
        monkeypatch.setattr(module, "MOST_KEPT_BYTES_TOGETHER", 100)
    filled.keep("c", "bank", "a", bytes(60))
    filled.keep("c", "bank", "b", bytes(40))
    filled.keep("c", "bank", "a", bytes(60))
    with pytest.raises(LimitExceeded):
        filled.keep("c", "bank", "a", bytes(61))
    assert [one.bytes for one in filled.all_kept("c")] == [60, 40]
