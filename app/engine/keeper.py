"""The keeper: one thread that does the upkeep of all collections, a step at a time.

It looks once a second, and while there is something to do it rests between steps: as long as a
step took while nothing is written, nine times as long otherwise. What fails is logged and tried
again after a pause: a full disk or a damaged store is for writes and reads to report.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterable

from app.engine.collection import Collection
from app.errors import CollectionNotFound, LikewiseError

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_IDLE_S = 5.0
_PAUSE_S = 60.0


class Keeper:
    """Does whatever upkeep is due until it is closed."""

    def __init__(self, collections: Callable[[], Iterable[Collection]]) -> None:
        self._collections = collections
        self._closing = threading.Event()
        self._after: dict[Collection, float] = {}
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after the step that it is in."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        worked = False
        while not self._closing.wait(_TICK_S):
            while self._round():
                worked = True
            if worked:
                worked = False
                _trim()

    def _round(self) -> bool:
        """Do one step for each collection that has one; tell whether any had."""
        collections = list(self._collections())
        self._after = {one: after for one, after in self._after.items() if one in collections}
        worked = False
        for collection in collections:
            begun = time.monotonic()
            if begun < self._after.get(collection, 0.0):
                continue
            idle = collection.quiet_s >= _IDLE_S
            if self._step(collection, idle=idle):
                worked = True
                if self._closing.wait((time.monotonic() - begun) * (1 if idle else 9)):
                    return False
        return worked

    def _step(self, collection: Collection, *, idle: bool) -> bool:
        try:
            return collection.upkeep.step(idle=idle)
        except CollectionNotFound:  # dropped meanwhile
            return False
        except Exception as exc:
            _log.warning(
                "%s: upkeep failed and is tried again in %.0f s: %s",
                collection.name,
                _PAUSE_S,
                exc,
                exc_info=not isinstance(exc, (LikewiseError, OSError)),
            )
            self._after[collection] = time.monotonic() + _PAUSE_S
            return False


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None  # not glibc, which is the one that keeps freed memory
    return found


_TRIM = _malloc_trim()


def _trim() -> None:
    """Give freed memory back to the system: glibc keeps what lies between things still in use."""
    if _TRIM is not None:
        _TRIM(0)
