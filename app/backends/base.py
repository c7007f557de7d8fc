"""Where collections live: the contract between the service and a vector database.

The embedded engine is one implementation; a distributed one can be another. Everything here is
synchronous and thread-safe: the service calls it from worker threads, `search_now` excepted.

Guarantees that every backend gives and `tests/contract` checks:

- A write that returned is durable and is seen by every later read.
- One call is atomic: all of it happens or nothing.
- A search returns `min(k, matching − offset)` hits, best score first, ties by id (integers before
  strings, then by value).
- Reads see one consistent state of the collection, and are never blocked by index builds. None sees
  an older state than a read, of whatever kind, that had ended before it began.
- From the time of its `expires_at`, by this machine's clock, a point does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import IO, Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.exchange import (
    Answer,
    Candidates,
    CollectionInfo,
    CollectionStatistics,
    Facet,
    Lifetime,
    Numbers,
    Order,
    Ordered,
    Page,
    Recall,
    Recalled,
    Search,
    Selection,
    SnapshotInfo,
    Statistics,
    Storage,
    Words,
)
from app.types import (
    F32,
    F64,
    I64,
    AttributeValue,
    Definition,
    IndexSettings,
    Kept,
    KeptInfo,
    Lexical,
    Point,
    PointId,
    Projection,
    Record,
    Sparse,
)

__all__ = [
    "Answer",
    "Backend",
    "Candidates",
    "CollectionInfo",
    "CollectionStatistics",
    "Facet",
    "Incoming",
    "Kept",
    "KeptInfo",
    "Lifetime",
    "Made",
    "Numbers",
    "Order",
    "Ordered",
    "Page",
    "Recall",
    "Recalled",
    "Search",
    "Selection",
    "SnapshotInfo",
    "Snapshots",
    "Statistics",
    "Storage",
    "Subset",
    "View",
    "Viewed",
    "Words",
]

Viewed = TypeVar("Viewed")
"""What somebody makes of a view."""

Made = TypeVar("Made", bound=tuple[Any, ...])
"""What is worked out of a state, and may be remembered: arrays and plain values."""


class Incoming(Protocol):
    """A snapshot that arrives, in pieces, and is none before `keep` returns."""

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises StorageFull."""
        ...

    def keep(self, name: str, *, sha256: str | None) -> SnapshotInfo:
        """Verify what came, as a whole, and keep it; see `Snapshots.take` for the name.

        sha256   what the file must have, hexadecimal, if the sender said so

        Raises InvalidSnapshot, SnapshotExists or StorageFull, and then nothing is kept.
        """
        ...

    def discard(self) -> None:
        """Give up what is not kept, waiting for a `keep` that runs. Never raises."""
        ...


class Snapshots(Protocol):
    """The snapshots that a backend keeps: single files that say everything of a collection.

    Names are checked by the caller. Raises SnapshotNotFound for unknown ones.
    """

    def take(self, collection: str, name: str) -> SnapshotInfo:
        """Keep the state of a collection at one moment, while it is read and written.

        Raises SnapshotExists, CollectionNotFound, StorageFull.
        """
        ...

    def describe(self, name: str) -> SnapshotInfo: ...

    def describe_all(self) -> list[SnapshotInfo]:
        """All snapshots, by name."""
        ...

    def open(self, name: str) -> tuple[SnapshotInfo, IO[bytes]]:
        """Open the file for reading; it stays readable if the snapshot is dropped meanwhile."""
        ...

    def receive(self, size: int | None) -> Incoming:
        """Begin to take a snapshot's file from somewhere else.

        size   bytes that will come, if that is known; StorageFull is raised at once for too many
        """
        ...

    def drop(self, name: str) -> None: ...

    def restore(self, name: str, collection: str, *, replace: bool) -> CollectionInfo:
        """Make a collection of a snapshot, equal to the one it was taken of.

        replace   a collection of that name may exist: it answers until the new one does

        The whole file is verified first. Raises InvalidSnapshot, CollectionExists, StorageFull;
        then nothing changed.
        """
        ...


class Subset(Protocol):
    """Some points of a view, counted and ordered by their attributes without reading them."""

    @property
    def points(self) -> int:
        """How many there are."""
        ...

    def facet(self, field: str, most: int) -> Facet:
        """Count the values of an attribute; give the `most` most frequent ones."""
        ...

    def numbers(self, field: str, over: Literal["numbers", "instants"]) -> Numbers:
        """Count the different numbers of an attribute, or its instants."""
        ...

    def in_order(self, order: Order, most: int) -> Ordered:
        """Give the first `most` points in an order."""
        ...


class View(Protocol):
    """One consistent state of a collection, for the stages of a query plan.

    Rows name point versions of this state: int64, all different, of no meaning outside of it. A row
    that a view gave out is known to it. Methods raise UnknownVector for fields there are not.
    """

    @property
    def definition(self) -> Definition: ...

    def recall(self, wanted: Recall) -> Recalled:
        """Find candidates: `min(k, matching)` of them, what is excluded neither found nor counted,
        unless the index is approximate and says so. Tokens are found by their pooled vectors, and
        scored by the cosine of these. What matches a sparse vector is what shares an index with it.

        Raises DimensionMismatch or InvalidQuery where query and field do not go together. As is
        every read whose filter has a `$match`, one by words is refused with LexicalUnavailable
        while the words are indexed.
        """
        ...

    def score_words(self, words: Words, rows: I64) -> F64:
        """BM25 scores as a recall by those words gives them, in the order of `rows`: float64[rows],
        0 for a point that holds none of the words. `Words.every` makes no difference.

        Raises as `recall` does.
        """
        ...

    def find(self, ids: Sequence[PointId]) -> I64:
        """Rows of points by id: int64[ids], −1 where there is no such point."""
        ...

    def vectors(self, using: str, rows: I64) -> tuple[F32, NDArray[np.bool_]]:
        """Vectors of a dense field as they are searched (unit length under cosine), or the pooled
        ones of a field of tokens: the mean of a point's unit tokens, at unit length.

        returns  float32[rows, dimension], zeros where there is none; bool[rows], who has one
        """
        ...

    def tokens(self, using: str, rows: I64) -> tuple[F32, I64]:
        """Vectors of a field of tokens at unit length, in the order of `rows`. Numbers may be kept
        in half precision: each off by 5e-4 of itself at most.

        returns  float32[total, dimension]; int64[rows + 1], where those of each row begin: nothing
                 for one that has none
        """
        ...

    def products(self, using: str, query: Sparse, rows: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Inner products of a query with the vectors of a sparse field, each summed in float64 in
        the order of the query's indices, as `recall` does.

        returns  float64[rows], zeros where there is none; bool[rows], who has one
        """
        ...

    def mean(self, using: str, filter: Filter | None) -> tuple[F32, int]:
        """Mean of what `vectors` gives, over what passes: float32[dimension], and of how many;
        zeros of none."""
        ...

    def sample(self, using: str, filter: Filter | None, most: int, seed: int) -> I64:
        """Rows of at most `most` points that pass and have such a vector, drawn without
        repetition, the same ones for the same state and seed."""
        ...

    def remembered(self, key: Hashable, make: Callable[[], Made]) -> tuple[Made, bool]:
        """What `make` makes of this state alone, and whether it was made before: the backend may
        keep it under the key until something is written. It must not be changed."""
        ...

    def subset(self, of: Filter | I64 | None) -> Subset:
        """The points that pass a filter, those of some rows, or all."""
        ...

    def passes(self, rows: I64, filter: Filter) -> NDArray[np.bool_]:
        """Whether the points of some rows pass a filter: bool[rows]."""
        ...

    def keys(self, rows: I64) -> list[bytes]:
        """Ids of points as `app.keys.key_from_id` writes them, in the order of `rows`."""
        ...

    def attributes(self, rows: I64) -> list[Mapping[str, Any]]:
        """Attributes of points, in the order of `rows`."""
        ...

    def records(
        self, rows: I64, projection: Projection, keys: Sequence[bytes] | None = None
    ) -> list[Record]:
        """Points as answers show them, in the order of `rows`.

        keys   what `keys` gives of them, if that is known
        """
        ...

    def kept(self, kind: str, key: str) -> Kept | None:
        """What the collection keeps under a kind and key, the same whenever it is asked for. It
        may be newer than the points of this state, and is never older."""
        ...


class Backend(Protocol):
    """A vector database with named collections. Raises `CollectionNotFound` for unknown names."""

    @property
    def snapshots(self) -> Snapshots | None:
        """Where it keeps snapshots; None if it cannot."""
        ...

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
        index: Callable[[IndexSettings], IndexSettings] | None,
        lexical: Callable[[Lexical | None], Lexical | None] | None = None,
    ) -> CollectionInfo:
        """Declare (or with None undeclare) schema fields, change settings of later builds, or the
        lexical index.

        index     makes the new settings of the present ones, so that of two calls at the same time
                  neither undoes what the other did
        lexical   the same for the lexical index; until its words are there, reads that look for
                  words raise LexicalUnavailable, and `CollectionInfo.building` tells

        Raises SchemaConflict if stored points contradict a newly declared field, and what `index`
        raises.
        """
        ...

    def drop(self, name: str) -> None: ...

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        """Insert or replace whole points, whose ids all differ; returns their number.

        mark   that of the definition which the points were made for: CollectionNotFound if that
               collection is gone, though there is another of its name

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
        lifetime: Lifetime | None = None,
        max_attributes_bytes: int | None = None,
    ) -> int:
        """Set and remove attributes of the selected points; returns how many were found.

        lifetime               a new one for all of them; None leaves each its own
        max_attributes_bytes   most bytes of one point's attributes after the patch, as compact
                               JSON; more are taken only if the patch makes them fewer

        Raises InvalidAttributes where that is too many, and may raise LimitExceeded where a filter
        selects more points than it can change at once.
        """
        ...

    def get(self, name: str, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """The points that exist, each once, in the order of `ids`."""
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
        mark: str | None = None,
    ) -> Page:
        """Points in id order (integers, then strings), from just after `after`; `mark` as in
        `upsert`."""
        ...

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        """Answer each search, in order, all on one consistent state; `mark` as in `upsert`.

        Raises PointNotFound or InvalidQuery where the point to start from does not exist or lacks
        the vector, with a pointer relative to the list ("/3/id").
        """
        ...

    def search_now(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer] | None:
        """Answer as `search` does, or give None rather than wait for anyone.

        The only method that is called on the event loop, for searches that are expected to be
        short. So it must not wait for a lock that is held during a write or a sync, nor for another
        machine; a backend that cannot promise that always gives None.
        """
        ...

    def view(self, name: str, run: Callable[[View], Viewed], mark: str | None = None) -> Viewed:
        """Run something on one consistent state, and give its result; `mark` as in `upsert`.

        run   may be called again on a newer state, when a write overtook it: it must not keep
              anything of a view, nor have effects that count twice
        """
        ...

    def keep(
        self, name: str, kind: str, key: str, body: bytes, mark: str | None = None
    ) -> KeptInfo:
        """Keep a small value with a collection, in the place of the one of that kind and key;
        `mark` as in `upsert`.

        kind, key   names as `app.types.NAME` has them; the kind is one per use ("query-bank"), the
                    key is the caller's

        As durable as a point, part of snapshots, and dropped with the collection. Raises
        LimitExceeded above `MOST_KEPT_BYTES`, `MOST_KEPT` or `MOST_KEPT_BYTES_TOGETHER`.
        """
        ...

    def kept(self, name: str, kind: str, key: str) -> Kept | None:
        """What is kept under a kind and key; None if nothing is."""
        ...

    def all_kept(self, name: str, kind: str | None = None) -> list[KeptInfo]:
        """What is kept of a kind, or of all, by kind and key, without the bodies."""
        ...

    def forget(self, name: str, kind: str, key: str) -> bool:
        """Remove what is kept under a kind and key; tells whether something was."""
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
