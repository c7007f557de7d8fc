"""Keeps a collection's files open while anyone is inside, and lets nobody in after."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from app.errors import CollectionNotFound


class Gate:
    """Counts who is inside; `close` waits for them."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside for a while. Raises CollectionNotFound once closed."""
        with self._changed:
            if self._closed:
                raise CollectionNotFound(self._collection)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self._inside == 0:
                    self._changed.notify_all()

    def close(self) -> None:
        """Refuse newcomers and wait until nobody is inside."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
