"""What a collection does when nobody asks: expired points go, memory and disk are given back.

Theory of operation
-------------------
All of it comes in short steps, so that a writer never waits long: a step holds the write lock for
some milliseconds (`_STEP_S`, and what the disk takes to sync it). In order:

- points that have expired are hidden and deleted (`app.engine.expiry`), by ordinary writes;
- a head that is mostly dead (the same few points, written again and again) is cut anew;
- a store from which many points went is packed (`Store.pack`), free pages are cut off its end;
- when nothing is written, the write-ahead log is emptied into the file, which then shrinks, and
  the database's caches are given up.

Segments with dead slots are the business of `app.engine.merging`. Space that is about to be used
again is not worth giving back: while points are being written, the thresholds are much higher, so
a collection that is rewritten without a pause keeps room for about as much again.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence

from app.engine.expiry import Expiry
from app.engine.gate import Gate
from app.engine.parts import Effect, Parts
from app.engine.recovery import load_head
from app.segments.segment import Segment
from app.storage.store import Space, Store, Writer
from app.types import VectorField

_STEP_S = 0.005
_REAPED = 500  # points deleted in one write: some milliseconds

DEAD_HEAD = 1024
"""Dead slots of a head from which cutting it anew is worth it, if they are more than half."""

GONE_SHARE = 0.25
"""Of the points: if so many versions went since, an idle store is packed. Packing reads and writes
everything, so over time it multiplies what is written by about 1 / GONE_SHARE at most."""

FREE_SHARE = 0.05
"""Of the pages: if more are free, an idle store is cut."""

BUSY_GONE_SHARE, BUSY_FREE_SHARE = 2.0, 0.5
"""The same while points are being written."""

SMALL_PAGES = 16
"""A store that gains less than this, 128 KB, is left alone."""


class Upkeep:
    """The upkeep of one collection. For any thread, which does one step at a time."""

    def __init__(
        self,
        store: Store,
        parts: Parts,
        expiry: Expiry,
        fields: Sequence[VectorField],
        write: Callable[[Callable[[Writer], Effect]], int],
        *,
        gate: Gate,
        write_lock: threading.Lock,
    ) -> None:
        self._store = store
        self._parts = parts
        self._expiry = expiry
        self._fields = fields
        self._write = write
        self._gate = gate
        self._write_lock = write_lock
        self._one = threading.Lock()
        self._expired = False  # rows that were hidden are still to be deleted
        self._packing: int | None = None  # the last row done
        self._settled = -1  # bytes of the log when nothing was left to do

    def step(self, *, idle: bool) -> bool:
        """Do one step if any is due, and tell whether one was done.

        idle   whether nothing has been written for a while

        Raises StoredDataError or StorageFull; CollectionNotFound once the collection is closed.
        """
        with self._one, self._gate:
            return self._reap() or self._recut() or self._shrink(idle=idle)

    def _reap(self) -> bool:
        if self._expiry.is_due(self._parts.snapshot):
            with self._write_lock:
                self._expiry.hide(self._parts)
            self._expired = True
        if not self._expired:
            return False

        def operation(writer: Writer) -> Effect:
            rows = writer.expired(self._expiry.now_ms, most=_REAPED)
            writer.delete(rows)
            return Effect(deleted=rows, count=len(rows))

        self._expired = self._write(operation) == _REAPED
        return True

    def _recut(self) -> bool:
        if not self._dead_head():
            return False
        with self._write_lock:
            if not self._dead_head():
                return False
            anew = Parts(self._fields, self._parts.snapshot.lexical)
            rows = self._parts.snapshot.parts[-1].live_rows().tolist()
            load_head(anew, self._store, self._fields, rows)
            self._parts.replace_head(anew)
        return True

    def _dead_head(self) -> bool:
        head = self._parts.snapshot.parts[-1]
        if isinstance(head.part, Segment):
            return False
        return head.dead >= DEAD_HEAD and head.dead > head.count

    def _shrink(self, *, idle: bool) -> bool:
        log_bytes = self._store.log_bytes
        if log_bytes == self._settled and self._packing is None:
            return False  # nothing was written since
        space = self._store.space()
        if not space.shrinks:
            if idle and self._worth_a_copy(space):
                with self._write_lock:
                    self._store.rewrite()
                return True
        elif self._cut_is_due(space, idle=idle):
            with self._write_lock:
                self._store.give_back(step_s=_STEP_S)
            return True
        if self._packing is not None or self._pack_is_due(space, idle=idle):
            self._pack()
            return True
        if not idle:
            return False
        if log_bytes:
            self._store.copy_log()
            with self._write_lock:
                if not self._store.cut_log():
                    return False  # somebody reads: next time
                self._store.forget()
        self._settled = self._store.log_bytes
        return False

    def _cut_is_due(self, space: Space, *, idle: bool) -> bool:
        share = FREE_SHARE if idle else BUSY_FREE_SHARE
        return space.free > SMALL_PAGES and space.free > share * space.pages

    def _pack_is_due(self, space: Space, *, idle: bool) -> bool:
        points = self._parts.snapshot.points
        gone = self._store.gone_since_packing(points)
        share = GONE_SHARE if idle else BUSY_GONE_SHARE
        return space.pages - space.free > SMALL_PAGES and gone > share * points

    def _pack(self) -> None:
        with self._write_lock:
            self._packing = self._store.pack(self._packing or 0, step_s=_STEP_S)
            if self._packing is None:
                self._store.packed(self._parts.snapshot.points)

    def _worth_a_copy(self, space: Space) -> bool:
        """Tell whether a store of an older service, which cannot shrink, is copied into one."""
        if space.free <= max(SMALL_PAGES, space.pages // 4):
            return False
        live_share = 1 - space.free / space.pages
        needed = 2 * live_share * self._store.path.stat().st_size  # the copy, and its log
        return shutil.disk_usage(self._store.path).free > 2 * needed
