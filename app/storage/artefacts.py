"""Small values that a collection keeps by kind and key, in its store.

A value is bytes that mean something to who keeps them, and nothing here. Its row is its revision:
a value that is replaced gets a new one, and none is used twice.
"""

from __future__ import annotations

from datetime import datetime, timezone

from app.errors import LimitExceeded
from app.storage.database import Connection
from app.types import (
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_KEPT_BYTES_TOGETHER,
    Kept,
    KeptInfo,
)


def keep(connection: Connection, kind: str, key: str, body: bytes, made_at: int) -> KeptInfo:
    """Put a value in the place of the one of its kind and key, if there is one.

    made_at   milliseconds since 1970

    Raises LimitExceeded where it is too large, or there is too much of the others.
    """
    if len(body) > MOST_KEPT_BYTES:
        raise LimitExceeded(
            f"this comes to {len(body)} bytes; at most {MOST_KEPT_BYTES} are kept under one name",
            limit=MOST_KEPT_BYTES,
        )
    forget(connection, kind, key)
    others, together = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM artefacts"
    ).fetchone()
    if others >= MOST_KEPT:
        raise LimitExceeded(
            f"the collection keeps {others} such things, which is the most", limit=MOST_KEPT
        )
    if together + len(body) > MOST_KEPT_BYTES_TOGETHER:
        raise LimitExceeded(
            f"the collection keeps {together} bytes of such things; with this it would be more "
            f"than {MOST_KEPT_BYTES_TOGETHER}",
            limit=MOST_KEPT_BYTES_TOGETHER,
        )
    row = connection.execute(
        "INSERT INTO artefacts (kind, key, body, made_at) VALUES (?, ?, ?, ?)",
        (kind, key, body, made_at),
    ).lastrowid
    assert row is not None
    return KeptInfo(kind, key, len(body), _instant(made_at), row)


def forget(connection: Connection, kind: str, key: str) -> bool:
    """Remove a value; tells whether there was one."""
    found = connection.execute("DELETE FROM artefacts WHERE kind = ? AND key = ?", (kind, key))
    return bool(found.rowcount)


def kept(connection: Connection, kind: str, key: str) -> Kept | None:
    """Read a value."""
    found = connection.execute(
        "SELECT row, body, made_at FROM artefacts WHERE kind = ? AND key = ?", (kind, key)
    ).fetchone()
    if found is None:
        return None
    row, body, made_at = found
    return Kept(KeptInfo(kind, key, len(body), _instant(made_at), row), body)


def all_kept(connection: Connection, kind: str | None) -> list[KeptInfo]:
    """List the values of a kind, or of all, by kind and key, without reading them."""
    found = connection.execute(
        "SELECT kind, key, LENGTH(body), made_at, row FROM artefacts"
        " WHERE kind = ?1 OR ?1 IS NULL ORDER BY kind, key",
        (kind,),
    )
    return [
        KeptInfo(own, key, size, _instant(made_at), row) for own, key, size, made_at, row in found
    ]


def _instant(made_at: int) -> str:
    """Write milliseconds since 1970 as answers do."""
    when = datetime.fromtimestamp(made_at / 1000, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
