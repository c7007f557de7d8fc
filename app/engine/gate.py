"""Keeps a collection's files open while anyone is inside, and lets nobody in after."""

from __future__ import annotations

import threading

from app.errors import CollectionNotFound


class Gate:
    """A context that counts who is inside; `close` waits for them.

    Entering raises CollectionNotFound once the gate is closed. Every read goes through here, so it
    is a plain lock and a number.
    """

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                raise CollectionNotFound(self._collection)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed and self._inside == 0:
                self._left.notify_all()

    def close(self) -> None:
        """Refuse newcomers and wait until nobody is inside."""
        with self._lock:
            self._closed = True
            self._left.wait_for(lambda: self._inside == 0)
