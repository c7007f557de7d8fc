"""The durable truth of one collection: points by row, in SQLite.

A row is one version of a point. Rows are numbered upwards and never used twice, and an update is a
new row, so a row that exists always means the same point with the same contents: readers may look
rows up whenever they like and either find exactly what they searched, or learn that it is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from app.errors import CorruptFile, StoredDataError
from app.storage import artefacts, blobs, schema
from app.storage.database import (
    PATIENCE_S,
    Connection,
    DatabaseError,
    ReadPool,
    WriteConnection,
    connect,
    translated,
)
from app.storage.files import file_bytes
from app.storage.write_points import WritePoint, reached
from app.types import I64, Kept, KeptInfo, VectorField, VectorKind, VectorValue

_SCANNED = 2000  # points read ahead by a scan: some megabytes with their vectors
_SCANNED_TOKENS = 100  # the same where a point has a vector for each token
_PACKED = 64  # rows taken out and put back at a time: 100 KB at 384-d
_INCREMENTAL = 2  # of PRAGMA auto_vacuum
_CHUNK = 500  # parameters of one IN (…): below SQLite's oldest default limit of 999


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point version as the store keeps it.

    attributes   JSON object, UTF-8
    vectors      per field, in the order of the definition, as given, or None; empty where they were
                 not read
    expires_at   milliseconds since 1970 from which on the point is gone; None: never
    """

    key: bytes
    attributes: bytes
    text: str | None
    vectors: tuple[VectorValue | None, ...]
    expires_at: int | None = None


Shown = tuple[bytes, str | None, int | None]
"""What answers show of a point version: attributes as JSON, text, expiry."""


class Writer:
    """The statements of one write transaction."""

    def __init__(
        self, connection: Connection, readers: Sequence[blobs.Read], next_row: int
    ) -> None:
        self._connection = connection
        self._readers = readers
        self.next_row = next_row

    def rows_of(self, keys: Sequence[bytes], *, after: int | None = None) -> list[int]:
        """Find the current rows of those keys that exist, in no particular order.

        after   leaves out points that expire at that time or before: milliseconds since 1970
        """
        return _rows_of(self._connection, keys, after)

    def expired(self, by: int, *, most: int) -> list[int]:
        """Find at most `most` rows that expire at `by`, milliseconds since 1970, or before."""
        return _expired(self._connection, -1, by, most)

    def delete(self, rows: Sequence[int]) -> None:
        """Delete point versions."""
        numbers = [(row,) for row in rows]
        self._connection.executemany("DELETE FROM points WHERE row = ?", numbers)
        for field in range(len(self._readers)):
            self._connection.executemany(f"DELETE FROM vectors_{field} WHERE row = ?", numbers)  # noqa: S608  # a number

    def insert(self, points: Sequence[StoredPoint]) -> range:
        """Insert point versions whose keys are free; returns their rows."""
        rows = range(self.next_row, self.next_row + len(points))
        self._connection.executemany(
            "INSERT INTO points (row, key, attributes, text, expires_at) VALUES (?, ?, ?, ?, ?)",
            [
                (row, p.key, p.attributes, p.text, p.expires_at)
                for row, p in zip(rows, points, strict=True)
            ],
        )
        for field in range(len(self._readers)):
            self._connection.executemany(
                f"INSERT INTO vectors_{field} (row, vector) VALUES (?, ?)",  # noqa: S608  # a number
                [
                    (row, blobs.blob_of(vector))
                    for row, p in zip(rows, points, strict=True)
                    if (vector := p.vectors[field]) is not None
                ],
            )
        self.next_row = rows.stop
        return rows

    def points(self, rows: Sequence[int]) -> list[tuple[int, StoredPoint]]:
        """Read those point versions that exist, in the order of `rows`."""
        return _read(self._connection, rows, self._readers)

    def replace_segments(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Change which graph segments are in use."""
        self._connection.executemany("DELETE FROM segments WHERE name = ?", [(n,) for n in old])
        self._connection.executemany("INSERT INTO segments VALUES (?)", [(n,) for n in new])

    def keep(self, kind: str, key: str, body: bytes, made_at: int) -> KeptInfo:
        """Keep a value by kind and key; see `app.storage.artefacts`."""
        return artefacts.keep(self._connection, kind, key, body, made_at)

    def forget(self, kind: str, key: str) -> bool:
        """Remove such a value; tells whether there was one."""
        return artefacts.forget(self._connection, kind, key)


class Space(NamedTuple):
    """How a database file is filled.

    pages, free   of the file, and those of them that hold nothing
    shrinks       whether free pages can be given back (False: made before this was chosen)
    """

    pages: int
    free: int
    shrinks: bool


class StoreReader:
    """Reading of one collection's database, by any number of threads and processes."""

    def __init__(self, path: Path, *, fields: Sequence[VectorField]) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self.damage: StoredDataError | None = None
        """What a read or a write has found broken in the file; writes are refused from then on."""
        self._vectors = [blobs.reader_of(field) for field in fields]
        several = any(field.kind is VectorKind.TOKENS for field in fields)
        self.read_ahead = _SCANNED_TOKENS if several else _SCANNED
        """Points that may be held with their vectors by who reads many."""
        self._readers = ReadPool(path, self._found_damage)

    def _found_damage(self, damage: StoredDataError) -> None:
        self.damage = damage

    def close(self) -> None:
        """Let go of the file."""
        self._readers.close()

    def lacking(self) -> CorruptFile:
        """Say that a row which readers see is not there: damage that SQLite did not notice."""
        damage = CorruptFile(f"the database {self.path.name} lacks points", path=str(self.path))
        self._found_damage(damage)
        return damage

    def size_bytes(self) -> int:
        """Tell how large the database is on the disk, its log included."""
        return file_bytes(self.path) + self.log_bytes

    def rows(self) -> I64:
        """List every row, ascending: int64[points]."""
        with self._readers.connection() as connection:
            found = connection.execute(
                "SELECT row FROM points INDEXED BY sqlite_autoindex_points_1"
            )
            rows = np.fromiter((row for (row,) in found), dtype=np.int64)
        rows.sort()
        return rows

    def segments(self) -> list[str]:
        """List the graph segments in use."""
        with self._readers.connection() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM segments")]

    def kept(self, kind: str, key: str) -> Kept | None:
        """Read a value that is kept by kind and key."""
        with self._readers.connection() as connection:
            return artefacts.kept(connection, kind, key)

    def all_kept(self, kind: str | None) -> list[KeptInfo]:
        """List what is kept of a kind, or of all, by kind and key."""
        with self._readers.connection() as connection:
            return artefacts.all_kept(connection, kind)

    def space(self) -> Space:
        """Measure the file."""
        with self._readers.connection() as connection:
            (pages,), (free,), (mode,) = (
                connection.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_count", "freelist_count", "auto_vacuum")
            )
        return Space(pages, free, mode == _INCREMENTAL)

    @property
    def log_bytes(self) -> int:
        """Measure the write-ahead log alone, which costs less."""
        return file_bytes(self._log)

    def points(self, rows: Sequence[int], *, vectors: bool) -> dict[int, StoredPoint]:
        """Read those point versions that still exist, all on one consistent state.

        vectors   False leaves `vectors` empty
        """
        with self._readers.connection() as connection:
            connection.execute("BEGIN")
            found = _read(connection, rows, self._vectors if vectors else ())
            connection.execute("COMMIT")
        return dict(found)

    def expired(self, after: int, by: int) -> list[int]:
        """List the rows that expire after a time and at `by` or before: milliseconds since 1970."""
        with self._readers.connection() as connection:
            return _expired(connection, after, by, -1)

    def next_expiry(self, after: int) -> int | None:
        """Find the first time after a time at which a point expires: milliseconds since 1970."""
        with self._readers.connection() as connection:
            found: int | None
            (found,) = connection.execute(
                "SELECT MIN(expires_at) FROM points WHERE expires_at > ?", (after,)
            ).fetchone()
        return found

    def shown(self, rows: Sequence[int], *, texts: bool) -> dict[int, Shown]:
        """Read attributes as JSON, texts if wanted, and expiry of the rows that still exist.

        One statement, and no transaction around it: a row that is there is the same at any time.
        """
        found: dict[int, Shown] = {}
        with self._readers.connection() as connection:
            for part in _parts(rows):
                statement = _shown_statement(len(part), texts)
                for row, attributes, text, expires_at in connection.execute(statement, part):
                    found[row] = attributes, text, expires_at
        return found

    def by_keys(self, keys: Sequence[bytes], *, vectors: bool) -> dict[bytes, StoredPoint]:
        """Read points by key on one consistent state; those that do not exist are left out."""
        with self._readers.connection() as connection:
            connection.execute("BEGIN")
            rows = _rows_of(connection, keys, None)
            points = _read(connection, rows, self._vectors if vectors else ())
            connection.execute("COMMIT")
        return {point.key: point for _, point in points}

    def scan(self, rows: Sequence[int], *, vectors: bool) -> Iterator[tuple[int, StoredPoint]]:
        """Read point versions in order, `read_ahead` in memory at a time, skipping rows gone."""
        step = self.read_ahead if vectors else _SCANNED
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            found = self.points(some, vectors=vectors)
            yield from ((row, found[row]) for row in some if row in found)


class Store(StoreReader):
    """One collection's database. Writes are for one thread at a time; reads for any number."""

    def __init__(self, path: Path, *, fields: Sequence[VectorField], sync: bool) -> None:
        """Open a store that exists, of this version or an older one.

        fields   the collection's vector fields, in order

        Raises CorruptFile, IncompatibleFormat or StoredDataError if it is unusable, StorageFull if
        there is no room to bring an older one up to date.
        """
        super().__init__(path, fields=fields)
        self._writes = WriteConnection(path, "write", sync=sync)
        try:
            schema.upgrade(self._writes.connection, path)
            (last,) = self._writes.connection.execute(
                "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'points'), 0)"
            ).fetchone()
            self._packed: tuple[int, int] = self._writes.connection.execute(
                "SELECT last_row, points FROM packed"
            ).fetchone()
        except DatabaseError as exc:
            self._writes.close()
            raise translated(exc, path) from exc
        except BaseException:
            self._writes.close()
            raise
        self._next_row: int = last + 1

    @staticmethod
    def create(path: Path, *, fields: int) -> None:
        """Make a new, empty database with `fields` vector fields."""
        connection = connect(path, "create")
        try:
            schema.create(connection, path, fields=fields)
        finally:
            connection.close()
        reached(WritePoint.STORE_CREATED)

    def close(self) -> None:
        """Let go of the file."""
        super().close()
        self._writes.close()

    def write(self, work: Callable[[Writer], None]) -> None:
        """Run `work` as one durable transaction: all of it, or nothing.

        Raises StorageFull, StorageReadOnly, StoredDataError, or whatever `work` raises; then
        nothing of it is seen. If the disk refused to sync the commit, a crash before the next
        write may still bring that one back, as a whole; the next write first makes sure that it
        cannot, and is refused for as long as the disk does not let it.
        """
        if self.damage is not None:
            raise self.damage.with_traceback(None)
        try:
            with self._writes.transaction() as connection:
                reached(WritePoint.STORE_BEGUN)
                writer = Writer(connection, self._vectors, self._next_row)
                work(writer)
                reached(WritePoint.STORE_WRITTEN)
        except CorruptFile as exc:
            self.damage = exc
            raise
        reached(WritePoint.STORE_COMMITTED)
        self._next_row = writer.next_row

    # ── upkeep: under the write lock, in steps of milliseconds ───────────────────────────────

    def gone_since_packing(self, points: int) -> int:
        """Count the point versions that went since the tables were packed.

        points   how many there are now
        """
        last_row, packed = self._packed
        return (self._next_row - 1 - last_row) - (points - packed)

    def pack(self, after: int, *, step_s: float) -> int | None:
        """Write rows after row `after` anew, close together, for about that many seconds.

        returns   the last row done, to go on from; None if there was none left

        A page of a table is joined with its neighbours only when two thirds of it are empty, so
        points that go here and there leave the file half again as large as what is in it. Rows
        that are taken out together and put back in order fill their pages.
        """
        until = time.perf_counter() + step_s
        tables = ["points", *(f"vectors_{field}" for field in range(len(self._vectors)))]
        with self._writes.transaction() as connection:
            while True:
                rows = connection.execute(
                    "SELECT row FROM points WHERE row > ? ORDER BY row LIMIT ?", (after, _PACKED)
                ).fetchall()
                if not rows:
                    break
                bounds = (rows[0][0], rows[-1][0])
                for table in tables:
                    taken = connection.execute(
                        f"SELECT * FROM {table} WHERE row BETWEEN ? AND ?",  # noqa: S608  # ours
                        bounds,
                    ).fetchall()
                    connection.execute(f"DELETE FROM {table} WHERE row BETWEEN ? AND ?", bounds)  # noqa: S608
                    if taken:
                        marks = _marks(taken[0])
                        connection.executemany(f"INSERT INTO {table} VALUES {marks}", taken)  # noqa: S608
                after = bounds[1]
                if time.perf_counter() >= until:
                    return after
        return None

    def packed(self, points: int) -> None:
        """Note that all rows were packed, when there are so many points."""
        now = (self._next_row - 1, points)
        with self._writes.transaction() as connection:
            connection.execute("UPDATE packed SET last_row = ?, points = ?", now)
        self._packed = now

    def give_back(self, *, step_s: float) -> None:
        """Move free pages to the end and cut them off, for about that many seconds.

        The file itself becomes shorter when the log is copied into it.
        """
        until = time.perf_counter() + step_s
        with self._writes.transaction() as connection:
            while time.perf_counter() < until:
                # Pages of one call, or one: some Pythons make one step of such a statement.
                connection.execute("PRAGMA incremental_vacuum(16)").fetchall()
                if connection.execute("PRAGMA freelist_count").fetchone() == (0,):
                    break

    def rewrite(self) -> None:
        """Copy the database into a new file that can shrink. Takes seconds for a gigabyte."""
        try:
            self._writes.connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            self._writes.connection.execute("VACUUM")
        except DatabaseError as exc:
            raise translated(exc, self.path) from exc

    def cut_log(self) -> bool:
        """Empty the write-ahead log; False if a reader still looks into it."""
        # Do not wait for readers: behind the write lock others would.
        self._writes.connection.execute("PRAGMA busy_timeout = 0")
        try:
            return self._writes.empty_log()
        finally:
            self._writes.connection.execute(f"PRAGMA busy_timeout = {PATIENCE_S * 1000}")

    def forget(self) -> None:
        """Give up what is held of the file in memory until it is used again."""
        self._writes.connection.execute("PRAGMA shrink_memory")
        self._readers.forget()

    def copy_log(self) -> None:
        """Copy the write-ahead log into the database as far as readers allow. Needs no lock."""
        connection = connect(self.path, "write")
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except DatabaseError as exc:
            raise translated(exc, self.path) from exc
        finally:
            connection.close()


@lru_cache(maxsize=2 * _CHUNK)
def _shown_statement(rows: int, texts: bool) -> str:
    """Write the statement for a number of rows once: it is also what SQLite's cache looks up."""
    marks = ",".join("?" * rows)
    text = "text" if texts else "NULL"
    return f"SELECT row, attributes, {text}, expires_at FROM points WHERE row IN ({marks})"  # noqa: S608


def _rows_of(connection: Connection, keys: Sequence[bytes], after: int | None) -> list[int]:
    lasting = "" if after is None else f" AND (expires_at IS NULL OR expires_at > {after:d})"
    return [
        row
        for part in _parts(keys)
        for (row,) in connection.execute(
            f"SELECT row FROM points WHERE key IN {_marks(part)}{lasting}",  # noqa: S608  # marks
            part,
        )
    ]


def _expired(connection: Connection, after: int, by: int, most: int) -> list[int]:
    found = connection.execute(
        "SELECT row FROM points WHERE expires_at > ? AND expires_at <= ? LIMIT ?", (after, by, most)
    )
    return [row for (row,) in found]


def _read(
    connection: Connection, rows: Sequence[int], readers: Sequence[blobs.Read]
) -> list[tuple[int, StoredPoint]]:
    """Read point versions with the vectors that there are readers for, in order of `rows`."""
    found: dict[int, StoredPoint] = {}
    for part in _parts(rows):
        marks = _marks(part)
        vectors = [
            {
                row: read(blob)
                for row, blob in connection.execute(
                    f"SELECT row, vector FROM vectors_{field} WHERE row IN {marks}",  # noqa: S608
                    part,
                )
            }
            for field, read in enumerate(readers)
        ]
        for row, key, attributes, text, expires_at in connection.execute(
            f"SELECT row, key, attributes, text, expires_at FROM points WHERE row IN {marks}",  # noqa: S608
            part,
        ):
            own = tuple(by_row.get(row) for by_row in vectors)
            found[row] = StoredPoint(key, attributes, text, own, expires_at)
    return [(row, found[row]) for row in rows if row in found]


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield list(values[start : start + _CHUNK])


def _marks(values: Sequence[Any]) -> str:
    return "(" + ",".join("?" * len(values)) + ")"


def attributes_from_json(blob: bytes) -> dict[str, Any]:
    """Decode stored attributes. Raises CorruptFile for what is not JSON."""
    try:
        decoded: dict[str, Any] = orjson.loads(blob)
    except orjson.JSONDecodeError as exc:
        raise CorruptFile("the attributes of a stored point are damaged") from exc
    return decoded
