"""SQLite, opened the way this service needs it. The only importer of `sqlite3`.

WAL mode: one writer and any number of readers, each reader on its own consistent state. With
`sync` each commit is forced to the disk before it returns (`synchronous=FULL`), so an acknowledged
write survives a power cut; without it (`NORMAL`) it survives a crash of the process.

The writer connection belongs to whoever holds the collection's write lock. Readers borrow
connections from a small pool, because opening one costs more than most reads.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from app.errors import CorruptFile, StorageFull

Connection = sqlite3.Connection
IntegrityError = sqlite3.IntegrityError

_POOLED = 16


def connect(path: Path, *, sync: bool = True, read_only: bool = False) -> Connection:
    """Open a database for use from any one thread at a time, without implicit transactions."""
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30.0,
    )
    try:
        if not read_only:
            connection.execute("PRAGMA page_size = 8192")  # two 384-d vectors a leaf, not one
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise _translated(exc, path) from exc
    return connection


@contextlib.contextmanager
def transaction(connection: Connection, path: Path) -> Iterator[Connection]:
    """Run a block as one write: committed at its end, rolled back if it raises.

    Raises StorageFull when the disk has no room and CorruptFile when SQLite finds damage.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException as exc:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(exc, sqlite3.DatabaseError):
            raise _translated(exc, path) from exc
        raise


class ReadPool:
    """Read-only connections to one database, reused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; several statements that must agree go into `BEGIN … COMMIT`."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = connect(self._path, read_only=True)
        try:
            yield connection
        except sqlite3.DatabaseError as exc:
            connection.close()
            raise _translated(exc, self._path) from exc
        except BaseException:
            connection.close()
            raise
        if self._closed or self._idle.qsize() >= _POOLED:
            connection.close()
        else:
            self._idle.put(connection)

    def close(self) -> None:
        """Close idle connections; lent ones close when they come back."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def _translated(exc: sqlite3.DatabaseError, path: Path) -> Exception:
    """Name the two failures of the disk that callers and operators can act on."""
    code = getattr(exc, "sqlite_errorcode", None)  # Python 3.11 and later
    primary = code & 0xFF if code is not None else None
    message = str(exc)
    if primary == 13 or "disk is full" in message:  # SQLITE_FULL
        return StorageFull("the disk is full; nothing of this write was kept")
    damaged = "malformed" in message or "not a database" in message
    if primary in (11, 26) or damaged:  # SQLITE_CORRUPT, SQLITE_NOTADB
        return CorruptFile("the collection's database is damaged", path=str(path))
    return exc
