"""Every durable step, by name: where a crash may happen, and a test lets one happen.

A step calls `reached` with its name; normally nobody listens. `tests/crash` listens, and kills the
process at the n-th time of a name. A new durable step is a line in the table below and a call
where it is done; tests hold that every name is reached, and that nothing that changes files in the
engine does without.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class WritePoint(Enum):
    """What has just been done when the point is reached."""

    # A transaction of a collection's store.
    STORE_CREATED = "store: made, empty"
    STORE_BEGUN = "store: transaction begun"
    STORE_WRITTEN = "store: statements run, not committed"
    STORE_COMMITTED = "store: committed, not published"
    STORE_PUBLISHED = "store: published, not answered"
    # The log of either database.
    LOG_SETTLED = "log: moved into the database"
    # The list of collections.
    CATALOG_WRITTEN = "catalog: statements run, not committed"
    CATALOG_COMMITTED = "catalog: committed"
    # A collection's birth and end.
    COLLECTION_MADE = "create: files made under another name"
    COLLECTION_NAMED = "create: folder named, not listed"
    COLLECTION_LISTED = "create: listed and unmarked"
    DROP_MARKED = "drop: folder marked"
    DROP_UNLISTED = "drop: no longer listed"
    DROP_RENAMED = "drop: folder renamed"
    DROP_REMOVED = "drop: folder removed"
    # A folder of derived files, segment or covers; all but the last in the build process.
    FOLDER_BEGUN = "folder: made under another name"
    FOLDER_SYNCED = "folder: files written and synced"
    FOLDER_DESCRIBED = "folder: description written and synced"
    FOLDER_READY = "folder: entries synced, not named"
    FOLDER_NAMED = "folder: named, its parent not synced"
    FOLDER_REMOVED = "folder: an old one removed"
    # Which derived folders count.
    SEGMENTS_REPLACED = "segments: list committed, not published"
    SEGMENTS_SWAPPED = "segments: published, old ones not removed"
    COVERS_SWITCHED = "covers: in use, old ones not removed"
    WORDS_SHOWN = "words: in use"
    # Snapshots, beside the collections.
    SNAPSHOT_MADE = "snapshot: file whole and synced, not named"
    SNAPSHOT_NAMED = "snapshot: named, not answered"
    SNAPSHOT_DROPPED = "snapshot: removed"
    # Opening.
    DAMAGE_UNLISTED = "recovery: damaged segments taken off the list"
    # Room kept for a full disk.
    RESERVE_MADE = "reserve: made"
    RESERVE_GIVEN = "reserve: given up"


Observer = Callable[[WritePoint], None]


def _nobody(point: WritePoint) -> None:
    """Do nothing."""


_observer: Observer = _nobody


def reached(point: WritePoint) -> None:
    """Tell the observer, if there is one, that a durable step has been done."""
    _observer(point)


def observe(observer: Observer | None) -> None:
    """Have `observer` called at every point of this process, or nobody; for tests."""
    global _observer
    _observer = _nobody if observer is None else observer
