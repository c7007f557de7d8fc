"""A file that is read again when it changes, and whose last good content stays when it is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from app.errors import StoredDataError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Watched(Generic[T]):
    """The content of a file, as it was when the file could last be read."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        """Read the file. Raises what `read` raises: at the start there is no last good content."""
        self._path = path
        self._read = read
        self._state = self._state_now()
        self.content = read(path)

    def look(self) -> bool:
        """Read the file again if it changed; returns whether there is new content.

        A change shows in its time, size or inode: files that are replaced as a whole always show
        one. A file that vanished or is damaged is logged, once for each state of it.
        """
        state = self._state_now()
        if state == self._state:
            return False
        # Before the reading: what is written meanwhile makes another state, and is read next time.
        self._state = state
        try:
            self.content = self._read(self._path)
        except StoredDataError as error:
            log.error("%s; what was last read stays in force", error.detail)
            return False
        log.info("took over the changed file %s", self._path)
        return True

    def _state_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
