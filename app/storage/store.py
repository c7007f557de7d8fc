"""The durable truth of one collection: points by row, in SQLite.

A row is one version of a point. Rows are numbered upwards and never used twice, and an update is a
new row, so a row that exists always means the same point with the same contents: readers may look
rows up whenever they like and either find exactly what they searched, or learn that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.errors import CorruptFile, StoredDataError
from app.storage.database import (
    Connection,
    DatabaseError,
    ReadPool,
    WriteConnection,
    connect,
    transaction,
    translated,
)
from app.storage.files import file_bytes
from app.storage.write_points import WritePoint, reached
from app.types import F32, I64

VERSION = 0
"""Of the schema, as `PRAGMA user_version`: the one that is written, and the newest that is read."""

_SCANNED = 2000  # points read ahead by a scan: some megabytes with their vectors
_CHUNK = 500  # parameters of one IN (…): below SQLite's oldest default limit of 999


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point version as the store keeps it.

    attributes   JSON object, UTF-8
    vectors      per field, in the order of the definition: float32[dimension] as given, or None;
                 empty where they were not read
    """

    key: bytes
    attributes: bytes
    text: str | None
    vectors: tuple[F32 | None, ...]


class Writer:
    """The statements of one write transaction."""

    def __init__(self, connection: Connection, fields: int, next_row: int) -> None:
        self._connection = connection
        self._fields = fields
        self.next_row = next_row

    def rows_of(self, keys: Sequence[bytes]) -> list[int]:
        """Find the current rows of those keys that exist, in no particular order."""
        return _rows_of(self._connection, keys)

    def delete(self, rows: Sequence[int]) -> None:
        """Delete point versions."""
        numbers = [(row,) for row in rows]
        self._connection.executemany("DELETE FROM points WHERE row = ?", numbers)
        for field in range(self._fields):
            self._connection.executemany(f"DELETE FROM vectors_{field} WHERE row = ?", numbers)  # noqa: S608  # a number

    def insert(self, points: Sequence[StoredPoint]) -> range:
        """Insert point versions whose keys are free; returns their rows."""
        rows = range(self.next_row, self.next_row + len(points))
        self._connection.executemany(
            "INSERT INTO points (row, key, attributes, text) VALUES (?, ?, ?, ?)",
            [(row, p.key, p.attributes, p.text) for row, p in zip(rows, points, strict=True)],
        )
        for field in range(self._fields):
            self._connection.executemany(
                f"INSERT INTO vectors_{field} (row, vector) VALUES (?, ?)",  # noqa: S608  # a number
                [
                    (row, np.asarray(vector, dtype="<f4").tobytes())
                    for row, p in zip(rows, points, strict=True)
                    if (vector := p.vectors[field]) is not None
                ],
            )
        self.next_row = rows.stop
        return rows

    def points(self, rows: Sequence[int]) -> list[tuple[int, StoredPoint]]:
        """Read those point versions that exist, in the order of `rows`."""
        return _read(self._connection, rows, self._fields)

    def replace_segments(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Change which graph segments are in use."""
        self._connection.executemany("DELETE FROM segments WHERE name = ?", [(n,) for n in old])
        self._connection.executemany("INSERT INTO segments VALUES (?)", [(n,) for n in new])


class StoreReader:
    """Reading of one collection's database, by any number of threads and processes."""

    def __init__(self, path: Path, *, fields: int) -> None:
        self.path = path
        self.damage: StoredDataError | None = None
        """What a read or a write has found broken in the file; writes are refused from then on."""
        self._fields = fields
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
        return file_bytes(self.path) + file_bytes(self.path.with_name(self.path.name + "-wal"))

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

    def points(self, rows: Sequence[int], *, vectors: bool) -> dict[int, StoredPoint]:
        """Read those point versions that still exist, all on one consistent state.

        vectors   False leaves `vectors` empty
        """
        with self._readers.connection() as connection:
            connection.execute("BEGIN")
            found = _read(connection, rows, self._fields if vectors else 0)
            connection.execute("COMMIT")
        return dict(found)

    def shown(self, rows: Sequence[int], *, texts: bool) -> dict[int, tuple[bytes, str | None]]:
        """Read attributes as JSON, and texts if wanted, of the rows that still exist.

        One statement, and no transaction around it: a row that is there is the same at any time.
        """
        found: dict[int, tuple[bytes, str | None]] = {}
        with self._readers.connection() as connection:
            for part in _parts(rows):
                statement = _shown_statement(len(part), texts)
                for row, attributes, text in connection.execute(statement, part):
                    found[row] = attributes, text
        return found

    def by_keys(self, keys: Sequence[bytes], *, vectors: bool) -> dict[bytes, StoredPoint]:
        """Read points by key on one consistent state; those that do not exist are left out."""
        with self._readers.connection() as connection:
            connection.execute("BEGIN")
            rows = _rows_of(connection, keys)
            points = _read(connection, rows, self._fields if vectors else 0)
            connection.execute("COMMIT")
        return {point.key: point for _, point in points}

    def scan(self, rows: Sequence[int], *, vectors: bool) -> Iterator[tuple[int, StoredPoint]]:
        """Read point versions in order, a few thousand in memory at a time, skipping rows gone."""
        for start in range(0, len(rows), _SCANNED):
            some = rows[start : start + _SCANNED]
            found = self.points(some, vectors=vectors)
            yield from ((row, found[row]) for row in some if row in found)


class Store(StoreReader):
    """One collection's database. Writes are for one thread at a time; reads for any number."""

    def __init__(self, path: Path, *, fields: int, sync: bool) -> None:
        """Open a store that exists. Raises CorruptFile or StoredDataError if it is unusable."""
        super().__init__(path, fields=fields)
        self._writes = WriteConnection(path, "write", sync=sync)
        try:
            (last,) = self._writes.connection.execute(
                "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'points'), 0)"
            ).fetchone()
        except DatabaseError as exc:
            self._writes.close()
            raise translated(exc, path) from exc
        self._next_row: int = last + 1

    @staticmethod
    def create(path: Path, *, fields: int) -> None:
        """Make a new, empty database with `fields` vector fields."""
        connection = connect(path, "create")
        try:
            with transaction(connection, path):
                for statement in schema_statements(fields):
                    connection.execute(statement)
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
                writer = Writer(connection, self._fields, self._next_row)
                work(writer)
                reached(WritePoint.STORE_WRITTEN)
        except CorruptFile as exc:
            self.damage = exc
            raise
        reached(WritePoint.STORE_COMMITTED)
        self._next_row = writer.next_row


def schema_statements(fields: int, schema: str | None = None) -> list[str]:
    """List the statements that make an empty store with `fields` vector fields.

    schema   the text of an older `schema.sql`; None takes the newest
    """
    if schema is None:
        schema = resources.files("app.storage").joinpath("schema.sql").read_text("utf-8")
    return [
        *(statement for statement in schema.split(";") if statement.strip()),
        *(
            f"CREATE TABLE vectors_{field} (row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT"
            for field in range(fields)
        ),
    ]


@lru_cache(maxsize=2 * _CHUNK)
def _shown_statement(rows: int, texts: bool) -> str:
    """Write the statement for a number of rows once: it is also what SQLite's cache looks up."""
    marks = ",".join("?" * rows)
    return (
        f"SELECT row, attributes, {'text' if texts else 'NULL'} FROM points WHERE row IN ({marks})"  # noqa: S608
    )


def _rows_of(connection: Connection, keys: Sequence[bytes]) -> list[int]:
    return [
        row
        for part in _parts(keys)
        for (row,) in connection.execute(
            "SELECT row FROM points WHERE key IN " + _marks(part),  # noqa: S608  # only marks
            part,
        )
    ]


def _read(
    connection: Connection, rows: Sequence[int], fields: int
) -> list[tuple[int, StoredPoint]]:
    """Read point versions with their first `fields` vectors, in order of `rows`."""
    found: dict[int, StoredPoint] = {}
    for part in _parts(rows):
        marks = _marks(part)
        vectors = [
            {
                row: np.frombuffer(blob, dtype="<f4")
                for row, blob in connection.execute(
                    f"SELECT row, vector FROM vectors_{field} WHERE row IN {marks}",  # noqa: S608
                    part,
                )
            }
            for field in range(fields)
        ]
        for row, key, attributes, text in connection.execute(
            f"SELECT row, key, attributes, text FROM points WHERE row IN {marks}",  # noqa: S608
            part,
        ):
            own = tuple(by_row.get(row) for by_row in vectors)
            found[row] = StoredPoint(key, attributes, text, own)
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
