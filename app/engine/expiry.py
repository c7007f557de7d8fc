"""Points that cease to exist at a time of their own.

Theory of operation
-------------------
Expiry needs no write: it follows from the clock. A snapshot knows until when nothing of it expires
(`Snapshot.due_ms`), and every read compares that with the clock; for most that is all, since it is
infinite where no point expires. A read that is late looks up in the store which points have expired
and hides them from its own view of the snapshot. It waits for no writer and no disk, so a point is
never returned, counted or walked on to from the moment of its expiry, on a full disk as well.

The collection's upkeep follows: it hides those points in the snapshot itself, so that reads have
nothing to look up again (`hide`), and deletes their rows, by ordinary writes and at leisure.

Rows that came or went since a snapshot was taken do no harm to a view of it: the former are not in
it, and the latter are found to be gone when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from app.engine.parts import Parts
from app.engine.snapshot import Snapshot
from app.storage.store import Store

Clock = Callable[[], float]
"""Seconds since 1970-01-01T00:00:00Z."""


class _View(NamedTuple):
    """A snapshot, and what is left of it until a time."""

    whole: Snapshot
    left: Snapshot
    until_ms: float


class Expiry:
    """When points of one collection expire. Reading is for any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._view: _View | None = None

    @property
    def now_ms(self) -> int:
        """Tell the time as the store keeps it; what expires at it is gone."""
        return math.floor(self._clock() * 1000)

    def is_due(self, snapshot: Snapshot) -> bool:
        """Tell whether a point of the snapshot may have expired."""
        return self._clock() * 1000 >= snapshot.due_ms

    def visible(self, snapshot: Snapshot) -> Snapshot:
        """Give the snapshot without the points that have expired."""
        if self._clock() * 1000 < snapshot.due_ms:
            return snapshot
        view = self._view
        now_ms = self.now_ms
        if view is None or view.whole is not snapshot or now_ms >= view.until_ms:
            left = snapshot.without(self._store.expired(snapshot.hidden_ms, now_ms))
            view = _View(snapshot, left, self._next(now_ms))
            self._view = view
        return view.left

    def hide(self, parts: Parts) -> None:
        """Hide from all later reads what has expired. Under the write lock."""
        now_ms = self.now_ms
        rows = self._store.expired(parts.snapshot.hidden_ms, now_ms)
        parts.hide(rows, upto_ms=now_ms, due_ms=self._next(now_ms))
        self._view = None

    def begin(self, parts: Parts) -> None:
        """Let parts that were drawn from the store know when their first point expires."""
        parts.hide([], upto_ms=-1, due_ms=self._next(-1))

    def _next(self, after_ms: int) -> float:
        found = self._store.next_expiry(after_ms)
        return math.inf if found is None else found
