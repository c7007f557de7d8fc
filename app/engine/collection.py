"""One collection of the embedded engine: its store, its parts, its writers and readers.

Theory of operation
-------------------
Writes. A write is an *operation* on the store's transaction. Callers queue their operations and
take the write lock; whoever gets it runs everything that queued meanwhile in one transaction and
one fsync (group commit). After the commit the same thread tombstones the rows that went, appends
the rows that came to the head, and publishes a new snapshot by one assignment. Only then do the
callers return: a write that returned is durable, and is seen by every later read. If a grouped
transaction fails, its operations run again one by one, so that each caller gets its own error.

Reads take `self._snapshot` once and never a lock. Hits are looked up in the store afterwards. Rows
are immutable, so a hit's row either still exists as it was searched, or a later write replaced it;
then the search runs again on the newer snapshot. After a few rounds of that it runs under the write
lock, where nothing can overtake it.

Builds. `begin_build` seals the head under the write lock; another process writes the new segment;
`finish_build` swaps it in under the lock, with the tombstones that came meanwhile. The store's
`segments` table says which folders count, and changes in one transaction, so a crash leaves either
the old segments or the new one. A segment that cannot be opened is dropped from the table: its rows
are then in the head (exact, slower) until they are built again.

Lock order: gate, write lock, queue lock.
"""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.attributes.filter import Filter
from app.attributes.schema import check_conforms
from app.engine.build_process import Order
from app.engine.gate import Gate
from app.engine.merging import Merge, Size, choose_merge
from app.engine.search import Found, Outcome, matching, run
from app.engine.snapshot import LivePart, Snapshot, extended
from app.errors import SchemaConflict, SchemaViolation, StoredDataError, UnknownVector
from app.exchange import Answer, CollectionInfo, Page, Search, Selection
from app.kernels import bits as bitset
from app.keys import id_from_key, key_from_id
from app.segments.head import Head
from app.segments.segment import Segment
from app.storage.store import Store, StoredPoint, StoredText, Writer, attributes_from_json
from app.types import (
    F32,
    I64,
    Attributes,
    AttributeValue,
    Definition,
    Hit,
    Point,
    PointId,
    Projection,
    Record,
)
from app.vectors.metric import prepare

_log = logging.getLogger(__name__)

_ROUNDS = 4  # of a search overtaken by writes before it takes the write lock
_GROUPED = 64  # operations in one transaction: bounds what one failure makes run again


@dataclass(slots=True)
class _Effect:
    """What an operation did, to be shown to readers once it is committed."""

    deleted: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    points: list[StoredPoint] = field(default_factory=list)
    attributes: list[Attributes] = field(default_factory=list)
    count: int = 0


_Operation = Callable[[Writer], _Effect]


@dataclass(slots=True)
class _Queued:
    operation: _Operation
    alone: bool
    done: Future[int] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Build:
    """A build under way: the order for the process, and the parts that its segment replaces."""

    order: Order
    sources: tuple[LivePart, ...]
    replaced: tuple[str, ...]


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
        head_points: int,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.definition = definition
        self._created_at = created_at
        self._head_points = head_points
        self._on_change = on_change
        self._fields = list(definition.vectors.values())
        self._numbers = {f.name: number for number, f in enumerate(self._fields)}
        self._write_lock = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Queued] = []
        self._gate = Gate(name)
        self._building: tuple[LivePart, ...] = ()
        self.writes = 0
        self._store = Store(folder / "store.sqlite", fields=len(self._fields), sync=sync)
        self._head, self._snapshot = self._recover()

    @staticmethod
    def create(folder: Path, definition: Definition) -> None:
        """Make the files of a new, empty collection."""
        (folder / "segments").mkdir(parents=True)
        Store.create(folder / "store.sqlite", fields=len(definition.vectors))

    def close(self) -> None:
        """Wait for the calls inside, refuse later ones as unknown, let go of the files."""
        self._gate.close()
        self._store.close()

    # ── recovery ─────────────────────────────────────────────────────────────────────────────

    def _recover(self) -> tuple[Head, Snapshot]:
        """Open the segments, and put every row that stands in none of them into the head."""
        alive = self._store.rows()
        parts: list[LivePart] = []
        unusable: list[str] = []
        for name in self._store.segments():
            try:
                segment = Segment.open(self.folder / "segments" / name)
            except (StoredDataError, OSError) as exc:
                _log.warning(
                    "collection %s: segment %s will be rebuilt from the store: %s",
                    self.name, name, exc,
                )  # fmt: skip
                unusable.append(name)
                continue
            bits = bitset.empty(segment.slots)
            bitset.set_slots(bits, segment.find_rows(alive))
            parts.append(LivePart.of(segment, bits))
        if unusable:
            self._store.write(lambda writer: writer.replace_segments(unusable, []))
        self._sweep({part.part.name for part in parts if isinstance(part.part, Segment)})

        covered = [part.live_rows() for part in parts]
        loose: I64 = np.setdiff1d(alive, np.concatenate([np.empty(0, np.int64), *covered]))
        head = self._new_head()
        for start in range(0, loose.shape[0], 2000):
            self._append(head, *_loaded(self._store.scan(loose[start : start + 2000].tolist())))
        view = head.view()
        parts.append(LivePart.of(view, bitset.full(view.slots)))
        return head, Snapshot(tuple(parts))

    def _sweep(self, used: set[str]) -> None:
        """Remove folders of builds that never counted, or no longer do."""
        for folder in (self.folder / "segments").iterdir():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def _new_head(self) -> Head:
        return Head([f.dimension for f in self._fields])

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def upsert(self, points: Sequence[Point]) -> int:
        """Insert or replace points; see `Backend.upsert`."""
        schema = self._check_schema(points)
        stored = [self._stored(point) for point in points]
        attributes = [point.attributes for point in points]

        def operation(writer: Writer) -> _Effect:
            if self.definition.schema is not schema:  # it was altered while this write queued
                self._check_schema(points)
            replaced = writer.rows_of([point.key for point in stored])
            writer.delete(replaced)
            rows = writer.insert(stored)
            return _Effect(replaced, list(rows), stored, attributes, len(stored))

        return self._write(operation)

    def delete(self, selection: Selection) -> int:
        """Delete points; see `Backend.delete`."""

        def operation(writer: Writer) -> _Effect:
            rows = self._selected(writer, selection)
            writer.delete(rows)
            return _Effect(deleted=rows, count=len(rows))

        return self._write(operation, alone=selection.filter is not None)

    def patch(
        self,
        selection: Selection,
        *,
        set_: Mapping[str, AttributeValue],
        unset: Sequence[str],
    ) -> int:
        """Set and remove attributes; see `Backend.patch`."""

        def operation(writer: Writer) -> _Effect:
            check_conforms(set_, self.definition.schema, "/set")
            effect = _Effect()
            for row, point in writer.points(sorted(self._selected(writer, selection))):
                attributes = attributes_from_json(point.attributes)
                attributes |= set_
                for name in unset:
                    attributes.pop(name, None)
                effect.deleted.append(row)
                effect.points.append(replace(point, attributes=orjson.dumps(attributes)))
                effect.attributes.append(attributes)
            writer.delete(effect.deleted)
            effect.rows = list(writer.insert(effect.points))
            effect.count = len(effect.rows)
            return effect

        return self._write(operation, alone=selection.filter is not None)

    def _selected(self, writer: Writer, selection: Selection) -> list[int]:
        """List the rows of the selected points. Under the write lock only."""
        if selection.ids is not None:
            return writer.rows_of([key_from_id(id_) for id_ in dict.fromkeys(selection.ids)])
        assert selection.filter is not None
        rows: list[int] = []
        for live in self._snapshot.parts:
            slots = bitset.slots_of(matching(selection.filter, live))
            rows += live.part.rows[slots].tolist()
        return rows

    def _stored(self, point: Point) -> StoredPoint:
        return StoredPoint(
            key_from_id(point.id),
            orjson.dumps(point.attributes),
            point.text,
            tuple(point.vectors.get(f.name) for f in self._fields),
        )

    def _check_schema(self, points: Sequence[Point]) -> Mapping[str, str]:
        """Hold points against the declared schema, and say which it was."""
        schema = self.definition.schema
        if schema:
            for at, point in enumerate(points):
                check_conforms(point.attributes, schema, f"/{at}/attributes")
        return schema

    def _write(self, operation: _Operation, *, alone: bool = False) -> int:
        """Queue an operation and see it through; returns its count.

        `alone` keeps it out of groups: it reads the snapshot, which must hold all before it.
        """
        queued = _Queued(operation, alone)
        with self._gate.entered():
            with self._queue_lock:
                self._queue.append(queued)
            with self._write_lock:
                while not queued.done.done():
                    self._run(self._next_group())
            self._on_change()
            return queued.done.result()

    def _next_group(self) -> list[_Queued]:
        with self._queue_lock:
            if self._queue[0].alone:
                return [self._queue.pop(0)]
            size = 1
            while size < min(len(self._queue), _GROUPED) and not self._queue[size].alone:
                size += 1
            group, self._queue = self._queue[:size], self._queue[size:]
            return group

    def _run(self, group: list[_Queued]) -> None:
        """Commit a group and publish it; whatever happens, each caller hears of it."""
        effects: list[_Effect] = []

        def work(writer: Writer) -> None:
            effects.extend(queued.operation(writer) for queued in group)

        try:
            self._store.write(work)
        except BaseException as exc:
            if len(group) == 1:
                group[0].done.set_exception(exc)
            else:
                for queued in group:
                    self._run([queued])
            return
        try:
            self._publish(effects)
        except Exception:
            # The write is durable, only our picture of it is not: draw it again from the store.
            _log.exception("collection %s: reopening after a failed publication", self.name)
            self._head, self._snapshot = self._recover()
        for queued, effect in zip(group, effects, strict=True):
            queued.done.set_result(effect.count)

    def _publish(self, effects: Sequence[_Effect]) -> None:
        """Show committed effects to readers, all at once. Under the write lock only."""
        *settled, last = self._snapshot.parts
        for effect in effects:
            self._append(self._head, effect.rows, effect.points, effect.attributes)
        view = self._head.view()
        if view.slots > last.part.slots:
            last = LivePart.of(view, extended(last.live, last.part.slots, view.slots))
        deleted = [row for effect in effects for row in effect.deleted]
        self._snapshot = Snapshot((*settled, last)).without(deleted)
        self.writes += 1

    def _append(
        self,
        head: Head,
        rows: Sequence[int],
        points: Sequence[StoredPoint],
        attributes: Sequence[Attributes],
    ) -> None:
        prepared: list[list[F32 | None]] = [[None] * len(points) for _ in self._fields]
        for number, field_ in enumerate(self._fields):
            having = [at for at, point in enumerate(points) if point.vectors[number] is not None]
            if having:
                given = np.stack([v for p in points if (v := p.vectors[number]) is not None])
                for at, vector in zip(having, prepare(field_.metric, given), strict=True):
                    prepared[number][at] = vector
        for at, (row, point) in enumerate(zip(rows, points, strict=True)):
            head.append(row, point.key, [column[at] for column in prepared], attributes[at])

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def search(self, searches: Sequence[Search]) -> list[Answer]:
        """Answer all searches on one state; see `Backend.search`."""
        with self._gate.entered():
            for _ in range(_ROUNDS):
                answers = self._search_once(searches)
                if answers is not None:
                    return answers
            with self._write_lock:
                answers = self._search_once(searches)
            assert answers is not None, "a row of the snapshot is missing from the store"
            return answers

    def _search_once(self, searches: Sequence[Search]) -> list[Answer] | None:
        """Answer all searches, or None if a write replaced a hit before it was read."""
        snapshot = self._snapshot
        outcomes: list[Outcome] = []
        for search in searches:
            number = self._number_of(search.using)
            outcomes.append(run(search, snapshot, self._fields[number], number))
        answers = []
        for search, outcome in zip(searches, outcomes, strict=True):
            records = self._records(outcome.page, search.projection)
            if records is None:
                return None
            hits = [
                Hit(found.score, record)
                for found, record in zip(outcome.page, records, strict=True)
            ]
            answers.append(
                Answer(hits, outcome.matches, outcome.plan, outcome.exact, outcome.explanation)
            )
        return answers

    def _number_of(self, name: str) -> int:
        if name not in self._numbers:
            raise UnknownVector(f"collection {self.name!r} has no vector named {name!r}")
        return self._numbers[name]

    def _records(self, page: Sequence[Found], projection: Projection) -> list[Record] | None:
        """Read what the projection shows of each hit; None if one is gone."""
        rows = [found.row for found in page]
        texts: dict[int, StoredText] = {}
        if projection.with_text or projection.fields is None or projection.fields:
            texts = self._store.texts(rows)
            if len(texts) < len(rows):
                return None
        vectors: list[dict[int, F32]] | None = None
        if projection.with_vectors:
            vectors = [self._store.vectors(number, rows) for number in range(len(self._fields))]
            if any(not any(row in own for own in vectors) for row in rows):
                return None
        records = []
        for found in page:
            stored = texts.get(found.row)
            records.append(
                Record(
                    id=id_from_key(found.key),
                    attributes=_projected(stored.attributes, projection) if stored else {},
                    text=stored.text if stored and projection.with_text else None,
                    vectors=None
                    if vectors is None
                    else {
                        f.name: own[found.row]
                        for f, own in zip(self._fields, vectors, strict=True)
                        if found.row in own
                    },
                )
            )
        return records

    def get(self, ids: Sequence[PointId], projection: Projection) -> list[Record]:
        """Read points by id; see `Backend.get`."""
        keys = [key_from_id(id_) for id_ in ids]
        with self._gate.entered():
            points = self._store.by_keys(keys, vectors=projection.with_vectors)
        return [
            Record(
                id=id_,
                attributes=_projected(point.attributes, projection),
                text=point.text if projection.with_text else None,
                vectors={
                    f.name: vector
                    for f, vector in zip(self._fields, point.vectors, strict=True)
                    if vector is not None
                }
                if projection.with_vectors
                else None,
            )
            for id_, key in zip(ids, keys, strict=True)
            if (point := points.get(key)) is not None
        ]

    def count(self, filter: Filter | None) -> int:
        """Count the matching points, exactly."""
        with self._gate.entered():
            snapshot = self._snapshot
            if filter is None:
                return snapshot.points
            return sum(bitset.count(matching(filter, live)) for live in snapshot.parts)

    def scroll(
        self, *, filter: Filter | None, limit: int, after: PointId | None, projection: Projection
    ) -> Page:
        """Read one page in id order; see `Backend.scroll`."""
        key = None if after is None else key_from_id(after)
        with self._gate.entered():
            for _ in range(_ROUNDS):
                page = self._scroll_once(filter, limit, key, projection)
                if page is not None:
                    return page
            with self._write_lock:
                page = self._scroll_once(filter, limit, key, projection)
            assert page is not None, "a row of the snapshot is missing from the store"
            return page

    def _scroll_once(
        self, filter: Filter | None, limit: int, after: bytes | None, projection: Projection
    ) -> Page | None:
        candidates: list[Found] = []
        for live in self._snapshot.parts:
            bits = live.live if filter is None else matching(filter, live)
            candidates += [
                Found(int(live.part.rows[slot]), live.part.key(slot), 0.0)
                for slot in _first(live.part.after(after), bits, limit + 1)
            ]
        candidates.sort(key=lambda found: found.key)
        records = self._records(candidates[:limit], projection)
        if records is None:
            return None
        return Page(records, records[-1].id if len(candidates) > limit else None)

    def describe(self) -> CollectionInfo:
        """Describe the collection as it is now."""
        snapshot = self._snapshot
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
            bool(self._building) or self._due(idle=False) is not None,
            self._created_at,
        )

    # ── changing the definition ──────────────────────────────────────────────────────────────

    def alter(
        self, change: Callable[[Definition], Definition], save: Callable[[Definition], None]
    ) -> None:
        """Change schema or index settings; `save` makes the change durable.

        Raises SchemaConflict if a stored point contradicts the new schema. Writers wait meanwhile.
        """
        with self._gate.entered(), self._write_lock:
            altered = change(self.definition)
            added = {
                name: kind
                for name, kind in altered.schema.items()
                if self.definition.schema.get(name) != kind
            }
            if added:
                self._check_stored(added)
            save(altered)
            self.definition = altered

    def _check_stored(self, schema: Mapping[str, str]) -> None:
        rows = self._store.rows()
        for start in range(0, rows.shape[0], 2000):
            for stored in self._store.texts(rows[start : start + 2000].tolist()).values():
                try:
                    check_conforms(attributes_from_json(stored.attributes), schema, "")
                except SchemaViolation as exc:
                    field_ = (exc.pointer or "/").split("/")[1]
                    raise SchemaConflict(
                        f"a stored point contradicts the declared kind of {field_!r}",
                        pointer=f"/schema/{field_}",
                    ) from exc

    # ── building ─────────────────────────────────────────────────────────────────────────────

    def _due(self, *, idle: bool) -> Merge | None:
        heads, settled = _divided(self._snapshot)
        return choose_merge(
            [Size(live.part.slots, live.count) for live, _ in settled],
            sum(live.count for live in heads),
            head_points=self._head_points,
            idle=idle,
        )

    def begin_build(self, *, idle: bool, threads: int) -> Build | None:
        """Seal the head and order a build, if one is due. One build at a time."""
        with self._gate.entered(), self._write_lock:
            merge = None if self._building else self._due(idle=idle)
            if merge is None:
                return None
            heads, settled = _divided(self._snapshot)
            heads = [live for live in heads if live.part.slots]
            chosen = [settled[number] for number in merge.sources]
            base = None if merge.base is None else settled[merge.base][1]
            sources = (*(live for live, _ in chosen), *heads)
            names = tuple(segment.name for _, segment in chosen)
            loose = [live.live_rows() for live in sources if live.part is not base]
            rows = np.concatenate([np.empty(0, np.int64), *loose])
            build = Build(
                Order(
                    store=str(self._store.path),
                    folder=str(self.folder / "segments" / uuid.uuid4().hex),
                    fields=[
                        {"name": f.name, "dimension": f.dimension, "metric": f.metric.value}
                        for f in self._fields
                    ],
                    m=self.definition.index.m,
                    ef_construction=self.definition.index.ef_construction,
                    base=None if base is None else str(base.folder),
                    rows=np.sort(rows).tolist(),
                    threads=threads,
                ),
                sources,
                names,
            )
            others = [live for live, _ in settled if live not in sources]
            self._head = self._new_head()
            empty = LivePart.of(self._head.view(), bitset.full(0))
            if base is None and rows.size == 0:  # nothing lives there: there is nothing to build
                self._store.write(lambda writer: writer.replace_segments(names, []))
                self._snapshot = Snapshot((*others, empty))
                return None
            self._snapshot = Snapshot((*(live for live, _ in settled), *heads, empty))
            self._building = sources
            return build

    def finish_build(self, build: Build) -> None:
        """Swap the built segment in for its sources.

        Raises StoredDataError if it cannot be opened or does not hold what it should.
        """
        segment = Segment.open(Path(build.order.folder))
        replaced = {id(live.part) for live in build.sources}
        with self._gate.entered(), self._write_lock:
            parts = self._snapshot.parts
            alive = [live.live_rows() for live in parts if id(live.part) in replaced]
            others = [live for live in parts if id(live.part) not in replaced]
            rows = np.concatenate(alive)
            bits = bitset.empty(segment.slots)
            bitset.set_slots(bits, segment.find_rows(rows))
            built = LivePart.of(segment, bits)
            if len(alive) != len(replaced) or built.count != rows.shape[0]:
                raise StoredDataError("the built segment lacks points that it should hold")
            self._store.write(
                lambda writer: writer.replace_segments(build.replaced, [segment.name])
            )
            self._snapshot = Snapshot((built, *others))
            self._building = ()
        for name in build.replaced:
            shutil.rmtree(self.folder / "segments" / name, ignore_errors=True)

    def abandon_build(self, build: Build) -> None:
        """Give a failed build up: its rows stay searchable where they were."""
        with self._write_lock:
            self._building = ()
        shutil.rmtree(build.order.folder, ignore_errors=True)
        shutil.rmtree(build.order.folder + ".tmp", ignore_errors=True)


def _divided(snapshot: Snapshot) -> tuple[list[LivePart], list[tuple[LivePart, Segment]]]:
    """Part a snapshot's heads from its segments."""
    heads = [live for live in snapshot.parts if not isinstance(live.part, Segment)]
    settled = [(live, live.part) for live in snapshot.parts if isinstance(live.part, Segment)]
    return heads, settled


def _loaded(
    scanned: Iterator[tuple[int, StoredPoint]],
) -> tuple[list[int], list[StoredPoint], list[Attributes]]:
    rows: list[int] = []
    points: list[StoredPoint] = []
    attributes: list[Attributes] = []
    for row, point in scanned:
        rows.append(row)
        points.append(point)
        attributes.append(attributes_from_json(point.attributes))
    return rows, points, attributes


def _projected(blob: bytes, projection: Projection) -> dict[str, Any]:
    if projection.fields is not None and not projection.fields:
        return {}
    attributes = attributes_from_json(blob)
    if projection.fields is None:
        return attributes
    return {name: value for name, value in attributes.items() if name in projection.fields}


def _first(slots: Any, bits: Any, limit: int) -> list[int]:
    """List the first `limit` of uint32[n] slots that are set in the bits, in their order."""
    found: list[int] = []
    step = max(1024, 4 * limit)
    for start in range(0, slots.shape[0], step):
        some = slots[start : start + step].astype(np.int64)
        inside = (bits[some >> 6] >> (some & 63).astype(np.uint64)) & np.uint64(1)
        found += some[inside.astype(bool)].tolist()
        if len(found) >= limit:
            break
        step *= 2
    return found[:limit]
