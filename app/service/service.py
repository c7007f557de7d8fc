"""The use cases, and the one place where asynchronous and synchronous code meet.

What runs where: each method is awaited on the event loop and does nothing there but hand work on.
Checks, parsing and every backend call run on a lane (`app.service.lanes`): searches and reads on
one, writes on another, so that neither can starve the other; descriptions and health on a third,
so that an overloaded service can still say so. Texts are encoded between two visits to a lane,
on the encoder's own thread. The one exception are searches that are expected to be short: they are
done on the event loop, by the rule of `app.service.pace`. Questions about the service itself have
threads of their own (`app.service.probes`).

What was done is entered into `Service.work` on the event loop; where traces are wanted, `on_stage`
hears of it too.

Every check of a request comes before its first effect; a write is one backend call, and atomic.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from app.attributes.filter import Filter
from app.attributes.schema import check_schema_change
from app.backends.base import (
    Answer,
    Backend,
    CollectionInfo,
    Search,
    Selection,
    Statistics,
    Storage,
    View,
)
from app.config import Settings
from app.encoders.base import (
    Encoded,
    EncoderInfo,
    EncoderStatistics,
    LaneName,
    OutputKind,
    TextKind,
)
from app.encoders.inputs import Input
from app.encoders.inputs import Record as NamedValues
from app.encoders.registry import EncoderRegistry
from app.errors import (
    CollectionNotFound,
    InvalidField,
    InvalidImage,
    InvalidQuery,
    InvalidRequest,
    LikewiseError,
    LimitExceeded,
    PointNotFound,
    SchemaViolation,
    ShuttingDown,
)
from app.metrics.accounts import CacheAccount, Work
from app.query.facets import FacetPart, read_facets
from app.service import embedding, importing
from app.service.banks import Banks
from app.service.calibrations import Calibrations
from app.service.checks import check_batch, check_ids, check_name, placed_input
from app.service.classifying import Classifying
from app.service.cursor import cursor_after, id_from_cursor
from app.service.definitions import changed_index, changed_lexical, define
from app.service.embedding import Embedded, ToEmbed
from app.service.embedding_cache import EmbeddingCache
from app.service.encoding import Encoding
from app.service.evaluating import Evaluating
from app.service.evaluation_pairs import PairEvaluating
from app.service.evaluation_recognition import RecognitionEvaluating
from app.service.fetching import Fetcher
from app.service.images import Given, ImageInputs
from app.service.importing import (
    BadLine,
    Fault,
    Line,
    LineBatch,
    Progress,
    marked_lines,
    sift,
)
from app.service.labelled import QueryLists
from app.service.lanes import Lane
from app.service.pace import Kind, Pace, kinds_of
from app.service.planned import PlannedQuery, Planning, encode_all, needs_plan
from app.service.probes import Probes
from app.service.readers import Readers
from app.service.remembering import Means
from app.service.requests import (
    Chosen,
    NewCollection,
    NewIndex,
    NewLexical,
    NewLifetime,
    NewPoint,
    Query,
    ToCount,
)
from app.service.reranking import Order, Reranked, Reranking, ToRerank
from app.service.searching import Question, ask, checked_filter, placed
from app.service.selecting import check_patch, select
from app.service.self_check import SelfCheck
from app.service.snapshots import SnapshotKeeping
from app.service.verifying import Verifying
from app.service.writing import MOST_ENCODED, Draft, draft_points
from app.types import Definition, Projection, Record

WRITE_THREADS = 4
"""A backend takes one write per collection at a time; a few threads let collections overlap."""

BATCH_PAGES = 10
"""Most results of one `query:batch`, in multiples of `max_k`: they are all in memory at once."""

PATIENCE_S = 2.0
"""How long `/readyz` waits for a component before it says that there was no answer."""

State = Literal["starting", "running", "stopping"]

Result = TypeVar("Result")

OnStage = Callable[[str, float, float, dict[str, Any]], None]
"""Told of a stage when it is over: its name, when it began and ended (`time.perf_counter`), facts
(collection, k, plan, …). Called on the event loop, in the context of the request."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether to send requests here, with the state of each component."""

    status: Literal["ready", "degraded", "starting", "stopping"]
    components: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue: how many wait, and how many may."""

    waiting: int
    limit: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything there is to tell of a service, for `app.metrics.exposition`."""

    work: Work
    queues: dict[str, Queue]
    encoders: list[EncoderStatistics]
    cache: CacheAccount | None
    statistics: Statistics
    storage: Storage | None


class Service:
    """All use cases over one backend and one set of encoders, which it closes at the end."""

    def __init__(self, settings: Settings, backend: Backend, encoders: EncoderRegistry) -> None:
        self.settings = settings
        self.state: State = "starting"
        self._backend = backend
        named = [name.strip() for name in settings.encoders.split(",") if name.strip()]
        self._encoding = Encoding(
            encoders,
            default=settings.default_encoder,
            at_start=named or [settings.default_encoder],
            queue_texts=settings.encoder_queue,
        )
        self._cache: EmbeddingCache | None = None
        if settings.embedding_cache_mb > 0:
            self._cache = EmbeddingCache(
                self._encoding,
                settings.data_dir / "cache" / "embeddings.sqlite",
                settings.embedding_cache_mb << 20,
            )
        self._readers = Readers(self._encoding.describe, self._encoding.describe_all)
        self._fetcher = Fetcher(max_bytes=settings.max_image_bytes) if settings.image_urls else None
        self._images = ImageInputs(
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            max_fetched=settings.max_body_bytes,
            fetcher=self._fetcher,
        )
        self._search = Lane("search", threads=settings.search_threads, queue=settings.search_queue)
        self._write = Lane("write", threads=WRITE_THREADS, queue=settings.write_queue)
        self._control = Lane("control", threads=1, queue=settings.search_queue)
        self._probes = Probes(questions=2)
        self._pace = Pace()
        self.snapshots = SnapshotKeeping(
            backend,
            quick=self._control,
            restored=self._want_encoders,
            max_bytes=settings.max_snapshot_bytes,
        )
        self._reranking = Reranking(
            self._encoding,
            default=settings.default_reranker or settings.default_encoder,
            max_documents=settings.max_documents,
            max_text_chars=settings.max_text_chars,
            quick=self._control,
            lane=self._search,
        )
        self._planning = Planning(
            max_k=settings.max_k,
            max_text_chars=settings.max_text_chars,
            max_filter_nodes=settings.max_filter_nodes,
            images=self._images,
            reader=self._readers.reader,
            describe=self._encoding.describe,
        )
        means = Means(
            backend,
            self._planning,
            self._encoded_from,
            self._encoding.describe,
            self._encoding.usable,
            self._search.run,
            self._write.run,
        )
        self.verifying = Verifying(means)
        self.classifying = Classifying(means, self.verifying, max_k=settings.max_k)
        lists = QueryLists(
            self._planning, self._encoded_from, self._encoding.describe, self._encoding.usable
        )
        most, nodes = settings.max_k, settings.max_filter_nodes
        self.banks = Banks(backend, lists, self._search, self._write, most, nodes)
        self.calibrations = Calibrations(backend, lists, self._search, self._write, most)
        self.evaluating = Evaluating(
            backend,
            self.query,
            self._search,
            pairs=PairEvaluating(means),
            recognition=RecognitionEvaluating(means, self.classifying),
            max_k=settings.max_k,
            max_filter_nodes=settings.max_filter_nodes,
        )
        lanes = (self._search, self._write, self._control, self.snapshots.lane)
        self.lanes = {lane.name: lane for lane in lanes}
        self.work = Work()
        self.on_stage: OnStage | None = None
        self._self_check: SelfCheck | None = None
        if settings.self_check > 0:
            self._self_check = SelfCheck(
                settings.self_check,
                search=backend.search,
                busy=lambda: self._search.waiting > 0,
                work=self.work,
            )

    def start(self) -> None:
        """Take requests, and begin to load encoders in the background."""
        self._encoding.start()
        if self._self_check is not None:
            self._self_check.start()
        self.state = "running"

    def begin_stop(self) -> None:
        """Say from now on that the service is stopping; what was accepted is still finished."""
        self.state = "stopping"

    async def close(self) -> None:
        """Finish accepted work, then close encoders and backend. No request may come after."""
        self.begin_stop()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with ExitStack() as last_first:  # each is closed whatever happens to the others
            last_first.callback(self._backend.close)
            if self._cache is not None:
                last_first.callback(self._cache.close)
            last_first.callback(self._encoding.close)
            if self._self_check is not None:
                last_first.callback(self._self_check.close)
            if self._fetcher is not None:
                last_first.callback(self._fetcher.close)
            last_first.callback(self._probes.close)
            for lane in self.lanes.values():
                last_first.callback(lane.close)

    # ── collections ──────────────────────────────────────────────────────────────────────────

    async def create(self, name: str, new: NewCollection) -> tuple[CollectionInfo, bool]:
        """Create a collection; (info, False) if it exists with the same definition."""

        def work() -> tuple[CollectionInfo, bool]:
            check_name(name, "collection")
            definition = define(
                new,
                default_encoder=self._encoding.default,
                describe=self._encoding.describe,
            )
            created = self._backend.create(name, definition)
            self._want_encoders(created[0])
            return created

        return await self._wrote("create", name, work)

    async def describe(self, name: str) -> CollectionInfo:
        """Describe one collection."""
        return await self._control.run(partial(self._described, name))

    async def describe_all(self) -> list[CollectionInfo]:
        """Describe all collections, by name."""
        return await self._control.run(self._backend.describe_all)

    async def alter(
        self,
        name: str,
        schema: object,
        index: NewIndex | None,
        lexical: NewLexical | None = None,
    ) -> CollectionInfo:
        """Declare and forget schema fields, change the lexical index and later index builds."""

        def work() -> CollectionInfo:
            check_name(name, "collection")
            return self._backend.alter(
                name,
                schema=None if schema is None else check_schema_change(schema, "/schema"),
                index=None if index is None else partial(changed_index, change=index),
                lexical=None if lexical is None else changed_lexical(lexical),
            )

        return await self._wrote("alter", name, work)

    async def drop(self, name: str) -> None:
        """Delete a collection and its points."""
        await self._wrote("drop", name, lambda: self._backend.drop(check_name(name, "collection")))

    # ── points ───────────────────────────────────────────────────────────────────────────────

    async def upsert(self, name: str, points: Sequence[NewPoint]) -> int:
        """Insert or replace points, all or none, encoding their texts where a vector is missing."""

        def prepare() -> tuple[Draft, int | None]:
            draft = self._drafted(self._definition(name), points)
            for encoder in draft.missing:
                self._encoding.usable(encoder)
            return draft, None if draft.missing else self._upserted(name, draft)

        begun_s = time.perf_counter()
        draft, upserted = await self._write.run(prepare)
        if upserted is None:
            return await self._encoded_and_upserted(name, draft)
        self._note_write("upsert", name, begun_s, upserted)
        return upserted

    async def _encoded_and_upserted(
        self, name: str, draft: Draft, lane: LaneName | None = None
    ) -> int:
        for encoder, gaps in draft.missing.items():
            places = [gap.at for gap in gaps]
            given = draft.given_for(encoder)
            encoded = await self._encoded_from(
                encoder,
                given,
                places,
                "document",
                output=draft.output_for(encoder),
                lane=lane,
                most_numbers=MOST_ENCODED,
            )
            draft.fill(encoder, encoded, self._encoding.describe(encoder))
        begun_s = time.perf_counter()
        upserted = await self._write.run(partial(self._upserted, name, draft))
        self._note_write("upsert", name, begun_s, upserted)
        return upserted

    async def import_points(
        self,
        name: str,
        mark: str,
        batches: AsyncIterator[LineBatch],
        progress: Progress,
        *,
        skip: bool,
        on_progress: Callable[[], object] = lambda: None,
    ) -> None:
        """Write a stream of lines, each batch all or none; see `app.service.importing`.

        mark       of the collection that is meant
        skip       leave bad lines out instead of ending at the first
        progress   kept up to date, also when this raises

        Raises what ended it early, with the progress in the error's context.
        """

        async def write(lines: Sequence[Line]) -> tuple[int, Sequence[Fault]]:
            try:
                return await self._write_lines(name, mark, lines, skip=skip)
            except SchemaViolation:  # declared while the lines were encoded: check them again
                return await self._write_lines(name, mark, lines, skip=skip)

        await importing.run(batches, write, progress, on_progress=on_progress)

    async def _write_lines(
        self, name: str, mark: str, lines: Sequence[Line], *, skip: bool
    ) -> tuple[int, Sequence[Fault]]:
        def prepare() -> tuple[Draft | None, int, list[Fault]]:
            if self.state == "stopping":
                raise ShuttingDown("the service is stopping: go on from `next_line` later")
            definition = self._definition(name)
            if definition.mark != mark:  # dropped and made anew between two batches
                raise CollectionNotFound(name)
            draft, good, faults = sift(lines, definition, self._drafted, skip=skip)
            if draft is None:
                return None, good, faults
            for encoder in draft.missing:
                self._encoding.usable(encoder)
            if not draft.missing:
                self._upserted(name, draft)
                return None, good, faults
            return draft, good, faults

        begun_s = time.perf_counter()
        draft, good, faults = await self._write.run(prepare)
        if draft is not None:
            try:
                await self._encoded_and_upserted(name, draft, "bulk")
            except (InvalidImage, InvalidField):  # seen only now: by a fetch, or by an encoder
                bad = await self._unread(draft)
                if not bad:
                    raise
                marked = marked_lines(lines, draft, bad)
                return await self._write_lines(name, mark, marked, skip=skip)
        elif good:
            self._note_write("upsert", name, begun_s, good)
        if faults and not skip:
            raise BadLine(good, faults[0])
        return good, faults

    async def _unread(self, draft: Draft) -> dict[int, InvalidRequest]:
        """Why images and records of a draft cannot be had or read, by the place of their point."""
        found: dict[int, InvalidRequest] = {}
        for encoder, gaps in draft.missing.items():
            for place, damage in await self._images.faults([gap.given for gap in gaps]):
                damage.pointer = "/image"
                found[gaps[place].point] = damage
            records = [(gap.point, gap.given) for gap in gaps if isinstance(gap.given, NamedValues)]
            if records:
                inputs = [given for _, given in records]
                faults = partial(self._encoding.faults, encoder, inputs, "document")
                for place, error in await self._write.run(faults):
                    found[records[place][0]] = error
        return found

    async def patch(
        self,
        name: str,
        chosen: Chosen,
        set_: object,
        unset: Sequence[str] | None,
        lifetime: NewLifetime | None = None,
    ) -> int:
        """Set and remove attributes of the chosen points; returns how many were found.

        lifetime   when they are to expire from now on; None leaves each its own
        """

        def work() -> int:
            check_name(name, "collection")
            selection = self._selected(chosen)
            most = self.settings.max_attributes_bytes
            attributes, new = check_patch(set_, unset, lifetime, max_attributes_bytes=most)
            return self._backend.patch(
                name,
                selection,
                set_=attributes,
                unset=unset or (),
                lifetime=new,
                max_attributes_bytes=most,
            )

        return await self._wrote("patch", name, work)

    async def delete(self, name: str, chosen: Chosen) -> int:
        """Delete the chosen points; returns how many went."""

        def work() -> int:
            check_name(name, "collection")
            return self._backend.delete(name, self._selected(chosen))

        return await self._wrote("delete", name, work)

    async def _wrote(self, operation: str, name: str, work: Callable[[], Result]) -> Result:
        """Do a write on its lane and enter it."""
        begun_s = time.perf_counter()
        result = await self._write.run(work)
        points = result if isinstance(result, int) and operation in self.work.points else None
        self._note_write(operation, name, begun_s, points)
        return result

    def _note_write(self, operation: str, name: str, begun_s: float, points: int | None) -> None:
        ended_s = time.perf_counter()
        self.work.write_seconds[operation].note(ended_s - begun_s)
        facts: dict[str, Any] = {"collection": name, "operation": operation}
        if points is not None:
            self.work.points[operation] += points
            facts["points"] = points
        if self.on_stage is not None:
            self.on_stage("write", begun_s, ended_s, facts)

    async def get(
        self, name: str, ids: Sequence[object], projection: Projection
    ) -> tuple[list[Record], list[Any]]:
        """The points that exist, in order, and the ids that do not."""

        def work() -> tuple[list[Record], list[Any]]:
            check_name(name, "collection")
            wanted = check_ids(ids, limit=self.settings.max_batch, pointer="/ids")
            found = self._backend.get(name, wanted, projection)
            present = {record.id for record in found}
            return found, [one for one in wanted if one not in present]

        return await self._search.run(work)

    async def count(self, name: str, filter: object) -> int:
        """Count the points that pass a filter; None is no filter."""

        def work() -> int:
            check_name(name, "collection")
            return self._backend.count(name, self._filter(filter))

        return await self._search.run(work)

    async def facets(self, name: str, wanted: ToCount) -> tuple[int, dict[str, dict[str, Any]]]:
        """Summarise points by their attributes, on one state: how many, and each facet by name."""

        def prepare() -> tuple[str, dict[str, FacetPart], Filter | None, PlannedQuery | None]:
            definition = self._definition(name)
            parts = read_facets(wanted.facets, "/facets")
            filter = self._filter(wanted.filter)
            if wanted.query is None:
                return definition.mark, parts, filter, None
            return definition.mark, parts, filter, self._to_be_counted(definition, wanted)

        mark, parts, filter, planned = await self._search.run(prepare)
        if planned is not None:
            await encode_all([planned], self._encoded_from, self._encoding.describe)

        def run(view: View) -> tuple[int, dict[str, dict[str, Any]]]:
            subset = view.subset(filter if planned is None else planned.found(view))
            return subset.points, {name: part.run(subset) for name, part in parts.items()}

        return await self._search.run(partial(self._backend.view, name, run, mark))

    def _to_be_counted(self, definition: Definition, wanted: ToCount) -> PlannedQuery:
        """Read the query whose points are counted."""
        query = wanted.query
        assert query is not None
        if wanted.filter is not None:
            raise InvalidQuery("a query has its own filter: put it there", pointer="/filter")
        for member in ("rerank", "group_by"):
            given = query.rerank if member == "rerank" else (query.members or {}).get(member)
            if given is not None:
                raise InvalidQuery(
                    "which points are counted does not depend on it: leave it out",
                    pointer=f"{query.at}/{member}",
                )
        planned = self._planning.planned(definition, query, None)
        for encoder in {unread.encoder for unread in planned.unread}:
            self._encoding.usable(encoder)
        return planned

    async def mark(self, name: str) -> str:
        """Tell the collection that a name means now from others that it meant or will mean."""
        return (await self._control.run(partial(self._definition, name))).mark

    async def scroll(
        self,
        name: str,
        filter: object,
        limit: int,
        cursor: str | None,
        projection: Projection,
        mark: str | None = None,
    ) -> tuple[list[Record], str | None]:
        """One page of points in the order of their ids, and the cursor of the next.

        mark  if given, only of the collection that `mark` told
        """

        def work() -> tuple[list[Record], str | None]:
            check_name(name, "collection")
            most = self.settings.max_k
            if limit > most:
                raise LimitExceeded(
                    f"a page has at most {most} points", pointer="/limit", limit=most
                )
            page = self._backend.scroll(
                name,
                filter=self._filter(filter),
                limit=limit,
                after=None if cursor is None else id_from_cursor(cursor),
                projection=projection,
                mark=mark,
            )
            after = page.next_after
            return page.records, None if after is None else cursor_after(after)

        return await self._search.run(work)

    # ── queries ──────────────────────────────────────────────────────────────────────────────

    async def query(self, name: str, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries in order, all on one state of the collection.

        Their number is the caller's to check (`check_queries`), as is `Query.at`.
        """

        if self.state == "running":  # else the lane says so
            definition = self._definition(name)
            if any(needs_plan(query, definition) for query in queries):
                return await self._planned(name, queries)
        kinds = kinds_of(name, queries)
        if kinds and self.state == "running" and self._pace.allows(kinds):
            answers = self._answered_here(name, queries, kinds)
            if answers is not None:
                return answers

        def prepare() -> tuple[str, list[Question], list[Answer] | None]:
            begun_s = time.thread_time()
            mark, questions = self._asked(name, queries)
            if any(question.vector is None for question in questions):
                return mark, questions, None
            # Without texts there is nothing to wait for: one visit to the lane is enough.
            answers = self._answered(name, mark, questions)
            if kinds and len(kinds) == 1:
                self._pace.note(kinds[0], time.thread_time() - begun_s, on_loop=False)
            return mark, questions, answers

        (mark, questions, answers), begun_s, ended_s = await self._searched(prepare)
        if answers is None:
            self.work.stages["check"].note(ended_s - begun_s)
            await self._encode(questions)
            searched = await self._searched(partial(self._answered, name, mark, questions))
            answers, begun_s, ended_s = searched
        self._note_search(name, queries, answers, begun_s, ended_s)
        self._note_questions(name, questions, answers)
        if any(question.order is not None for question in questions):
            asked = [(question.query, question.order) for question in questions]
            return await self._reranked(asked, answers)
        return answers

    async def _planned(self, name: str, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries of which some take a plan, all of them on one state."""

        def run(mark: str, planned: Sequence[PlannedQuery]) -> list[Answer]:
            return self._backend.view(
                name, lambda view: [one.answer(view) for one in planned], mark
            )

        def prepare() -> tuple[str, list[PlannedQuery], list[Answer] | None]:
            self._check_sizes(queries)
            definition = self._definition(name)
            orders = self._orders(queries)
            read = [
                self._planning.planned(definition, query, order)
                for query, order in zip(queries, orders, strict=True)
            ]
            encoders = {unread.encoder for one in read for unread in one.unread}
            for encoder in encoders:
                self._encoding.usable(encoder)
            # With nothing to encode there is nothing to wait for: one visit to the lane is enough.
            return definition.mark, read, None if encoders else run(definition.mark, read)

        (mark, planned, answers), begun_s, ended_s = await self._searched(prepare)
        if answers is None:
            self.work.stages["check"].note(ended_s - begun_s)
            await encode_all(planned, self._encoded_from, self._encoding.describe)
            searched = await self._searched(partial(run, mark, planned))
            answers, begun_s, ended_s = searched
        self._note_search(name, [one.query for one in planned], answers, begun_s, ended_s)
        if any(one.order is not None for one in planned):
            return await self._reranked([(one.query, one.order) for one in planned], answers)
        return answers

    async def _reranked(
        self, asked: Sequence[tuple[Query, Order | None]], answers: Sequence[Answer]
    ) -> list[Answer]:
        begun_s = time.perf_counter()
        reranked = await self._reranking.reorder(asked, answers)
        ended_s = time.perf_counter()
        self.work.stages["rerank"].note(ended_s - begun_s)
        if self.on_stage is not None:
            facts = {"candidates": sum(len(answer.hits) for answer in answers)}
            self.on_stage("rerank", begun_s, ended_s, facts)
        return reranked

    async def rerank(self, wanted: ToRerank) -> Reranked:
        """Order documents by how well each answers a query."""
        return await self._reranking.rerank(wanted)

    async def _searched(self, work: Callable[[], Result]) -> tuple[Result, float, float]:
        """Do work on the search lane: its result, and when it began and ended there."""

        def timed() -> tuple[Result, float, float]:
            begun_s = time.perf_counter()
            return work(), begun_s, time.perf_counter()

        asked_s = time.perf_counter()
        done = await self._search.run(timed)
        self.work.stages["wait"].note(done[1] - asked_s)
        return done

    def _answered_here(
        self, name: str, queries: Sequence[Query], kinds: Sequence[Kind]
    ) -> list[Answer] | None:
        """Search on the event loop; None if that would mean to wait for somebody."""
        begun_s = time.perf_counter()
        mark, questions = self._asked(name, queries)
        searches = [question.search() for question in questions]
        answers = self._backend.search_now(name, searches, mark)
        ended_s = time.perf_counter()
        took_s = (ended_s - begun_s) / len(kinds)
        for kind in kinds:
            self._pace.note(kind, took_s, on_loop=True)
        if answers is not None:
            self._note_search(name, queries, answers, begun_s, ended_s)
            self._note_questions(name, questions, answers)
        return answers

    def _note_search(
        self,
        name: str,
        queries: Sequence[Query],
        answers: Sequence[Answer],
        begun_s: float,
        ended_s: float,
    ) -> None:
        """Enter a request that was answered: about two microseconds with one query."""
        work = self.work
        work.stages["search"].note(ended_s - begun_s)
        for answer in answers:
            work.answered(answer.plan, answer.parts)
        if self.on_stage is not None:
            facts = {
                "collection": name,
                "queries": len(answers),
                "k": max(query.k for query in queries),
                "plan": ",".join(sorted({answer.plan for answer in answers})),
                "matches": sum(answer.matches for answer in answers),
            }
            self.on_stage("search", begun_s, ended_s, facts)

    def _note_questions(
        self, name: str, questions: Sequence[Question], answers: Sequence[Answer]
    ) -> None:
        """Let some searches be checked against exact ones, if that is wanted."""
        if self._self_check is not None:
            self._self_check.seen(name, questions, answers)

    def check_queries(self, queries: int) -> None:
        """Raise if a batch has no queries or too many."""
        check_batch(queries, what="queries", limit=self.settings.max_queries, pointer="/queries")

    async def _encode(self, questions: Sequence[Question]) -> None:
        by_encoder: dict[str, list[Question]] = defaultdict(list)
        for question in questions:
            if question.given is not None:
                by_encoder[question.encoder].append(question)
        for encoder, asking in by_encoder.items():
            given = [question.given for question in asking if question.given is not None]
            encoded = await self._encoded_from(
                encoder, given, [question.place for question in asking], "query"
            )
            info = self._encoding.describe(encoder)
            for question, vector in zip(asking, encoded.vectors, strict=True):
                question.fill(vector, info)

    async def _encoded_from(
        self,
        encoder: str,
        given: Sequence[Given],
        places: Sequence[str],
        kind: TextKind,
        *,
        output: OutputKind = "dense",
        lane: LaneName | None = None,
        most_numbers: float = math.inf,
    ) -> Encoded:
        """Fetch what is to be fetched, and encode; errors point to the places of the inputs."""
        try:
            inputs = await self._images.fetched(given)
            return await self._encoded(
                encoder, inputs, kind, output, lane=lane, most_numbers=most_numbers
            )
        except LikewiseError as error:
            error.pointer = placed_input(error.pointer, places.__getitem__)
            raise

    async def _encoded(
        self,
        encoder: str,
        inputs: Sequence[Input],
        kind: TextKind,
        output: OutputKind = "dense",
        *,
        lane: LaneName | None = None,
        most_numbers: float = math.inf,
    ) -> Encoded:
        """Encode inputs and enter it; only those of queries are a stage of a query."""
        begun_s = time.perf_counter()
        encoding = self._cache or self._encoding
        encoded = await encoding.encode(
            encoder, inputs, kind, output, lane=lane, most_numbers=most_numbers
        )
        ended_s = time.perf_counter()
        if kind == "query":
            self.work.stages["encode"].note(ended_s - begun_s)
        if self.on_stage is not None:
            facts = {"encoder": encoder, "texts": len(inputs), "tokens": sum(encoded.tokens)}
            self.on_stage("encode", begun_s, ended_s, facts)
        return encoded

    def _asked(self, name: str, queries: Sequence[Query]) -> tuple[str, list[Question]]:
        """Check queries against the collection, and say which one of its name that was."""
        settings = self.settings
        definition = self._definition(name)
        questions = [
            ask(
                definition.vectors,
                query,
                max_k=settings.max_k,
                max_text_chars=settings.max_text_chars,
                max_filter_nodes=settings.max_filter_nodes,
                images=self._images,
                reader=self._readers.reader,
            )
            for query in queries
        ]
        self._check_sizes(queries)
        for question, order in zip(questions, self._orders(queries), strict=True):
            question.order = order
        for encoder in {q.encoder for q in questions if q.given is not None}:
            self._encoding.usable(encoder)
        return definition.mark, questions

    def _check_sizes(self, queries: Sequence[Query]) -> None:
        """Raise if a batch asks for more than is to be in memory at once."""
        most = BATCH_PAGES * self.settings.max_k
        if sum(query.k for query in queries) > most:
            raise LimitExceeded(
                f"all k of a batch add up to at most {most}", pointer="/queries", limit=most
            )

    def _orders(self, queries: Sequence[Query]) -> Sequence[Order | None]:
        """Check how queries are to be reranked."""
        if all(query.rerank is None for query in queries):
            return [None] * len(queries)
        return self._reranking.orders(queries)

    def _answered(self, name: str, mark: str, questions: Sequence[Question]) -> list[Answer]:
        searches: list[Search] = [question.search() for question in questions]
        try:
            return self._backend.search(name, searches, mark)
        except (PointNotFound, InvalidQuery) as error:
            raise placed(error, questions) from None

    # ── encoders ─────────────────────────────────────────────────────────────────────────────

    async def embed(self, wanted: ToEmbed) -> Embedded:
        """Encode inputs without storing them; see `app.service.embedding`."""
        return await embedding.embed(
            wanted,
            encoding=self._encoding,
            encode=self._encoded,
            lane=self._control,
            settings=self.settings,
            images=self._images,
            readers=self._readers,
        )

    async def models(self) -> list[EncoderInfo]:
        """All installed encoders."""
        return await self._control.run(self._encoding.describe_all)

    async def model(self, name: str) -> EncoderInfo:
        """One installed encoder. Raises EncoderNotFound."""
        return await self._control.run(partial(self._encoding.describe, name))

    async def load_model(self, name: str) -> EncoderInfo:
        """Begin to load an encoder, if it is not loaded; its status says how it stands."""
        return await self._control.run(partial(self._encoding.load, name))

    async def unload_model(self, name: str) -> EncoderInfo:
        """Let go of an encoder when what was accepted for it is done."""
        # It may wait for minutes: on no lane, where others would wait behind it.
        return await asyncio.to_thread(self._encoding.unload, name)

    async def health(self) -> Health:
        """Ask every component how it is; one that is not well makes the service degraded.

        Answers however full the queues are, and after `PATIENCE_S` without waiting any longer.
        """
        if self.state != "running":
            return Health(self.state, {})
        asked = self._probes.ask("health", self._components)
        try:
            components = await asyncio.wait_for(asked, PATIENCE_S)
        except ShuttingDown:
            return Health("stopping", {})
        except asyncio.TimeoutError:
            late = {"status": "slow", "detail": f"no answer within {PATIENCE_S:g} s"}
            components = {"engine": late, "queues": self._queues_health()}
        well = all(component["status"] == "ok" for component in components.values())
        return Health("ready" if well else "degraded", components)

    def _components(self) -> dict[str, dict[str, Any]]:
        return {
            "engine": self._backend.health(),
            "encoders": self._encoding.health(),
            "storage": self._storage_health(),
            "queues": self._queues_health(),
        }

    def _storage_health(self) -> dict[str, Any]:
        try:
            storage = self._backend.storage()
        except OSError as error:
            return {"status": "unavailable", "detail": error.strerror or "cannot be measured"}
        if storage is None:
            return {"status": "ok", "detail": "not on a disk of this machine"}
        facts = {"free_bytes": storage.free_bytes, "size_bytes": storage.size_bytes}
        if not storage.writable:
            return {"status": "read-only", "detail": "writes are refused, reads go on", **facts}
        if storage.free_bytes < self.settings.min_free_bytes:
            least = self.settings.min_free_bytes
            return {"status": "low", "detail": f"less than {least} bytes are free", **facts}
        return {"status": "ok", "detail": "", **facts}

    def _queues(self) -> dict[str, Queue]:
        return {name: Queue(lane.waiting, lane.limit) for name, lane in self.lanes.items()}

    def _queues_health(self) -> dict[str, Any]:
        queues = self._queues()
        for one in self._encoding.statistics():
            for lane, waiting in one.waiting.items():
                queues[f"encoder {one.name}, {lane}"] = Queue(waiting, one.limit)
        full = [name for name, queue in queues.items() if queue.waiting >= queue.limit]
        shown = {name: {"waiting": q.waiting, "limit": q.limit} for name, q in queues.items()}
        if full:
            return {"status": "full", "detail": f"no room: {', '.join(full)}", "queues": shown}
        return {"status": "ok", "detail": "", "queues": shown}

    async def figures(self, render: Callable[[Figures], Result]) -> Result:
        """Collect what there is to tell, and render it, on a thread that no request waits for."""

        def work() -> Result:
            try:
                storage = self._backend.storage()
            except OSError:  # /readyz says so
                storage = None
            return render(
                Figures(
                    self.work,
                    self._queues(),
                    self._encoding.statistics(),
                    None if self._cache is None else self._cache.account,
                    self._backend.statistics(),
                    storage,
                )
            )

        return await self._probes.ask("figures", work)

    # ── parts of several use cases; all run on a lane ────────────────────────────────────────

    def _described(self, name: str) -> CollectionInfo:
        return self._backend.describe(check_name(name, "collection"))

    def _definition(self, name: str) -> Definition:
        return self._backend.definition(check_name(name, "collection"))

    def _want_encoders(self, info: CollectionInfo) -> None:
        for field in info.definition.vectors.values():
            if field.encoder is not None:
                self._encoding.want(field.encoder)

    def _drafted(self, definition: Definition, points: Sequence[NewPoint]) -> Draft:
        return draft_points(
            definition,
            points,
            max_batch=self.settings.max_batch,
            max_text_chars=self.settings.max_text_chars,
            max_attributes_bytes=self.settings.max_attributes_bytes,
            images=self._images,
            readers=self._readers,
        )

    def _upserted(self, name: str, draft: Draft) -> int:
        try:
            return self._backend.upsert(name, draft.points(), draft.definition.mark)
        except SchemaViolation as error:
            raise error.under("/points") from None

    def _filter(self, raw: object) -> Filter | None:
        return checked_filter(raw, self.settings.max_filter_nodes)

    def _selected(self, chosen: Chosen) -> Selection:
        settings = self.settings
        return select(chosen, max_batch=settings.max_batch, max_nodes=settings.max_filter_nodes)
