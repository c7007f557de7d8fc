"""SQLite, opened the way this service needs it. The only importer of `sqlite3`.

WAL mode: one writer and any number of readers, each reader on its own consistent state. With
`sync` each commit is forced to the disk before it returns (`synchronous=FULL`), so an acknowledged
write survives a power cut; without it (`NORMAL`) it survives a crash of the process.

The writer connection belongs to whoever holds the collection's write lock. Readers borrow
connections from a small pool, because opening one costs more than most reads.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from app.errors import CorruptFile, StorageFull, StorageReadOnly, StoredDataError
from app.storage.faults import StorageFault, fault_of_folder, storage_full
from app.storage.write_points import WritePoint, reached

Connection = sqlite3.Connection
DatabaseError = sqlite3.DatabaseError

OLDEST = (3, 37, 0)
"""The first SQLite with STRICT tables."""

PATIENCE_S = 30
"""How long a statement waits for SQLite's own locks, which nobody else should hold for long."""

_POOLED = 4  # idle readers kept a collection: each has descriptors and a page cache
_MAPPED = 1 << 30  # bytes of a database; what lies behind is read
_URI_MODES = {"create": "rwc", "write": "rw", "read": "ro"}


Mode = Literal["create", "write", "read"]


def connect(path: Path, mode: Mode, *, sync: bool = True) -> Connection:
    """Open a database for use from any one thread at a time, without implicit transactions.

    mode   "create" makes a missing file, "write" and "read" need it to be there

    Raises CorruptFile if it is missing or damaged, StoredDataError if it cannot be opened.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoredDataError(
            f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed"
        )
    if mode != "create" and not path.is_file():
        raise CorruptFile("the collection's database is missing", path=str(path))
    new = mode == "create" and (not path.exists() or path.stat().st_size == 0)
    connection: Connection | None = None
    try:
        connection = sqlite3.connect(
            _uri(path, mode),
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=PATIENCE_S,
        )
        if mode != "read":
            connection.execute("PRAGMA page_size = 8192")  # two 384-d vectors a leaf, not one
            if new:  # only an empty one takes it, and another one is written to all the same
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA fullfsync = 1")  # where plain fsync stops at the drive
            connection.execute("PRAGMA checkpoint_fullfsync = 1")
        connection.execute(f"PRAGMA cache_size = {-2048 if mode == 'read' else -16384}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if mode == "read":
            # Pages are read where they are in memory, not copied: 7 of 26 µs for ten points.
            connection.execute(f"PRAGMA mmap_size = {_MAPPED}")
    except sqlite3.DatabaseError as exc:
        if connection is not None:
            connection.close()
        raise translated(exc, path) from exc
    return connection


def readonly_uri(path: Path) -> str:
    """Name a database for an `ATTACH` that only reads."""
    return _uri(path, "read")


def _uri(path: Path, mode: Mode) -> str:
    return f"{path.absolute().as_uri()}?mode={_URI_MODES[mode]}"


def connect_foreign(path: Path) -> Connection:
    """Open a database that may come from anyone: see `app.storage.foreign`.

    Raises DatabaseError as it is, here and later: what it means is the caller's to say.
    """
    connection = sqlite3.connect(
        f"{_uri(path, 'read')}&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def in_memory() -> Iterator[Connection]:
    """Lend an empty database that is nowhere."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(connection: Connection, path: Path) -> Iterator[Connection]:
    """Run a block as one write: committed at its end, rolled back if it raises.

    Raises StorageFull when the disk has no room, StorageReadOnly when it takes no writes, and
    CorruptFile when SQLite finds damage.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException as exc:
        # What the rollback itself meets is the same trouble: the first error tells it.
        with contextlib.suppress(sqlite3.DatabaseError):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(exc, sqlite3.DatabaseError):
            raise translated(exc, path) from exc
        raise


class WriteConnection:
    """The connection of a database that writes. For one thread at a time.

    A commit whose sync failed is not seen, but stands in the log: a crash could bring it back, and
    what is written after it could be lost behind the hole that it may be on the disk. So after any
    trouble of the disk, and after opening, the log is first moved into the database (`settle`).
    """

    def __init__(self, path: Path, mode: Mode, *, sync: bool = True) -> None:
        """Open a database; see `connect`."""
        self.path = path
        self.in_doubt = True
        self.connection = connect(path, mode, sync=sync)
        try:
            with contextlib.suppress(StorageFull):  # it can be read, and is settled before a write
                self.settle()
        except BaseException:
            self.connection.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one write; see `transaction`. Raises as `settle`, too."""
        if self.in_doubt:
            self.settle()
        try:
            with transaction(self.connection, self.path) as connection:
                yield connection
        except (StorageReadOnly, StoredDataError):
            self.in_doubt = True
            raise

    def settle(self) -> None:
        """Empty the log, after which nothing is in doubt any more. Raises if it cannot be done."""
        self.in_doubt = True
        if not self.empty_log():
            raise StoredDataError(
                f"the log of {self.path.name} is in use and cannot be emptied", path=str(self.path)
            )

    def empty_log(self) -> bool:
        """Move the log into the database, synced, and empty it; False if a reader looks into it."""
        try:
            busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError as exc:
            self.in_doubt = True
            raise translated(exc, self.path) from exc
        if busy:
            return False
        self.in_doubt = False
        reached(WritePoint.LOG_SETTLED)
        return True

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


class ReadPool:
    """Read-only connections to one database, reused.

    damaged   is told of damage that a read meets
    """

    def __init__(
        self, path: Path, damaged: Callable[[StoredDataError], None] = lambda _: None
    ) -> None:
        self._path = path
        self._damaged = damaged
        self._idle: list[Connection] = []  # its methods are each one step for all threads
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; several statements that must agree go into `BEGIN … COMMIT`."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self._path, "read")
        try:
            yield connection
        except sqlite3.DatabaseError as exc:
            connection.close()
            fault = translated(exc, self._path)
            if isinstance(fault, CorruptFile):
                self._damaged(fault)
            raise fault from exc
        except CorruptFile as exc:  # found in what was read
            connection.close()
            self._damaged(exc)
            raise
        except BaseException:
            connection.close()
            raise
        if self._closed or len(self._idle) >= _POOLED:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close idle connections; lent ones close when they come back."""
        self._closed = True
        self.forget()

    def forget(self) -> None:
        """Close idle connections, and with them what they hold in memory."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def translated(exc: sqlite3.DatabaseError, path: Path) -> StorageFault:
    """Say in the domain's words what SQLite found; everything else is a fault of ours."""
    code = getattr(exc, "sqlite_errorcode", None)  # Python 3.11 and later
    primary = code & 0xFF if code is not None else None
    message = str(exc)
    if primary == 13 or "disk is full" in message:  # SQLITE_FULL
        return storage_full()
    damaged = "malformed" in message or "not a database" in message
    if primary in (11, 26) or damaged:  # SQLITE_CORRUPT, SQLITE_NOTADB
        return CorruptFile(f"the database {path.name} is damaged", path=str(path))
    vague = ("readonly", "disk I/O error", "unable to open")
    if primary in (8, 10, 14) or any(words in message for words in vague):
        # SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN: of a full disk, too, and of others.
        fault = fault_of_folder(path.parent)
        if fault is not None:
            return fault
        if primary == 8 or "readonly" in message:
            return StorageReadOnly("the database cannot be written to; reads go on")
    return StoredDataError(f"the database {path.name} cannot be used: {message}", path=str(path))
