"""Which collections exist: one small database for the whole data directory.

A collection exists from the commit of its entry to the commit that removes it. Its folder carries
a name that is never used again, so a dropped and recreated collection cannot meet its old files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.errors import IncompatibleFormat, LikewiseError
from app.storage.database import DatabaseError, WriteConnection, translated
from app.storage.write_points import WritePoint, reached

FORMAT = 1
"""Of the data directory; raised when older services could not read what this one writes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One collection: its name, its folder's name, its definition as JSON, its birth (RFC 3339)."""

    name: str
    folder: str
    definition: str
    created_at: str


class Catalog:
    """The list of collections. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the catalog.

        Raises IncompatibleFormat for the catalog of another format, CorruptFile for a damaged one.
        """
        self._path = path
        self._writes = WriteConnection(path, "create")
        try:
            (version,) = self._writes.connection.execute("PRAGMA user_version").fetchone()
        except DatabaseError as exc:
            self._writes.close()
            raise translated(exc, path) from exc
        self.new = version == 0
        if self.new:
            with self._writes.transaction() as connection:
                connection.execute(
                    "CREATE TABLE collections (name TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE,"
                    " definition TEXT NOT NULL, created_at TEXT NOT NULL) STRICT"
                )
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            self._writes.close()
            raise IncompatibleFormat(
                f"the data directory has format {version}, this service reads {FORMAT}",
                path=str(path),
                found=version,
                expected=FORMAT,
            )

    def entries(self) -> list[Entry]:
        """List all collections by name. Raises CorruptFile where the catalog is damaged."""
        try:
            rows = self._writes.connection.execute(
                "SELECT name, folder, definition, created_at FROM collections ORDER BY name"
            )
            return [Entry(*row) for row in rows]
        except DatabaseError as exc:
            raise translated(exc, self._path) from exc

    def add(self, entry: Entry) -> None:
        """Make a collection exist."""
        self._change(
            "INSERT INTO collections VALUES (?, ?, ?, ?)",
            (entry.name, entry.folder, entry.definition, entry.created_at),
        )

    def change(self, name: str, definition: str) -> None:
        """Replace a collection's definition."""
        self._change("UPDATE collections SET definition = ? WHERE name = ?", (definition, name))

    def replace(self, entry: Entry) -> None:
        """Let a name mean another collection, from one moment to the next."""
        self._change(
            "UPDATE collections SET folder = ?, definition = ?, created_at = ? WHERE name = ?",
            (entry.folder, entry.definition, entry.created_at, entry.name),
        )

    def remove(self, name: str) -> None:
        """Make a collection not exist."""
        self._change("DELETE FROM collections WHERE name = ?", (name,))

    def settled(self) -> bool:
        """Tell whether the last change is certain, after an error that left it open."""
        if not self._writes.in_doubt:
            return True
        try:
            self._writes.settle()
        except LikewiseError:
            return False
        return True

    def _change(self, statement: str, values: tuple[str, ...]) -> None:
        with self._writes.transaction() as connection:
            connection.execute(statement, values)
            reached(WritePoint.CATALOG_WRITTEN)
        reached(WritePoint.CATALOG_COMMITTED)

    def close(self) -> None:
        """Let go of the file."""
        self._writes.close()
