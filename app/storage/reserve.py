"""Room kept free for the day when the disk is full.

Removing points and collections makes room, but needs a little first: a commit is appended to a log
before anything is freed. So a file of some megabytes lies in the data directory. When a removal
finds the disk full, the file is cut and the removal is tried once more. Until there is room for the
file again, writes that add something are refused: or they would take what removals need.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from app.storage.faults import storage_full
from app.storage.write_points import WritePoint, reached

_log = logging.getLogger(__name__)

KEPT_SHARE = 1 / 8
"""What deletes leave of it, so that a collection can be dropped after they have used the rest."""


_ROOMY_BYTES = 4 << 20  # where no reserve says it: a batch of a thousand points


class Reserve:
    """One file that holds room. Safe for any thread.

    What was given is owed until there is room again, also after a restart: then the file is there,
    and too short. Where there never was room for it, nothing is owed: the disk itself refuses.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Take `size` bytes, if they are there; a disk without them is logged, not refused."""
        self._path = path
        self._size = size
        self._kept = int(KEPT_SHARE * size)
        self._lock = threading.Lock()
        self.owed = False
        """Whether writes that add something are refused; read without the lock."""
        if not self.restore():
            _log.warning("there is no room to reserve for a full disk: %d MB", size >> 20)

    def restore(self) -> bool:
        """Take the room again, if it is there. Tells whether all of it is held."""
        if self._size == 0:
            return True
        with self._lock:
            held = self._held()
            if held != self._size and self._taken(held or 0):
                held = self._size
            self.owed = held is not None and held < self._size
            return held == self._size

    def roomy(self) -> bool:
        """Tell whether there is room for more than the odd small write."""
        try:
            space = os.statvfs(self._path.parent)
        except OSError:
            return False
        return space.f_bavail * space.f_frsize >= max(2 * self._size, _ROOMY_BYTES)

    def require(self) -> None:
        """Raise StorageFull while room is owed."""
        if self.owed and not self.restore():
            raise storage_full()

    def give(self, *, everything: bool) -> bool:
        """Free the room, all but a rest unless `everything`. Tells whether anything was freed."""
        leaving = 0 if everything else self._kept
        with self._lock:
            held = self._held()
            if held is None or held <= leaving:
                return False
            try:
                os.truncate(self._path, leaving)
            except OSError as exc:
                _log.warning("the reserved room cannot be freed: %s", exc)
                return False
            self.owed = True
        _log.warning("the disk is full: reserved room is given to a removal")
        reached(WritePoint.RESERVE_GIVEN)
        return True

    def _held(self) -> int | None:
        """Measure the file; None if there is none."""
        try:
            return min(self._path.stat().st_size, self._size)
        except OSError:
            return None

    def _taken(self, held: int) -> bool:
        try:
            space = os.statvfs(self._path.parent)
            # Twice, so that it is not given and taken at every other write.
            if space.f_bavail * space.f_frsize < 2 * (self._size - held):
                return False
            # Opened without cutting: what is held stays held.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(descriptor, self._size)
            finally:
                os.close(descriptor)
        except OSError as exc:
            _log.debug("no room is reserved: %s", exc)
            return False
        reached(WritePoint.RESERVE_MADE)
        return True


def _allocate(descriptor: int, size: int) -> None:
    """Give a file blocks of its own up to a size."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    with os.fdopen(os.dup(descriptor), "wb") as file:  # macOS has no such call
        file.write(b"\0" * size)
