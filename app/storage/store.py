"""The durable truth of one collection: points by row, in SQLite.

A row is one version of a point. Rows are numbered upwards and never used twice, and an update is a
new row, so a row that exists always means the same point with the same contents: readers may look
rows up whenever they like and either find exactly what they searched, or learn that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.storage.database import Connection, ReadPool, connect, transaction
from app.types import F32, I64

_CHUNK = 500  # parameters of one IN (…): below SQLite's oldest default limit of 999


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point version as the store keeps it.

    attributes   JSON object, UTF-8
    vectors      per field, in the order of the definition: float32[dimension] as given, or None
    """

    key: bytes
    attributes: bytes
    text: str | None
    vectors: tuple[F32 | None, ...]


@dataclass(frozen=True, slots=True)
class StoredText:
    """The parts of a point version that answers show: no vectors."""

    row: int
    key: bytes
    attributes: bytes
    text: str | None


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
        return [
            pair for part in _parts(rows) for pair in _read(self._connection, part, self._fields)
        ]

    def replace_segments(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Change which graph segments are in use."""
        self._connection.executemany("DELETE FROM segments WHERE name = ?", [(n,) for n in old])
        self._connection.executemany("INSERT INTO segments VALUES (?)", [(n,) for n in new])


class Store:
    """One collection's database. Writes are for one thread at a time; reads for any number."""

    def __init__(self, path: Path, *, fields: int, sync: bool) -> None:
        self.path = path
        self._fields = fields
        self._write_connection = connect(path, sync=sync)
        self._readers = ReadPool(path)
        (last,) = self._write_connection.execute(
            "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'points'), 0)"
        ).fetchone()
        self._next_row: int = last + 1

    @staticmethod
    def create(path: Path, *, fields: int) -> None:
        """Make a new, empty database with `fields` vector fields."""
        connection = connect(path)
        try:
            with transaction(connection, path):
                schema = resources.files("app.storage").joinpath("schema.sql").read_text("utf-8")
                for statement in schema.split(";"):
                    if statement.strip():
                        connection.execute(statement)
                for field in range(fields):
                    connection.execute(
                        f"CREATE TABLE vectors_{field} "
                        "(row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT"
                    )
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the files."""
        self._readers.close()
        self._write_connection.close()

    def write(self, work: Callable[[Writer], None]) -> None:
        """Run `work` as one durable transaction: all of it, or nothing.

        Raises StorageFull, CorruptFile, or whatever `work` raises; then nothing happened.
        """
        with transaction(self._write_connection, self.path) as connection:
            writer = Writer(connection, self._fields, self._next_row)
            work(writer)
        self._next_row = writer.next_row

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

    def rows_of(self, keys: Sequence[bytes]) -> list[int]:
        """Find the rows of those keys that exist, in no particular order."""
        with self._readers.connection() as connection:
            return _rows_of(connection, keys)

    def texts(self, rows: Sequence[int]) -> dict[int, StoredText]:
        """Read what answers show, for those rows that still exist."""
        found: dict[int, StoredText] = {}
        with self._readers.connection() as connection:
            for part in _parts(rows):
                for row in connection.execute(
                    "SELECT row, key, attributes, text FROM points WHERE row IN " + _marks(part),  # noqa: S608  # only marks
                    part,
                ):
                    found[row[0]] = StoredText(*row)
        return found

    def vectors(self, field: int, rows: Sequence[int]) -> dict[int, F32]:
        """Read the vectors of one field, as given, for those rows that have one."""
        found: dict[int, F32] = {}
        with self._readers.connection() as connection:
            for part in _parts(rows):
                for row, blob in connection.execute(
                    f"SELECT row, vector FROM vectors_{field} WHERE row IN " + _marks(part),  # noqa: S608
                    part,
                ):
                    found[row] = np.frombuffer(blob, dtype="<f4")
        return found

    def by_keys(self, keys: Sequence[bytes], *, vectors: bool) -> dict[bytes, StoredPoint]:
        """Read points by key on one consistent state; those that do not exist are left out."""
        fields = self._fields if vectors else 0
        with self._readers.connection() as connection:
            connection.execute("BEGIN")
            rows = _rows_of(connection, keys)
            points = [pair for part in _parts(rows) for pair in _read(connection, part, fields)]
            connection.execute("COMMIT")
        return {point.key: point for _, point in points}

    def scan(self, rows: Sequence[int]) -> Iterator[tuple[int, StoredPoint]]:
        """Read whole point versions in chunks, in order, skipping rows that are gone."""
        for part in _parts(rows):
            with self._readers.connection() as connection:
                connection.execute("BEGIN")
                points = _read(connection, part, self._fields)
                connection.execute("COMMIT")
            yield from points


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
    """Read up to `_CHUNK` point versions with their first `fields` vectors, in order of `rows`."""
    marks = _marks(rows)
    vectors = [
        {
            row: np.frombuffer(blob, dtype="<f4")
            for row, blob in connection.execute(
                f"SELECT row, vector FROM vectors_{field} WHERE row IN {marks}",  # noqa: S608
                rows,
            )
        }
        for field in range(fields)
    ]
    points = {
        row: StoredPoint(key, attributes, text, tuple(by_row.get(row) for by_row in vectors))
        for row, key, attributes, text in connection.execute(
            f"SELECT row, key, attributes, text FROM points WHERE row IN {marks}",  # noqa: S608
            rows,
        )
    }
    return [(row, points[row]) for row in rows if row in points]


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield list(values[start : start + _CHUNK])


def _marks(values: Sequence[Any]) -> str:
    return "(" + ",".join("?" * len(values)) + ")"


def attributes_from_json(blob: bytes) -> dict[str, Any]:
    """Decode stored attributes."""
    decoded: dict[str, Any] = orjson.loads(blob)
    return decoded
