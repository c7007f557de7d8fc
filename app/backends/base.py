"""Where collections live: the contract between the service and a vector database.

The embedded engine is one implementation; a distributed one can be another. Everything here is
synchronous and thread-safe: the service calls it from worker threads, `search_now` excepted.

Guarantees that every backend gives and `tests/contract` checks:

- A write that returned is durable and is seen by every later read.
- One call is atomic: all of it happens or nothing.
- A search returns `min(k, matching − offset)` hits, best score first, ties by id (integers before
  strings, then by value).
- Reads see one consistent state of the collection, and are never blocked by index builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.attributes.filter import Filter
from app.exchange import (
    Answer,
    CollectionInfo,
    CollectionStatistics,
    Page,
    Search,
    Selection,
    Statistics,
    Storage,
)
from app.types import AttributeValue, Definition, IndexSettings, Point, PointId, Projection, Record

__all__ = [
    "Answer",
    "Backend",
    "CollectionInfo",
    "CollectionStatistics",
    "Page",
    "Search",
    "Selection",
    "Statistics",
    "Storage",
]


class Backend(Protocol):
    """A vector database with named collections. Raises `CollectionNotFound` for unknown names."""

    def create(self, name: str, definition: Definition) -> tuple[CollectionInfo, bool]:
        """Create a collection; (info, False) if it exists with an equal definition.

        Raises DefinitionDiffers if it exists with another one.
        """
        ...

    def describe(self, name: str) -> CollectionInfo: ...

    def definition(self, name: str) -> Definition:
        """What `describe` says of the definition, at once: it is asked for every query."""
        ...

    def describe_all(self) -> list[CollectionInfo]:
        """All collections, by name."""
        ...

    def alter(
        self,
        name: str,
        *,
        schema: Mapping[str, str | None] | None,
        index: IndexSettings | None,
    ) -> CollectionInfo:
        """Declare (or with None undeclare) schema fields, change settings of later builds.

        Raises SchemaConflict if stored points contradict a newly declared field.
        """
        ...

    def drop(self, name: str) -> None: ...

    def upsert(self, name: str, points: Sequence[Point]) -> int:
        """Insert or replace whole points, whose ids all differ; returns their number.

        Raises SchemaViolation with a pointer relative to the list ("/3/attributes/year").
        """
        ...

    def delete(self, name: str, selection: Selection) -> int:
        """Delete; unknown ids are no error. Returns how many points went."""
        ...

    def patch(
        self,
        name: str,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
    ) -> int:
        """Set and remove attributes of the selected points; returns how many were found.

        May raise LimitExceeded where a filter selects more than it can change at once.
        """
        ...

    def get(self, name: str, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """The points that exist, in the order of `ids`."""
        ...

    def count(self, name: str, filter: Filter | None) -> int: ...

    def scroll(
        self,
        name: str,
        *,
        filter: Filter | None,
        limit: int,
        after: PointId | None,
        projection: Projection,
    ) -> Page:
        """Points in id order (integers, then strings), from just after `after`."""
        ...

    def search(self, name: str, searches: Sequence[Search]) -> list[Answer]:
        """Answer each search, in order, all on one consistent state."""
        ...

    def search_now(self, name: str, searches: Sequence[Search]) -> list[Answer] | None:
        """Answer as `search` does, or give None rather than wait for anyone.

        The only method that is called on the event loop, for searches that are expected to be
        short. So it must not wait for a lock that is held during a write or a sync, nor for another
        machine; a backend that cannot promise that always gives None.
        """
        ...

    def health(self) -> dict[str, Any]:
        """Facts for `/readyz`: {"status": "ok"|"degraded", "detail": str, …}.

        Must not wait for writes, syncs or builds, nor must the next two.
        """
        ...

    def storage(self) -> Storage | None:
        """The disk below; None if there is none, or it is not this machine's."""
        ...

    def statistics(self) -> Statistics:
        """Facts for `/metrics`. Work in proportion to the collections, not to their points."""
        ...

    def close(self) -> None:
        """Finish what was accepted and let go of the files."""
        ...
