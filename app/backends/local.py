"""The embedded engine as a backend: the default, in this process and on this machine's disk."""

from __future__ import annotations

from app.backends.base import Backend
from app.engine.database import Database


class LocalBackend(Database):
    """`app.engine.database.Database` under the contract of `app.backends.base.Backend`."""


def _fits(database: LocalBackend) -> Backend:
    return database  # checked by mypy: the engine need not know the protocol
