"""A bounded file of vectors by key.

Theory of operation. One table in a SQLite database: the key, the vector's bytes, a count of tokens
and a checksum of them all. Rows are in the order of writing, and the oldest are deleted when the
file is as large as it may be. A row that is found in the older half of the table is written anew
at the end, once in a while: so what is asked for stays, and a look-up nearly never writes. It is
second chance instead of an exact order of use, for a write in a hundred look-ups.

What is in it can be made again. So nothing is forced to the disk (a crash of the machine may lose
the latest rows, a crash of the process none that was committed), and a file that is damaged, of
another layout, or holds a row that its checksum does not fit is thrown away and begun anew. A disk
that takes no writes makes it a cache that is only read.

For one thread at a time; the file for one process.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from app.errors import CorruptFile, StorageFull, StorageReadOnly, StoredDataError
from app.storage.database import (
    Connection,
    DatabaseError,
    WriteConnection,
    translated,
)

log = logging.getLogger(__name__)

LAYOUT = 1
"""Of the table; a file of another one is thrown away."""

_SCHEMA = (
    "CREATE TABLE vector (place INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
    " tokens INTEGER NOT NULL, numbers BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT"
)
_ASKED = 500  # keys of one statement; SQLite takes 999 and more
STEP = 128
"""Rows that are written, or deleted, together: one to three milliseconds."""


class Entry(NamedTuple):
    """A vector as bytes (`app.cache.outputs`), and how many tokens its input had."""

    numbers: bytes
    tokens: int


class VectorFile:
    """The file. `restarts` counts how often it was thrown away.

    max_bytes  how large the database may become, but for one step and a log of some megabytes
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.restarts = 0
        self._path = path
        self._max_bytes = max_bytes
        self._touched: dict[bytes, None] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._opened = self._open()
        except (StoredDataError, DatabaseError) as error:
            self._opened = self._anew(error)

    @property
    def size_bytes(self) -> int:
        """Pages that hold something. Free ones are used before the file grows."""
        return _used_bytes(self._opened.connection)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """What is there of the keys."""
        try:
            found = self._read(keys)
            if len(self._touched) >= STEP:
                with self._opened.transaction() as connection:
                    self._renew(connection)
        except (StorageFull, StorageReadOnly):
            return {}
        except (StoredDataError, DatabaseError) as error:
            self._begin_anew(error)
            return {}
        return found

    def put(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Keep entries, at most `STEP`; the oldest make room.

        On a disk that takes no writes, nothing is kept.
        """
        rows = [(key, entry.tokens, entry.numbers, _checksum(key, entry)) for key, entry in entries]
        try:
            with self._opened.transaction() as connection:
                self._renew(connection)  # before one of them is among the oldest
                connection.executemany(
                    "INSERT OR IGNORE INTO vector (key, tokens, numbers, checksum)"
                    " VALUES (?, ?, ?, ?)",
                    rows,
                )
                self._evict(connection)
        except (StorageFull, StorageReadOnly):
            return
        except (StoredDataError, DatabaseError) as error:
            self._begin_anew(error)

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def _open(self) -> WriteConnection:
        opened = WriteConnection(self._path, "create", sync=False)
        try:
            connection = opened.connection
            layout = _pragma(connection, "user_version")
            if layout == 0:
                with opened.transaction():
                    connection.execute(_SCHEMA)
                    connection.execute(f"PRAGMA user_version = {LAYOUT}")
            elif layout != LAYOUT:
                raise CorruptFile("the cache has another layout", path=str(self._path))
            with opened.transaction():  # the limit may be a lower one now
                self._evict(connection)
                while _pragma(connection, "freelist_count"):
                    # Some Pythons make one step of it, a page.
                    connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
        except BaseException:
            opened.close()
            raise
        return opened

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        connection = self._opened.connection
        # Each by itself is at an end of the tree; together they are a scan.
        oldest, newest = connection.execute(
            "SELECT (SELECT min(place) FROM vector), (SELECT max(place) FROM vector)"
        ).fetchone()
        if newest is None:
            return {}
        half = (oldest + newest) // 2
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), _ASKED):
            part = keys[start : start + _ASKED]
            marks = ",".join("?" * len(part))
            rows = connection.execute(
                "SELECT place, key, tokens, numbers, checksum FROM vector"  # noqa: S608  # marks only
                f" WHERE key IN ({marks})",
                part,
            )
            for place, key, tokens, numbers, checksum in rows:
                entry = Entry(numbers, tokens)
                if _checksum(key, entry) != checksum:
                    raise CorruptFile("a cached vector is damaged", path=str(self._path))
                found[key] = entry
                if place < half:
                    self._touched[key] = None
        return found

    def _renew(self, connection: Connection) -> None:
        touched, self._touched = [(key,) for key in self._touched], {}
        connection.executemany(
            "UPDATE vector SET place = (SELECT max(place) + 1 FROM vector) WHERE key = ?",
            touched,
        )

    def _evict(self, connection: Connection) -> None:
        while _used_bytes(connection) > self._max_bytes:
            deleted = connection.execute(
                "DELETE FROM vector WHERE place IN"
                " (SELECT place FROM vector ORDER BY place LIMIT ?)",
                [STEP],
            )
            if deleted.rowcount == 0:
                return  # a limit below an empty database

    def _begin_anew(self, error: Exception) -> None:
        self._opened.close()
        self._opened = self._anew(error)

    def _anew(self, error: Exception) -> WriteConnection:
        """Throw the file away. Raises StoredDataError if there can be no other one."""
        if isinstance(error, DatabaseError):
            error = translated(error, self._path)
        log.warning("the embedding cache begins anew: %s", error)
        self.restarts += 1
        self._touched = {}
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return self._open()


def _checksum(key: bytes, entry: Entry) -> int:
    return zlib.crc32(entry.numbers, zlib.crc32(key, entry.tokens))


def _used_bytes(connection: Connection) -> int:
    used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return used * _pragma(connection, "page_size")


def _pragma(connection: Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
