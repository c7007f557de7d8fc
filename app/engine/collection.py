"""One collection of the embedded engine: its store, its parts, its writers and readers.

Theory of operation
-------------------
Writes. A write is an *operation* on the store's transaction; operations that meet share one
(`app.engine.commits`). After the commit, under the same lock, the rows that went are tombstoned,
the rows that came are appended to the head, and a new snapshot is published by one assignment
(`app.engine.parts`). Only then do the callers return: a write that returned is durable, and is seen
by every later read. Everything that can fail is done before the commit.

Reads take the snapshot once and never a lock. Hits are looked up in the store afterwards. Rows are
immutable, so a hit's row either still exists as it was searched, or a later write replaced it; then
the search runs again on the newer snapshot. After a few rounds of that it runs under the write
lock, where nothing can overtake it. Points that have expired are hidden from the snapshot before
(`app.engine.expiry`).

Builds are begun and ended in `app.engine.builds` and run in a process of their own; opening is in
`app.engine.recovery`.

Lock order: the gate, then the write lock, then those inside `CommitQueue` and `Database`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from app.attributes.filter import Filter
from app.attributes.schema import check_conforms
from app.attributes.values import check_grown
from app.engine.account import EngineAccount
from app.engine.builds import Builds, BuildSettings
from app.engine.commits import CommitQueue
from app.engine.expiry import Clock, Expiry
from app.engine.fitting import check_fits
from app.engine.gate import Gate
from app.engine.parts import Effect, Parts, analysed, prepared
from app.engine.records import read_records
from app.engine.recovery import recover
from app.engine.remembering import Remembering
from app.engine.search import check_words, matching, run
from app.engine.snapshot import Snapshot
from app.engine.upkeep import Upkeep
from app.engine.view import Overtaken, SnapshotView
from app.errors import (
    DimensionMismatch,
    InvalidQuery,
    LikewiseError,
    LimitExceeded,
    PointNotFound,
    SchemaConflict,
    SchemaViolation,
    StoredDataError,
    UnknownVector,
)
from app.exchange import (
    Answer,
    CollectionInfo,
    CollectionStatistics,
    Lifetime,
    Page,
    Search,
    Selection,
)
from app.kernels import bits as bitset
from app.keys import id_from_key, key_from_id
from app.postings.growing_words import GrowingWords
from app.segments.segment import Segment
from app.segments.words import documents_of
from app.storage.files import folder_bytes
from app.storage.store import Store, StoredPoint, Writer, attributes_from_json
from app.storage.store_copy import Progress, StoreCopy
from app.storage.write_points import WritePoint, reached
from app.text.analysis import fingerprint
from app.types import (
    F32,
    Attributes,
    AttributeValue,
    Definition,
    Hit,
    Kept,
    KeptInfo,
    Lexical,
    Point,
    PointId,
    Projection,
    Record,
    VectorField,
    VectorKind,
)

_log = logging.getLogger(__name__)

MAX_PATCHED = 100_000
"""Most points of one patch: each is a new version with its vectors, about 10 KB until committed."""

MAX_PATCHED_TOKENS = 10_000
"""The same where a point has a vector for each token: about 100 KB."""

_ROUNDS = 4  # of a read overtaken by writes before it takes the write lock

_Read = TypeVar("_Read")


class Collection:
    """An open collection. Every method is safe for any thread."""

    def __init__(
        self,
        folder: Path,
        name: str,
        definition: Definition,
        created_at: str,
        *,
        sync: bool,
        settings: BuildSettings,
        account: EngineAccount,
        on_change: Callable[[], None] = lambda: None,
        clock: Clock = time.time,
    ) -> None:
        """Open a collection that exists.

        Raises StoredDataError if its store is unusable, OSError if the system refuses its files.
        """
        self._folder = folder / "segments"
        self.name = name
        self.definition = definition
        self.writes = 0
        self._written_s = time.monotonic()
        self._created_at = created_at
        self._costs = settings.costs
        self._vectors_on_disk = settings.vectors_on_disk
        self._on_change = on_change
        self._folder_bytes: dict[Path, int] = {}
        self._fields = list(definition.vectors.values())
        self._numbers = {f.name: number for number, f in enumerate(self._fields)}
        several = any(field.kind is VectorKind.TOKENS for field in self._fields)
        self._most_patched = MAX_PATCHED_TOKENS if several else MAX_PATCHED
        self._gate = Gate(name)
        self._memory = Remembering()
        self._write_lock = threading.Lock()
        self._store = Store(folder / "store.sqlite", fields=self._fields, sync=sync)
        self._rebuilding = False
        try:
            self._expiry = Expiry(self._store, clock)
            self._parts = self._recovered()
        except BaseException:
            self._store.close()
            raise
        self._commits = CommitQueue(self._store, self._write_lock, self._publish, account)
        self.builds = Builds(
            self._folder,
            self._store,
            self._parts,
            self._fields,
            lambda: self.definition,
            settings,
            gate=self._gate,
            write_lock=self._write_lock,
        )
        self.upkeep = Upkeep(
            self._store,
            self._parts,
            self._expiry,
            self._fields,
            self._write,
            gate=self._gate,
            write_lock=self._write_lock,
        )

    @staticmethod
    def create(folder: Path, definition: Definition) -> None:
        """Make the files of a new, empty collection."""
        (folder / "segments").mkdir(parents=True)
        Store.create(folder / "store.sqlite", fields=len(definition.vectors))

    @property
    def quiet_s(self) -> float:
        """Tell for how long nothing has been written."""
        return time.monotonic() - self._written_s

    def close(self) -> None:
        """Wait for the calls inside, refuse later ones as unknown, let go of the files."""
        self._gate.close()
        self._store.close()

    @property
    def rebuilding(self) -> bool:
        """Tell whether damaged segments are being built again; until then answers are exact."""
        self._rebuilding = self._rebuilding and self.builds.pending
        return self._rebuilding

    @property
    def damage(self) -> StoredDataError | None:
        """Tell what has been found broken in the store; writes are refused then, reads go on."""
        return self._store.damage

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def upsert(self, points: Sequence[Point]) -> int:
        """Insert or replace points; see `Backend.upsert`."""
        for at, point in enumerate(points):
            for name, vector in point.vectors.items():
                field = self._fields[self._number_of(name)]
                check_fits(vector, field, f"/{at}/vectors/{name}")
        schema = self._check_schema(points)
        stored = [
            StoredPoint(
                key_from_id(point.id),
                orjson.dumps(point.attributes),
                point.text,
                tuple(point.vectors.get(f.name) for f in self._fields),
                point.expires_at,
            )
            for point in points
        ]
        searched = prepared(self._fields, stored)
        attributes = [point.attributes for point in points]
        lexical = self.definition.lexical
        documents = analysed(lexical, stored, attributes)

        def operation(writer: Writer) -> Effect:
            words = documents
            if self.definition.schema is not schema:  # it was altered while this write queued
                self._check_schema(points)
            if self.definition.lexical is not lexical:
                words = analysed(self.definition.lexical, stored, attributes)
            replaced = writer.rows_of([point.key for point in stored])
            writer.delete(replaced)
            rows = writer.insert(stored)
            return Effect(replaced, rows, stored, searched, attributes, words, len(stored))

        return self._write(operation)

    def delete(self, selection: Selection) -> int:
        """Delete points; see `Backend.delete`."""

        def operation(writer: Writer) -> Effect:
            rows = self._selected(writer, selection)
            writer.delete(rows)
            return Effect(deleted=rows, count=len(rows))

        return self._write(operation, alone=selection.filter is not None)

    def patch(
        self,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
        lifetime: Lifetime | None = None,
        max_attributes_bytes: int | None = None,
    ) -> int:
        """Change points in place; see `Backend.patch`. Raises LimitExceeded for too many."""

        def operation(writer: Writer) -> Effect:
            check_conforms(set_, self.definition.schema, "/set")
            rows = sorted(self._selected(writer, selection))
            if len(rows) > self._most_patched:
                raise LimitExceeded(
                    f"the filter selects {len(rows)} points; one request patches at most "
                    f"{self._most_patched}",
                    pointer="/filter",
                    limit=self._most_patched,
                )
            points: list[StoredPoint] = []
            attributes: list[Attributes] = []
            for _, point in writer.points(rows):
                patched: dict[str, Any] = {**attributes_from_json(point.attributes), **set_}
                for name in unset:
                    patched.pop(name, None)
                encoded = orjson.dumps(patched)
                check_grown(len(point.attributes), len(encoded), max_attributes_bytes)
                attributes.append(patched)
                expires_at = point.expires_at if lifetime is None else lifetime.expires_at
                points.append(replace(point, attributes=encoded, expires_at=expires_at))
            writer.delete(rows)
            searched = prepared(self._fields, points)
            words = analysed(self.definition.lexical, points, attributes)
            new = writer.insert(points)
            return Effect(rows, new, points, searched, attributes, words, len(points))

        return self._write(operation, alone=selection.filter is not None)

    def keep(self, kind: str, key: str, body: bytes) -> KeptInfo:
        """Keep a value by kind and key; see `Backend.keep`."""
        kept: list[KeptInfo] = []

        def operation(writer: Writer) -> Effect:
            kept.append(writer.keep(kind, key, body, self._expiry.now_ms))
            return Effect(count=1)

        self._write(operation)
        return kept[-1]  # the operation runs again when another of its group failed

    def forget(self, kind: str, key: str) -> bool:
        """Remove such a value; see `Backend.forget`."""
        return bool(self._write(lambda writer: Effect(count=writer.forget(kind, key))))

    def kept(self, kind: str, key: str) -> Kept | None:
        """Read such a value; see `Backend.kept`."""
        with self._gate:
            return self._store.kept(kind, key)

    def all_kept(self, kind: str | None) -> list[KeptInfo]:
        """List such values; see `Backend.all_kept`."""
        with self._gate:
            return self._store.all_kept(kind)

    def _write(self, operation: Callable[[Writer], Effect], *, alone: bool = False) -> int:
        with self._gate:
            count = self._commits.write(operation, alone=alone)
        self._on_change()
        return count

    def _publish(self, effects: list[Effect]) -> None:
        """Show committed effects to readers. Under the write lock."""
        try:
            self._parts.publish(effects)
        except Exception:
            # The write is durable, only our picture of it is not: draw it again from the store.
            _log.exception(
                "a committed write could not be shown: the collection is read again",
                extra={"facts": {"collection": self.name, "job": "reopen"}},
            )
            # Into the same object: the builds hold it too.
            self._parts.take(self._recovered())
        self.writes += 1
        self._written_s = time.monotonic()
        reached(WritePoint.STORE_PUBLISHED)

    def _recovered(self) -> Parts:
        """Draw the parts from the store and its folders."""
        parts, damaged = recover(
            self._folder,
            self._store,
            self._fields,
            self.definition.lexical,
            vectors_on_disk=self._vectors_on_disk,
        )
        self._rebuilding = self._rebuilding or bool(damaged)
        self._expiry.begin(parts)
        return parts

    def _selected(self, writer: Writer, selection: Selection) -> list[int]:
        """List the rows of the selected points. Under the write lock."""
        if selection.ids is not None:
            keys = [key_from_id(id_) for id_ in dict.fromkeys(selection.ids)]
            return writer.rows_of(keys, after=self._expiry.now_ms)
        assert selection.filter is not None
        rows: list[int] = []
        snapshot = self._visible()
        check_words(selection.filter, snapshot.lexical)
        for live in snapshot.parts:
            slots = bitset.slots_of(matching(selection.filter, live, snapshot.lexical))
            rows += live.part.rows[slots].tolist()
        return rows

    def _check_schema(self, points: Sequence[Point]) -> Mapping[str, str]:
        """Hold points against the declared schema, and say which it was."""
        schema = self.definition.schema
        if schema:
            for at, point in enumerate(points):
                check_conforms(point.attributes, schema, f"/{at}/attributes")
        return schema

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _visible(self) -> Snapshot:
        """Take the snapshot to read: everything that was written and has not expired."""
        return self._expiry.visible(self._parts.snapshot)

    def _consistent(self, read: Callable[[], _Read | None]) -> _Read:
        """Run a read until no write overtakes it (then it gives something else than None)."""
        with self._gate:
            for _ in range(_ROUNDS):
                result = read()
                if result is not None:
                    return result
            with self._write_lock:
                result = read()
            if result is None:
                raise self._store.lacking()
            return result

    def search(self, searches: Sequence[Search]) -> list[Answer]:
        """Answer all searches on one state; see `Backend.search`."""
        return self._consistent(lambda: self._search_once(searches))

    def search_now(self, searches: Sequence[Search]) -> list[Answer] | None:
        """Answer all searches if no write overtakes them; see `Backend.search_now`.

        Waits for nobody: the snapshot is there, SQLite's readers do not wait for its writer, and
        the gate is held for a moment at a time. Only a search that was overtaken would have to take
        the write lock in the end, behind which there may be a sync: it is given up instead. So is
        one that would have to look up first which points have expired.
        """
        if self._expiry.is_due(self._parts.snapshot):
            return None
        with self._gate:
            return self._search_once(searches)

    def view(self, work: Callable[[SnapshotView], _Read]) -> _Read:
        """Run something on one state, again if a write overtakes it; see `Backend.view`."""

        def read() -> tuple[_Read] | None:
            view = SnapshotView(
                self._visible(),
                self.definition,
                self._costs,
                self._records,
                self._store.kept,
                self._memory,
            )
            try:
                return (work(view),)
            except Overtaken:
                return None

        return self._consistent(read)[0]

    def _search_once(self, searches: Sequence[Search]) -> list[Answer] | None:
        """Answer all searches, or None if a write replaced a hit before it was read."""
        snapshot = self._visible()
        outcomes = []
        for at, search in enumerate(searches):
            number = self._number_of(search.using)
            if self._fields[number].kind is not VectorKind.DENSE:
                raise InvalidQuery(f"vector {search.using!r} is not dense: no search looks there")
            query = search.vector
            if not isinstance(query, np.ndarray):
                search = search._replace(exclude=(query,))
                try:
                    found = self._vector_of(query, self._fields[number], snapshot)
                except LikewiseError as error:
                    raise error.under(f"/{at}") from None
                if found is None:
                    return None
                query = found
            expected = self._fields[number].dimension
            if query.shape != (expected,):  # compiled code would read past the rows
                raise DimensionMismatch(expected=expected, received=query.size)
            outcomes.append(run(search, query, snapshot, self._fields[number], number, self._costs))
        answers = []
        for search, outcome in zip(searches, outcomes, strict=True):
            pairs = [(found.row, found.key) for found in outcome.page]
            records = self._records(snapshot, pairs, search.projection)
            if records is None:
                return None
            hits = [
                Hit(found.score, record)
                for found, record in zip(outcome.page, records, strict=True)
            ]
            answers.append(
                Answer(
                    hits,
                    outcome.matches,
                    outcome.plan,
                    outcome.exact,
                    outcome.explanation,
                    outcome.parts,
                )
            )
        return answers

    def _vector_of(self, id_: PointId, field: VectorField, snapshot: Snapshot) -> F32 | None:
        """Look up the vector that a query by id starts from; None if a write replaced the point."""
        rows = snapshot.rows_of([id_])
        if not rows:
            raise PointNotFound("the collection has no point of that id", pointer="/id")
        projection = Projection(frozenset(), with_text=False, with_vectors=True)
        pairs = [(row, key) for key, row in rows.items()]
        records = self._records(snapshot, pairs, projection)
        if records is None:
            return None
        vector = (records[0].vectors or {}).get(field.name)
        if not isinstance(vector, np.ndarray):
            raise InvalidQuery(
                f"the point has no vector {field.name!r} to start from", pointer="/id"
            )
        return vector

    def _records(
        self, snapshot: Snapshot, pairs: Sequence[tuple[int, bytes]], projection: Projection
    ) -> list[Record] | None:
        """Read the records of (row, key) pairs of a snapshot, in order; None if a row is gone."""
        expiring = snapshot.due_ms < math.inf
        return read_records(self._store, self._fields, pairs, projection, expiring=expiring)

    def _number_of(self, name: str) -> int:
        if name not in self._numbers:
            raise UnknownVector(f"collection {self.name!r} has no vector named {name!r}")
        return self._numbers[name]

    def get(self, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """Read points by id; see `Backend.get`."""
        keys = list(dict.fromkeys(key_from_id(id_) for id_ in ids))

        def read() -> list[Record] | None:
            # Not by key from the store: it holds a write already that the snapshot does not show
            # yet, and a search that came next would seem to undo it.
            snapshot = self._visible()
            rows = snapshot.rows_of(ids)
            pairs = [(rows[key], key) for key in keys if key in rows]
            return self._records(snapshot, pairs, projection)

        return self._consistent(read)

    def count(self, filter: Filter | None) -> int:
        """Count the matching points, exactly."""
        with self._gate:
            snapshot = self._visible()
            if filter is None:
                return snapshot.points
            check_words(filter, snapshot.lexical)
            return sum(
                bitset.count(matching(filter, live, snapshot.lexical)) for live in snapshot.parts
            )

    def scroll(
        self, *, filter: Filter | None, limit: int, after: PointId | None, projection: Projection
    ) -> Page:
        """Read one page in id order; see `Backend.scroll`."""
        key = None if after is None else key_from_id(after)
        return self._consistent(lambda: self._scroll_once(filter, limit, key, projection))

    def _scroll_once(
        self, filter: Filter | None, limit: int, after: bytes | None, projection: Projection
    ) -> Page | None:
        found: list[tuple[bytes, int]] = []
        snapshot = self._visible()
        if filter is not None:
            check_words(filter, snapshot.lexical)
        for live in snapshot.parts:
            bits = live.live if filter is None else matching(filter, live, snapshot.lexical)
            found += [
                (live.part.key(slot), int(live.part.rows[slot]))
                for slot in live.first_by_key(bits, limit + 1, after)
            ]
        found.sort()
        page = [(row, key) for key, row in found[:limit]]
        records = self._records(snapshot, page, projection)
        if records is None:
            return None
        return Page(records, id_from_key(page[-1][1]) if len(found) > limit else None)

    def describe(self) -> CollectionInfo:
        """Describe the collection as it is now."""
        with self._gate:
            snapshot = self._visible()
        segments = [
            {
                "kind": "graph" if isinstance(live.part, Segment) else "head",
                "points": live.count,
                "deleted": live.dead,
            }
            for live in snapshot.parts
        ]
        return CollectionInfo(
            self.name,
            self.definition,
            snapshot.points,
            segments,
            self.builds.pending,
            self._created_at,
        )

    # ── copying ──────────────────────────────────────────────────────────────────────────────

    def store_bytes(self) -> int:
        """Tell the size of the store on disk, without its log."""
        return self._store.path.stat().st_size

    def copy_store(self, target: Path, progress: Progress) -> tuple[Definition, int]:
        """Copy the store as it is now into a new file, while writers go on.

        Returns the definition that holds for the copy, and its points. A collection that is dropped
        meanwhile is copied to the end all the same.
        """
        with self._gate:
            copy = StoreCopy(self._store.path, target, fields=len(self._fields))
        with copy:
            # Nobody alters the definition, or writes by an older one, while this is held.
            with self._gate, self._write_lock:
                copy.pin()
                definition = self.definition
            return definition, copy.run(progress)

    def statistics(self) -> CollectionStatistics:
        """Measure the collection. Waits for nobody."""
        snapshot = self._parts.snapshot
        segments = [segment for _, segment in snapshot.segments]
        covers = [segment.covers.folder for segment in segments if segment.covers is not None]
        known = self._folder_bytes
        # Folders never change, so each is measured once.
        self._folder_bytes = {
            folder: known[folder] if folder in known else folder_bytes(folder)
            for folder in [*(segment.folder for segment in segments), *covers]
        }
        return CollectionStatistics(
            self.name,
            points=snapshot.points,
            dead_slots=sum(live.dead for live in snapshot.parts),
            head_points=sum(live.count for live in snapshot.heads),
            segments=len(segments),
            segment_bytes=sum(self._folder_bytes[segment.folder] for segment in segments),
            cover_bytes=sum(self._folder_bytes[folder] for folder in covers),
            store_bytes=self._store.size_bytes(),
        )

    # ── changing the definition ──────────────────────────────────────────────────────────────

    def alter(
        self, change: Callable[[Definition], Definition], save: Callable[[Definition], None]
    ) -> None:
        """Change schema, lexical index or index settings; `save` makes the change durable.

        Raises SchemaConflict if a stored point contradicts the new schema. Writers wait while the
        stored points are held against a declared field, and while the words of the newest points,
        those in no segment, are indexed anew; those of segments follow in the background.
        """
        with self._gate, self._write_lock:
            altered = change(self.definition)
            added = {
                name: kind
                for name, kind in altered.schema.items()
                if self.definition.schema.get(name) != kind
            }
            if added:
                self._check_stored(added)
            lexical = altered.lexical
            reworded = _fingerprint(lexical) != _fingerprint(self.definition.lexical)
            heads = self._words_of_heads(lexical) if lexical is not None and reworded else {}
            save(altered)
            self.definition = altered
            if reworded:
                self._parts.reword(lexical, heads)
            elif lexical is not None:
                self._parts.reweigh(lexical)
        if reworded:
            self.builds.forget_words()
            self._on_change()

    def _words_of_heads(self, lexical: Lexical) -> dict[int, GrowingWords]:
        """Index the words of the parts that are no segments, by `id` of the part."""
        heads: dict[int, GrowingWords] = {}
        for live in self._parts.snapshot.parts:
            if isinstance(live.part, Segment):
                continue
            words = heads[id(live.part)] = GrowingWords(len(lexical.fields), lexical.language)
            for document in documents_of(self._store, live.part.rows.tolist(), lexical):
                words.append(document)
        return heads

    def _check_stored(self, schema: Mapping[str, str]) -> None:
        now_ms = self._expiry.now_ms
        for _, point in self._store.scan(self._store.rows().tolist(), vectors=False):
            if point.expires_at is not None and point.expires_at <= now_ms:
                continue
            try:
                check_conforms(attributes_from_json(point.attributes), schema, "")
            except SchemaViolation as exc:
                pointer = "/" + (exc.pointer or "/").split("/")[1]
                raise SchemaConflict(
                    "a stored point contradicts the declared kind", pointer=f"/schema{pointer}"
                ) from exc


def _fingerprint(lexical: Lexical | None) -> str | None:
    return None if lexical is None else fingerprint(lexical)
