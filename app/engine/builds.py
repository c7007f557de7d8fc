"""The builds of one collection: ordered, swapped in, given up.

A build runs in a process of its own (`app.engine.build_process`); this is its beginning and its
end. `begin` seals the head under the write lock and orders what `app.engine.merging` chose, or the
covers that queries wished for; `finish` swaps the result in, with the tombstones that came
meanwhile; `abandon` gives it up. One build of a collection at a time; in between nothing waits.

The store's `segments` table says which folders count, and changes in one transaction before
readers see the new segment: a crash leaves either the old ones or the new one.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.engine.build_process import CoverOrder, Order, WordsOrder
from app.engine.gate import Gate
from app.engine.merging import Merge, Size, choose_merge
from app.engine.parts import Parts, living
from app.engine.snapshot import LivePart
from app.errors import StoredDataError
from app.planner.costs import Costs
from app.planner.planner import rows_worth_a_graph
from app.postings.words import WordReader
from app.segments.covers import Covers
from app.segments.segment import Segment
from app.segments.words import open_words, words_folder
from app.storage.files import remove_folder
from app.storage.store import Store
from app.storage.write_points import WritePoint, reached
from app.types import Definition, Lexical, VectorField

WORTH_COVERS_NS = 20e6
"""Wished-for time from which covers are built. Low, because the build runs when nothing is written,
at low priority; a field that nobody filters by costs nothing."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """When and how a collection is built; see the settings of the same names."""

    head_points: int = 4096
    cover_share: float = 0.35
    vectors_on_disk: bool = False
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentBuild:
    """A segment under way: the order for the process, and the parts that it replaces."""

    order: Order
    sources: tuple[LivePart, ...]
    replaced: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CoverBuild:
    """Covers under way: the order for the process, and the segment they are for."""

    order: CoverOrder
    segment: Segment


@dataclass(frozen=True, slots=True, eq=False)
class WordsBuild:
    """The words of a segment under way: the order for the process, and the segment."""

    order: WordsOrder
    segment: Segment
    lexical: Lexical


Build = SegmentBuild | CoverBuild | WordsBuild


class Builds:
    """Begins and ends the builds of one collection. Every method is safe for any thread."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        parts: Parts,
        fields: Sequence[VectorField],
        definition: Callable[[], Definition],
        settings: BuildSettings,
        *,
        gate: Gate,
        write_lock: threading.Lock,
    ) -> None:
        self._folder = folder
        self._store = store
        self._parts = parts
        self._fields = fields
        self._definition = definition
        self._settings = settings
        self._gate = gate
        self._write_lock = write_lock
        self._running = False
        self._distrusted: set[str] = set()

    @property
    def pending(self) -> bool:
        """Tell whether a build is running or due."""
        return self._running or self._wordless() is not None or self._due(idle=False) is not None

    def begin(self, *, idle: bool, threads: int) -> Build | None:
        """Order a build, if one is due.

        idle   nothing has been written for a while: then smaller ones are, and covers
        """
        if self._running:
            return None
        begun = self._begin_words() or self._begin_segment(idle=idle, threads=threads)
        if begun is None and idle:
            return self._begin_covers(threads)
        return begun

    def finish(self, build: Build) -> None:
        """Put the result of a build in its place.

        Raises StoredDataError if it cannot be opened or does not hold what it should.
        """
        if isinstance(build, SegmentBuild):
            self._finish_segment(build)
        elif isinstance(build, WordsBuild):
            self._finish_words(build)
        else:
            self._finish_covers(build)

    def abandon(self, build: Build) -> None:
        """Give a failed build up: its rows stay searchable where they were."""
        if isinstance(build, SegmentBuild) and build.order.base is not None:
            self._distrusted.add(Path(build.order.base).name)
        self._running = False
        folder = Path(build.order.folder)
        for each in folder.parent.glob(f"{folder.name}*"):  # unfinished ones and words as well
            remove_folder(each)

    # ── segments ─────────────────────────────────────────────────────────────────────────────

    def _due(self, *, idle: bool) -> Merge | None:
        snapshot = self._parts.snapshot
        return choose_merge(
            [
                # One that a build could not read is rebuilt from the store, not extended.
                Size(live.part.slots, 0 if segment.name in self._distrusted else live.count)
                for live, segment in snapshot.segments
            ],
            sum(live.count for live in snapshot.heads),
            head_points=self._settings.head_points,
            idle=idle,
        )

    def _begin_segment(self, *, idle: bool, threads: int) -> SegmentBuild | None:
        if self._due(idle=idle) is None:  # without the lock: most looks end here
            return None
        with self._gate, self._write_lock:
            merge = self._due(idle=idle)
            if merge is None:
                return None
            snapshot = self._parts.snapshot
            settled = snapshot.segments
            base = None if merge.base is None else settled[merge.base][1]
            chosen = [settled[number] for number in merge.sources]
            names = tuple(segment.name for _, segment in chosen)
            sources = (*(live for live, _ in chosen), *snapshot.heads)
            loose = [live.live_rows() for live in sources if live.part is not base]
            rows = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *loose]))
            if base is None and rows.size == 0:  # nothing lives there: nothing is to be built
                self._store.write(lambda writer: writer.replace_segments(names, []))
                self._parts.seal()
                self._parts.swap(sources, None)
                self._remove(names)
                return None
            index = self._definition().index
            order = Order(
                store=str(self._store.path),
                folder=str(self._folder / uuid.uuid4().hex),
                fields=self._described_fields(),
                m=index.m,
                ef_construction=index.ef_construction,
                base=None if base is None else str(base.folder),
                rows=rows,
                threads=threads,
                lexical=described_lexical(self._definition().lexical),
            )
            self._parts.seal()
            self._running = True
            return SegmentBuild(order, sources, names)

    def _finish_segment(self, build: SegmentBuild) -> None:
        segment = Segment.open(
            Path(build.order.folder),
            fields=self._fields,
            vectors_on_disk=self._settings.vectors_on_disk,
        )
        words, lexical = self._opened_words(segment)
        with self._gate, self._write_lock:
            if self._definition().lexical is not lexical:  # altered while the words were opened
                words = None
            sources = self._parts.current(build.sources)
            if len(sources) != len(build.sources):
                raise StoredDataError("the parts that were built from are no longer there")
            rows = np.concatenate([live.live_rows() for live in sources])
            built = living(segment, rows, words)
            if built.count != rows.size:
                raise StoredDataError("the built segment lacks points that it should hold")
            used = [segment.name] if segment.slots else []  # all may have gone meanwhile
            self._store.write(lambda writer: writer.replace_segments(build.replaced, used))
            reached(WritePoint.SEGMENTS_REPLACED)
            for live in sources:
                if isinstance(live.part, Segment):
                    _inherit(segment, live.part)
            self._parts.swap(sources, built if used else None)
            self._running = False
            self._distrusted.difference_update(build.replaced)
        reached(WritePoint.SEGMENTS_SWAPPED)
        self._remove(build.replaced if used else (*build.replaced, segment.name))

    # ── covers ───────────────────────────────────────────────────────────────────────────────

    def _begin_covers(self, threads: int) -> CoverBuild | None:
        """Order the covers that queries of some segment wished for, if it is worth it."""
        if self._settings.cover_share <= 0:
            return None
        with self._gate:  # none begins for a collection that is closed
            return self._ordered_covers(threads)

    def _ordered_covers(self, threads: int) -> CoverBuild | None:
        for _, segment in self._parts.snapshot.segments:
            settled = segment.covers.settled if segment.covers is not None else frozenset()
            wishes = list(segment.wishes.items())
            wished = {wish: saved_ns for wish, saved_ns in wishes if wish not in settled}
            if sum(wished.values()) < WORTH_COVERS_NS:
                continue
            version = 0
            if segment.covers is not None:
                version = int(segment.covers.folder.name.rpartition(".")[2]) + 1
            m = self._definition().index.m
            dimension = max(self._fields[wish.vector].dimension for wish in wished)
            vector_bytes = segment.slots * dimension * 4
            order = CoverOrder(
                segment=str(segment.folder),
                folder=f"{segment.folder}.covers.{version}",
                fields=self._described_fields(),
                # The dearest first, then those that have covers already.
                wishes=[*sorted(wished, key=wished.__getitem__, reverse=True), *sorted(settled)],
                m=m,
                least=rows_worth_a_graph(dimension, True, self._settings.costs),
                budget=int(self._settings.cover_share * vector_bytes),
                threads=threads,
            )
            self._running = True
            return CoverBuild(order, segment)
        return None

    def _finish_covers(self, build: CoverBuild) -> None:
        covers = Covers.open(Path(build.order.folder), slots=build.segment.slots)
        before = build.segment.covers
        build.segment.covers = covers
        build.segment.wishes = {}
        self._running = False
        reached(WritePoint.COVERS_SWITCHED)
        if before is not None:
            remove_folder(before.folder)

    # ── words ────────────────────────────────────────────────────────────────────────────────

    def _wordless(self) -> Segment | None:
        """Find a segment that lacks the words that the collection's lexical index needs."""
        snapshot = self._parts.snapshot
        if snapshot.lexical is None:
            return None
        return next((segment for live, segment in snapshot.segments if live.words is None), None)

    def _begin_words(self) -> WordsBuild | None:
        if self._wordless() is None:
            return None
        with self._gate, self._write_lock:
            segment, lexical = self._wordless(), self._definition().lexical
            if segment is None or lexical is None:
                return None
            described = described_lexical(lexical)
            assert described is not None
            order = WordsOrder(
                store=str(self._store.path),
                segment=str(segment.folder),
                folder=str(words_folder(segment.folder, lexical)),
                fields=self._described_fields(),
                lexical=described,
            )
            # What stands there, if anything does, was found damaged.
            remove_folder(Path(order.folder))
            self._running = True
            return WordsBuild(order, segment, lexical)

    def _finish_words(self, build: WordsBuild) -> None:
        words = open_words(build.segment.folder, build.lexical, build.segment.slots)
        with self._gate, self._write_lock:
            wanted = self._definition().lexical
            serves = (
                wanted is not None
                and words_folder(build.segment.folder, wanted).name == Path(build.order.folder).name
            )
            if serves:
                self._parts.put_words(build.segment, words)
            self._running = False
        reached(WritePoint.WORDS_SHOWN)
        if not serves:
            remove_folder(Path(build.order.folder))

    def _opened_words(self, segment: Segment) -> tuple[WordReader | None, Lexical | None]:
        """Open the words that were built with a segment, if they are the ones that are wanted."""
        lexical = self._definition().lexical
        if lexical is None or not words_folder(segment.folder, lexical).exists():
            return None, lexical
        return open_words(segment.folder, lexical, segment.slots), lexical

    def forget_words(self) -> None:
        """Remove the folders of words that no longer serve the collection's lexical index."""
        snapshot = self._parts.snapshot
        for _, segment in snapshot.segments:
            kept = snapshot.lexical and words_folder(segment.folder, snapshot.lexical)
            for folder in self._folder.glob(f"{segment.name}.words.*"):
                if folder != kept and folder.suffix != ".tmp":
                    remove_folder(folder)

    # ── folders ──────────────────────────────────────────────────────────────────────────────

    def _described_fields(self) -> list[dict[str, Any]]:
        return [
            {
                "name": f.name,
                "dimension": f.dimension,
                "metric": f.metric.value,
                "kind": f.kind.value,
            }
            for f in self._fields
        ]

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            for folder in self._folder.glob(f"{name}*"):  # its covers as well
                remove_folder(folder)


def described_lexical(lexical: Lexical | None) -> dict[str, Any] | None:
    """Say a lexical index in plain values, for an order."""
    if lexical is None:
        return None
    return {"fields": list(lexical.fields), "language": lexical.language}


def _inherit(segment: Segment, source: Segment) -> None:
    """Let a segment begin with what queries wished of the one that it replaces."""
    for wish, saved_ns in list(source.wishes.items()):
        segment.wish(wish, saved_ns)
    if source.covers is not None:
        for wish in source.covers.settled:
            segment.wish(wish, WORTH_COVERS_NS)
