"""The schema of a collection's database: made new, brought up to date.

`schema.sql` is the newest version. `PRAGMA user_version` says which one a database has, and
`_STEPS` holds what turns each older version into the next; a step is never edited once released.
Every way in (a reopened collection, a restored snapshot) goes through `upgrade`. A new version is a
step, and the text that `schema.sql` had before in `_OLDER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from app.errors import IncompatibleFormat
from app.storage.database import Connection, transaction

_STEPS: tuple[tuple[str, ...], ...] = (
    (  # 0 → 1: points may expire, tables are packed
        "ALTER TABLE points ADD COLUMN expires_at INTEGER",
        "CREATE INDEX points_by_expiry ON points (expires_at) WHERE expires_at IS NOT NULL",
        "CREATE TABLE packed (last_row INTEGER NOT NULL, points INTEGER NOT NULL) STRICT",
        "INSERT INTO packed VALUES (0, 0)",
    ),
    (  # 1 → 2: artefacts
        "CREATE TABLE artefacts (row INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
        " key TEXT NOT NULL, body BLOB NOT NULL, made_at INTEGER NOT NULL, UNIQUE (kind, key))"
        " STRICT",
    ),
)

VERSION = len(_STEPS)
"""Of the schema that this service writes; it reads this one and all before it."""

_OLDER: Mapping[int, str] = {
    0: """
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    text       TEXT
) STRICT;

CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
""",
    1: """
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    text       TEXT,
    expires_at INTEGER
) STRICT;

CREATE INDEX points_by_expiry ON points (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE packed (
    last_row INTEGER NOT NULL,
    points   INTEGER NOT NULL
) STRICT;

INSERT INTO packed VALUES (0, 0);

CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
""",
}
"""`schema.sql` as it was, by version: snapshots hold stores that were made so, word for word."""


def create(connection: Connection, path: Path, *, fields: int) -> None:
    """Make the tables of an empty database with `fields` vector fields."""
    with transaction(connection, path):
        for statement in statements(fields):
            connection.execute(statement)


def upgrade(connection: Connection, path: Path) -> None:
    """Bring a database to the newest version, in one transaction; the newest is left alone.

    Raises IncompatibleFormat if it was written by a newer service, and what `transaction` raises.
    """
    if version_of(connection, path) == VERSION:
        return
    with transaction(connection, path):
        for step in _STEPS[version_of(connection, path) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def version_of(connection: Connection, path: Path) -> int:
    """Read the version of a database. Raises IncompatibleFormat if it is from a newer service."""
    found: int
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise IncompatibleFormat(
            f"the collection's database has version {found}, this service reads up to {VERSION}",
            path=str(path),
            found=found,
            expected=VERSION,
        )
    return found


def statements(fields: int, version: int = VERSION) -> list[str]:
    """List what makes an empty store with `fields` vector fields, of this version or an older one.

    Raises KeyError for a version there never was.
    """
    if version == VERSION:
        schema = resources.files("app.storage").joinpath("schema.sql").read_text("utf-8")
    else:
        schema = _OLDER[version]
    return [
        *(statement for statement in _without_comments(schema).split(";") if statement.strip()),
        *(
            f"CREATE TABLE vectors_{field} (row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT"
            for field in range(fields)
        ),
        f"PRAGMA user_version = {version}",
    ]


def _without_comments(schema: str) -> str:
    return "\n".join(line.partition("--")[0] for line in schema.splitlines())
