"""Databases of every released version open, and become what a new one is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from app.errors import IncompatibleFormat
from app.storage import schema
from app.storage.database import connect
from app.storage.store import Store, StoredPoint, Writer
from app.types import Metric, VectorField

FIELD = VectorField("default", 1, Metric.L2)

VERSION_0 = """
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    text       TEXT
) STRICT;
CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
CREATE TABLE vectors_0 (row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
"""
"""What the first version made, with one vector field; never to be edited."""

VERSION_1 = """
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    text       TEXT,
    expires_at INTEGER
) STRICT;
CREATE INDEX points_by_expiry ON points (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE packed (last_row INTEGER NOT NULL, points INTEGER NOT NULL) STRICT;
INSERT INTO packed VALUES (0, 0);
CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
CREATE TABLE vectors_0 (row INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
PRAGMA user_version = 1;
"""
"""The version after, the same way."""


@pytest.fixture(params=[0, 1])
def version(request: pytest.FixtureRequest) -> int:
    """Give each older version."""
    number: int = request.param
    return number


@pytest.fixture
def old(tmp_path: Path, version: int) -> Path:
    """Give a database of an older version with one point."""
    path = tmp_path / "store.sqlite"
    made = sqlite3.connect(path)
    made.executescript((VERSION_0, VERSION_1)[version])
    made.execute("INSERT INTO points (row, key, attributes) VALUES (7, x'6b', x'7b7d')")
    made.execute("INSERT INTO vectors_0 VALUES (7, x'0000803f')")
    made.commit()
    made.close()
    return path


def test_an_older_store_opens_and_takes_points_that_expire(old: Path) -> None:
    store = Store(old, fields=[FIELD], sync=False)
    assert store.next_expiry(-1) is None
    new = StoredPoint(b"new", b"{}", "text", (np.ones(1, dtype=np.float32),), 5000)

    def insert(writer: Writer) -> None:
        writer.insert([new])

    store.write(insert)
    assert store.rows().tolist() == [7, 8]
    assert store.expired(-1, 4999) == []
    assert store.expired(-1, 5000) == [8]
    assert store.by_keys([b"k"], vectors=False)[b"k"].expires_at is None
    store.close()
    Store(old, fields=[FIELD], sync=False).close()


def test_an_older_store_takes_artefacts(old: Path) -> None:
    store = Store(old, fields=[FIELD], sync=False)
    assert store.all_kept(None) == []

    def keep(writer: Writer) -> None:
        writer.keep("kind", "key", b"body", 5)

    store.write(keep)
    kept = store.kept("kind", "key")
    assert kept is not None
    assert (kept.body, kept.info.created_at) == (b"body", "1970-01-01T00:00:00.005Z")
    store.close()


def columns_of(path: Path) -> set[tuple[object, ...]]:
    """Tables and indexes as queries see them: an altered table has another text than a new one."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        'SELECT s.type, s.name, c.name, c.type, c."notnull", c.pk FROM sqlite_schema s'
        " LEFT JOIN pragma_table_info(s.name) c"
    ).fetchall()
    connection.close()
    return set(found)


def test_an_upgraded_store_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    Store.create(new, fields=1)
    assert columns_of(old) != columns_of(new)
    for path in (old, new):
        Store(path, fields=[FIELD], sync=False).close()
        connection = connect(path, "read")
        assert schema.version_of(connection, path) == schema.VERSION
        connection.close()
    assert columns_of(old) == columns_of(new)


def test_older_statements_are_kept_as_they_were(old: Path, tmp_path: Path, version: int) -> None:
    made = sqlite3.connect(tmp_path / "made.sqlite", isolation_level=None)
    for statement in schema.statements(1, version=version):
        made.execute(statement)
    made.close()
    assert columns_of(tmp_path / "made.sqlite") == columns_of(old)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(old: Path) -> None:
    newer = sqlite3.connect(old)
    newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    newer.close()
    with pytest.raises(IncompatibleFormat, match="reads up to"):
        Store(old, fields=[FIELD], sync=False)
