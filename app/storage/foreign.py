"""A store that may come from anyone, opened so that nothing in it is trusted.

The order matters. The schema is compared first, word for word, with what the service itself makes:
no trigger, view, generated column, check or expression of somebody else's is ever run. Then SQLite
looks through the whole file. Only then are rows read, and every value is taken for what it is and
not for what its column promises. The file is opened immutable (no log or journal beside it is
looked at), not mapped, and for reading only.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.errors import InvalidSnapshot
from app.storage.database import DatabaseError, connect_foreign, in_memory
from app.storage.schema import VERSION, statements

_MOST_ROW = 2**62  # what comes next must stay far from SQLite's last number


_WRITABLE = (b"\x01\x01", b"\x02\x02")  # write and read version: by a journal, by a log


class ForeignStore:
    """An unchecked database. For one thread; `close` lets go of it."""

    def __init__(self, path: Path, *, fields: int) -> None:
        """Open a file, reading nothing yet. Raises InvalidSnapshot."""
        self._fields = fields
        self._version = 0
        # A database that asks for a newer SQLite to write it can be read, and is of no use.
        # Source: "Database File Format", 1.3.4, https://www.sqlite.org/fileformat.html
        with path.open("rb") as file:
            if file.read(20)[18:] not in _WRITABLE:
                raise InvalidSnapshot("the store of the snapshot cannot be written by this SQLite")
        with _suspicious():
            self._connection = connect_foreign(path)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def check(self) -> int:
        """Hold schema, structure and row numbers against a sound store; returns its points.

        Raises InvalidSnapshot, naming what is wrong.
        """
        with _suspicious():
            self._check_schema()
            (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise InvalidSnapshot("the store of the snapshot is damaged: its pages contradict")
            self._check_rows()
            points: int
            (points,) = self._connection.execute("SELECT COUNT(*) FROM points").fetchone()
        return points

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Read (key, attributes, text, expiry, vector of each field), of any types or None, by row.

        One row is in memory at a time. Raises InvalidSnapshot.
        """
        expiry = "p.expires_at" if self._version >= 1 else "NULL"
        vectors = "".join(f", v{field}.vector" for field in range(self._fields))
        joins = " ".join(
            f"LEFT JOIN vectors_{field} v{field} ON v{field}.row = p.row"
            for field in range(self._fields)
        )
        with _suspicious():
            yield from self._connection.execute(
                f"SELECT p.key, p.attributes, p.text, {expiry}{vectors} FROM points p {joins}"  # noqa: S608
                " ORDER BY p.row"
            )

    def artefacts(self) -> Iterator[tuple[Any, ...]]:
        """Read (kind, key, body, time) of what is kept, of any types. Raises InvalidSnapshot."""
        if self._version >= 2:
            with _suspicious():
                yield from self._connection.execute(
                    "SELECT kind, key, body, made_at FROM artefacts"
                )

    def _check_schema(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        self._version = version
        if version > VERSION:
            raise InvalidSnapshot(
                f"the store of the snapshot has version {version}, this service reads up to "
                f"{VERSION}",
                found=version,
                expected=VERSION,
            )
        (encoding,) = self._connection.execute("PRAGMA encoding").fetchone()
        if encoding != "UTF-8" or _schema_of(self._connection) != _sound(version, self._fields):
            raise InvalidSnapshot(
                "the store of the snapshot has other tables than its definition and version ask for"
            )

    def _check_rows(self) -> None:
        counted = ("points", "artefacts") if self._version >= 2 else ("points",)
        found = self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        sequence = dict(found)
        if len(sequence) != len(found) or set(sequence) - set(counted):
            raise InvalidSnapshot("the store of the snapshot counts its rows wrongly")
        for table in counted:
            self._check_sequence(table, sequence.get(table, 0))
        last = sequence.get("points", 0)
        if self._version >= 1:
            packed = self._connection.execute("SELECT last_row, points FROM packed").fetchall()
            sound = len(packed) == 1 and all(type(n) is int and 0 <= n <= last for n in packed[0])
            if not sound:
                raise InvalidSnapshot("the store of the snapshot counts its packing wrongly")
        if self._connection.execute("SELECT 1 FROM segments LIMIT 1").fetchone():
            raise InvalidSnapshot("the store of the snapshot lists segments, which it cannot have")
        for field in range(self._fields):
            if self._connection.execute(
                f"SELECT 1 FROM vectors_{field} WHERE row NOT IN (SELECT row FROM points) LIMIT 1"  # noqa: S608
            ).fetchone():
                raise InvalidSnapshot("the store of the snapshot has a vector without a point")

    def _check_sequence(self, table: str, last: object) -> None:
        """Hold the rows of a table against the number that says which comes next."""
        least, most = self._connection.execute(f"SELECT MIN(row), MAX(row) FROM {table}").fetchone()  # noqa: S608  # ours
        low = least is not None and least < 1
        if type(last) is not int or low or not (most or 0) <= last < _MOST_ROW:
            raise InvalidSnapshot("the store of the snapshot counts its rows wrongly")


Schema = set[tuple[str, str, str, str | None]]
"""What a database is made of: (type, name, table, statement without comments and spacing)."""


@lru_cache(maxsize=64)
def _sound(version: int, fields: int) -> Schema:
    """Tell the schema of a sound store of some version; empty for a version there never was."""
    if not 0 <= version <= VERSION:
        return set()
    with in_memory() as connection:
        for statement in statements(fields, version):
            connection.execute(statement)
        return _schema_of(connection)


def _schema_of(connection: Any) -> Schema:
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    return {(kind, name, table, _plain(sql)) for kind, name, table, sql in found}


def _plain(sql: object) -> str | None:
    # Our statements hold no quotes, so what follows `--` up to the end of a line is a comment in
    # every text that ends up equal to one of them.
    if not isinstance(sql, str):
        return None
    # And spaces are SQLite's own: what else Unicode calls a space is part of a name there.
    return re.sub(r"[ \t\n\f\r]+", " ", re.sub(r"--[^\n]*", " ", sql)).strip(" ")


@contextlib.contextmanager
def _suspicious() -> Iterator[None]:
    """Take what SQLite refuses for what it is here: a file that is no sound store."""
    try:
        yield
    except (DatabaseError, OverflowError, UnicodeDecodeError) as exc:
        # The last: Python reads SQLite's messages as UTF-8, and damage can stand in one.
        raise InvalidSnapshot("the store of the snapshot is damaged, or no database") from exc
