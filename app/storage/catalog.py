"""Which collections exist: one small database for the whole data directory.

A collection exists from the commit of its entry to the commit that removes it. Its folder carries
a name that is never used again, so a dropped and recreated collection cannot meet its old files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.errors import IncompatibleFormat
from app.storage.database import DatabaseError, connect, transaction, translated

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
        self._connection = connect(path, "create")
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except DatabaseError as exc:
            self._connection.close()
            raise translated(exc, path) from exc
        self.new = version == 0
        if self.new:
            with transaction(self._connection, path) as connection:
                connection.execute(
                    "CREATE TABLE collections (name TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE,"
                    " definition TEXT NOT NULL, created_at TEXT NOT NULL) STRICT"
                )
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            self._connection.close()
            raise IncompatibleFormat(
                f"the data directory has format {version}, this service reads {FORMAT}",
                path=str(path),
                found=version,
                expected=FORMAT,
            )

    def entries(self) -> list[Entry]:
        """List all collections by name."""
        rows = self._connection.execute(
            "SELECT name, folder, definition, created_at FROM collections ORDER BY name"
        )
        return [Entry(*row) for row in rows]

    def add(self, entry: Entry) -> None:
        """Make a collection exist."""
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO collections VALUES (?, ?, ?, ?)",
                (entry.name, entry.folder, entry.definition, entry.created_at),
            )

    def change(self, name: str, definition: str) -> None:
        """Replace a collection's definition."""
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "UPDATE collections SET definition = ? WHERE name = ?", (definition, name)
            )

    def replace(self, entry: Entry) -> None:
        """Let a name mean another collection, from one moment to the next."""
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "UPDATE collections SET folder = ?, definition = ?, created_at = ? WHERE name = ?",
                (entry.folder, entry.definition, entry.created_at, entry.name),
            )

    def remove(self, name: str) -> None:
        """Make a collection not exist."""
        with transaction(self._connection, self._path) as connection:
            connection.execute("DELETE FROM collections WHERE name = ?", (name,))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
