"""The memory of one state: bounded, and of the newest snapshot only."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from app.engine import remembering
from app.engine.remembering import MOST_ENTRIES, Remembering
from app.engine.snapshot import Snapshot


def test_what_is_used_least_recently_is_forgotten_first() -> None:
    memory, snapshot = Remembering(), Snapshot(())
    for key in range(MOST_ENTRIES):
        assert memory.get(snapshot, key, lambda: ("made",)) == (("made",), False)
    assert memory.get(snapshot, 0, lambda: ("again",)) == (("made",), True)
    memory.get(snapshot, "new", lambda: ("made",))
    assert memory.get(snapshot, 0, lambda: ("again",)) == (("made",), True)
    assert memory.get(snapshot, 1, lambda: ("again",)) == (("again",), False)


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_BYTES", 1000)
    memory, snapshot = Remembering(), Snapshot(())
    for key in "abc":
        memory.get(snapshot, key, lambda: (np.zeros(50), "name"))  # 400 bytes each
    assert memory.get(snapshot, "a", lambda: (np.zeros(50), "name"))[1] is False
    assert memory.get(snapshot, "c", lambda: (np.zeros(50), "name"))[1] is True
    memory.get(snapshot, "huge", lambda: (np.zeros(1000),))
    assert memory.get(snapshot, "huge", lambda: (np.zeros(1),))[1] is False  # it was not kept


def test_an_older_snapshot_is_neither_kept_nor_taken_for_another() -> None:
    memory, old, new = Remembering(), Snapshot(()), Snapshot(())
    memory.get(old, "key", lambda: ("old",))
    assert memory.get(new, "key", lambda: ("new",)) == (("new",), False)
    assert memory.get(new, "key", lambda: ("newer",)) == (("new",), True)
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None
