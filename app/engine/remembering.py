"""What was worked out of one state of a collection, kept as long as that state is the newest.

Means of ten thousands of vectors and concepts drawn from them cost milliseconds, and the next query
asks for the same ones. They are right for one snapshot only; so a write forgets them all.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from app.engine.snapshot import Snapshot

MOST_ENTRIES = 64
MOST_BYTES = 32 << 20

_Made = TypeVar("_Made", bound=tuple[Any, ...])


class Remembering:
    """A bounded memory of what was made of the newest snapshot that was read. Thread-safe.

    What is used least recently goes first, in number or in bytes of arrays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: weakref.ref[Snapshot] | None = None
        self._made: OrderedDict[Hashable, tuple[Any, ...]] = OrderedDict()
        self._bytes = 0

    def get(
        self, snapshot: Snapshot, key: Hashable, make: Callable[[], _Made]
    ) -> tuple[_Made, bool]:
        """Give what `make` gives, and whether that was remembered.

        Two that ask at the same time may both make it.
        """
        with self._lock:
            if self._of is not None and self._of() is snapshot and key in self._made:
                self._made.move_to_end(key)
                found: Any = self._made[key]
                return found, True
        made = make()
        with self._lock:
            if self._of is None or self._of() is not snapshot:
                self._made.clear()
                self._bytes = 0
                self._of = weakref.ref(snapshot)
            if key not in self._made:
                self._bytes += _bytes(made)
            self._made[key] = made
            while len(self._made) > MOST_ENTRIES or self._bytes > MOST_BYTES:
                _, gone = self._made.popitem(last=False)
                self._bytes -= _bytes(gone)
        return made, False


def _bytes(made: tuple[Any, ...]) -> int:
    return sum(one.nbytes for one in made if isinstance(one, np.ndarray))
