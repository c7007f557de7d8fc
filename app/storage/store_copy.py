"""An online copy of a store: what it held at one moment, while writers go on.

The copy is a new database of the newest schema, filled table by table inside one transaction of one
connection, which reads the store through WAL: it sees the state of the moment it was pinned, and
blocks nobody. It holds no free pages, so nothing of what was deleted before, and no list of
segments: those are derived, and stay behind. Row numbers stay, and so does the number that comes
next.

SQLite's own ways were the alternatives. The backup API copies pages, and with them deleted
contents and whatever older services left in the schema. `VACUUM INTO` begins its transaction
itself, so that nothing outside can be read at the same moment, and a definition must be.

What it costs the store: its log cannot be emptied past the pinned moment until the copy is done,
and grows by what is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from app.storage.database import DatabaseError, connect, readonly_uri, translated
from app.storage.store import Store

_ROWS = 20_000  # copied by one statement: tens of megabytes, a fraction of a second

Progress = Callable[[int, int], None]
"""Called with (rows copied, rows in all) after each statement; rows of all tables."""


class StoreCopy:
    """A copy under way. For one thread; a context that lets go of both files."""

    def __init__(self, source: Path, target: Path, *, fields: int) -> None:
        """Make the new database, and open the store beside it.

        Raises StorageFull, CorruptFile or StoredDataError, as do the other methods.
        """
        Store.create(target, fields=fields)
        self._target = target
        self._tables = ("points", *(f"vectors_{field}" for field in range(fields)), "artefacts")
        self._connection = connect(target, "write", sync=False)
        try:
            # Nobody reads the copy before it is whole: no journal, and synced at the end by others.
            self._connection.execute("PRAGMA main.journal_mode = DELETE")
            self._connection.execute("PRAGMA main.journal_mode = OFF")
            self._connection.execute("PRAGMA main.synchronous = OFF")
            self._connection.execute("ATTACH ? AS source", (readonly_uri(source),))
        except DatabaseError as exc:
            self._connection.close()
            raise translated(exc, source) from exc

    def __enter__(self) -> StoreCopy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def pin(self) -> None:
        """Choose this moment: what is committed now will be copied, and nothing later.

        Takes microseconds. Whoever wants something else to agree with it holds the write lock.
        """
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT row FROM source.points LIMIT 1").fetchone()
        except DatabaseError as exc:
            raise translated(exc, self._target) from exc

    def run(self, progress: Progress) -> int:
        """Copy everything; returns the number of points."""
        connection = self._connection
        try:
            counts = [self._count(f"source.{table}") for table in self._tables]
            copied = 0
            for table in self._tables:
                columns = ", ".join(
                    name
                    for (name,) in connection.execute(
                        "SELECT name FROM pragma_table_info(?)", (table,)
                    )
                )
                last = -1
                while True:
                    rows = connection.execute(
                        f"INSERT INTO main.{table} ({columns})"  # noqa: S608  # names of our own
                        f" SELECT {columns} FROM source.{table} WHERE row > ? ORDER BY row LIMIT ?",
                        (last, _ROWS),
                    ).rowcount
                    if rows == 0:
                        break
                    (last,) = connection.execute(f"SELECT MAX(row) FROM main.{table}").fetchone()  # noqa: S608
                    copied += rows
                    progress(copied, sum(counts))
            connection.execute("DELETE FROM main.sqlite_sequence")
            connection.execute(
                "INSERT INTO main.sqlite_sequence (name, seq)"
                " SELECT name, seq FROM source.sqlite_sequence"
                " WHERE name IN ('points', 'artefacts')"
            )
            connection.execute(
                "UPDATE main.packed SET points = ?,"
                " last_row = COALESCE("
                "(SELECT seq FROM main.sqlite_sequence WHERE name = 'points'), 0)",
                (counts[0],),
            )
            connection.execute("COMMIT")
        except DatabaseError as exc:
            raise translated(exc, self._target) from exc
        return counts[0]

    def _count(self, table: str) -> int:
        found: int
        (found,) = self._connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
        return found
