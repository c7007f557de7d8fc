"""Snapshots: what is asked of one, and what one looks like."""

from __future__ import annotations

from app.wire.base import WireModel


class CreateSnapshot(WireModel):
    """A snapshot to take; without a name it gets the collection's and the time."""

    name: str | None = None


class RestoreSnapshot(WireModel):
    """A collection to be: under the name it had if none is given, in place of one if `replace`."""

    collection: str | None = None
    replace: bool = False


class Snapshot(WireModel):
    """A snapshot that is kept.

    collection  what it was taken of
    size        bytes of the file
    sha256      of the file, hexadecimal
    version     of the service that took it
    """

    name: str
    collection: str
    points: int
    size: int
    sha256: str
    version: str
    created_at: str


class Snapshots(WireModel):
    """All snapshots, by name."""

    snapshots: list[Snapshot]
