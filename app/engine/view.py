"""What the stages of a query plan see of a collection: one snapshot, and the store below it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.engine.fitting import check_fits
from app.engine.remembering import Remembering
from app.engine.search import check_words, matching, run
from app.engine.snapshot import LivePart, Snapshot
from app.engine.sparse import products, recall_sparse
from app.engine.subset import SnapshotSubset
from app.engine.words import Asked, asked_words, recall_words, score_words
from app.errors import InvalidQuery, UnknownVector
from app.exchange import Candidates, Recall, Recalled, Search, Words
from app.kernels import bits as bitset
from app.keys import key_from_id
from app.planner.costs import Costs
from app.types import (
    F32,
    F64,
    I64,
    Bits,
    Definition,
    Kept,
    PointId,
    Projection,
    Record,
    Sparse,
    VectorField,
    VectorKind,
)
from app.vectors.token_column import begins_of
from app.vectors.tokens import pooled

_GATHERED = 65_536  # vectors held at once while a mean is taken

_Made = TypeVar("_Made", bound=tuple[Any, ...])

ReadRecords = Callable[[Snapshot, Sequence[tuple[int, bytes]], Projection], "list[Record] | None"]

ReadKept = Callable[[str, str], "Kept | None"]


class Overtaken(Exception):
    """A write replaced a row before it was read: the plan is to run again on a newer snapshot."""


class SnapshotView:
    """A `View` over one snapshot. For one thread at a time."""

    def __init__(
        self,
        snapshot: Snapshot,
        definition: Definition,
        costs: Costs,
        read_records: ReadRecords,
        read_kept: ReadKept,
        memory: Remembering | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._definition = definition
        self._fields = list(definition.vectors.values())
        self._numbers = {field.name: number for number, field in enumerate(self._fields)}
        self._costs = costs
        self._read_records = read_records
        self._read_kept = read_kept
        self._kept: dict[tuple[str, str], Kept | None] = {}
        self._memory = memory or Remembering()
        self._last: tuple[Words, Asked] | None = None

    @property
    def definition(self) -> Definition:
        """Give the collection's definition."""
        return self._definition

    def recall(self, wanted: Recall) -> Recalled:
        """Find candidates; see `View.recall`."""
        query = wanted.query
        if isinstance(query, Words):
            return recall_words(wanted, self._words(query), self._snapshot)
        number, field = self._field(wanted.using)
        check_fits(query, field)
        if isinstance(query, Sparse):
            return recall_sparse(wanted, query, number, self._snapshot)
        if field.kind is VectorKind.TOKENS:
            query = pooled(query)
        search = Search(
            query,
            field.name,
            wanted.filter,
            k=wanted.k,
            ef=wanted.ef,
            exact=wanted.exact,
            exclude=wanted.exclude,
            explain=wanted.explain,
        )
        outcome = run(search, query, self._snapshot, field, number, self._costs)
        facts = outcome.explanation or {}
        if field.kind is VectorKind.TOKENS:
            facts = {"by": "pooled tokens", **facts}
        page = outcome.page
        rows = np.array([found.row for found in page], dtype=np.int64)
        keys = [found.key for found in page]
        candidates = Candidates(
            rows, keys, np.array([found.score for found in page], dtype=np.float64)
        )
        return Recalled(candidates, outcome.matches, outcome.plan, outcome.exact, facts)

    def score_words(self, words: Words, rows: I64) -> F64:
        """Score rows by words; see `View.score_words`."""
        return score_words(self._words(words), rows)

    def _words(self, words: Words) -> Asked:
        """Weigh words; the last ones are remembered, since they are often scored by once more."""
        if self._last is None or self._last[0] is not words:
            self._last = words, asked_words(words, self._snapshot)
        return self._last[1]

    def find(self, ids: Sequence[PointId]) -> I64:
        """Find rows by id; see `View.find`."""
        keys = [key_from_id(id_) for id_ in ids]
        found = self._snapshot.rows_of(ids)
        return np.array([found.get(key, -1) for key in keys], dtype=np.int64)

    def vectors(self, using: str, rows: I64) -> tuple[F32, NDArray[np.bool_]]:
        """Read vectors of a dense field; see `View.vectors`."""
        number, field = self._dense(using)
        gathered = np.zeros((rows.size, field.dimension), dtype=np.float32)
        has = np.zeros(rows.size, dtype=np.bool_)
        for live, places, slots in self.located(rows):
            present = live.part.present(number)
            if present is not None:
                kept = _marked(present, slots)
                places, slots = places[kept], slots[kept]
            gathered[places] = live.part.column(number).rows(slots)
            has[places] = True
        return gathered, has

    def tokens(self, using: str, rows: I64) -> tuple[F32, I64]:
        """Read vectors of tokens; see `View.tokens`."""
        number, field = self._field(using)
        if field.kind is not VectorKind.TOKENS:
            raise InvalidQuery(f"vector {using!r} is of kind {field.kind.value}: it has no tokens")
        counts = np.zeros(rows.size, dtype=np.int64)
        found: list[tuple[I64, F32, I64]] = []
        for live, places, slots in self.located(rows):
            column = live.part.tokens(number)
            assert column is not None
            order = np.argsort(places)
            read, own = column.rows(slots[order])
            if places.size == rows.size:  # the rows of one part: they are in order already
                return read, own
            counts[places[order]] = np.diff(own)
            found.append((places[order], read, own))
        begins = begins_of(counts)
        every = np.empty((int(begins[-1]), field.dimension), dtype=np.float32)
        for places, read, own in found:
            at = np.arange(own[-1]) + np.repeat(begins[places] - own[:-1], np.diff(own))
            every[at] = read
        return every, begins

    def products(self, using: str, query: Sparse, rows: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Multiply sparse vectors with one; see `View.products`."""
        number, field = self._field(using)
        check_fits(query, field)
        found = np.zeros(rows.size)
        has = np.zeros(rows.size, dtype=np.bool_)
        for live, places, slots in self.located(rows):
            present = live.part.present(number)
            if present is not None:
                kept = _marked(present, slots)
                places, slots = places[kept], slots[kept]
            found[places] = products(query, number, live, slots)
            has[places] = True
        return found, has

    def mean(self, using: str, filter: Filter | None) -> tuple[F32, int]:
        """Average what passes; see `View.mean`."""
        number, field = self._dense(using)
        total = np.zeros(field.dimension, dtype=np.float64)
        count = 0
        for live in self._snapshot.parts:
            slots = bitset.slots_of(self.allowed(live, number, filter))
            count += slots.size
            for start in range(0, slots.size, _GATHERED):
                some = live.part.column(number).rows(slots[start : start + _GATHERED])
                total += some.sum(axis=0, dtype=np.float64)
        return (total / max(count, 1)).astype(np.float32), count

    def sample(self, using: str, filter: Filter | None, most: int, seed: int) -> I64:
        """Draw rows; see `View.sample`."""
        number, _ = self._field(using)
        rows: list[I64] = []
        for live in self._snapshot.parts:
            slots = bitset.slots_of(self.allowed(live, number, filter))
            rows.append(live.part.rows[slots])
        every: I64 = np.sort(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)
        if every.size <= most:
            return every
        drawn = np.random.default_rng(seed).choice(every.size, size=most, replace=False)
        return every[np.sort(drawn)]

    def remembered(self, key: Hashable, make: Callable[[], _Made]) -> tuple[_Made, bool]:
        """Make something once for this state; see `View.remembered`."""
        return self._memory.get(self._snapshot, key, make)

    def subset(self, of: Filter | I64 | None) -> SnapshotSubset:
        """Take some points together; see `View.subset`."""
        if isinstance(of, np.ndarray):
            parts = []
            for live, _, slots in self.located(of):
                bits = bitset.empty(live.part.slots)
                bitset.set_slots(bits, slots)
                parts.append((live, bits))
            return SnapshotSubset(parts)
        every = self._snapshot.parts
        return SnapshotSubset(
            [(live, live.live if of is None else self._passing(of, live)) for live in every]
        )

    def passes(self, rows: I64, filter: Filter) -> NDArray[np.bool_]:
        """Hold points against a filter; see `View.passes`."""
        found = np.zeros(rows.size, dtype=np.bool_)
        for live, places, slots in self.located(rows):
            found[places] = _marked(self._passing(filter, live), slots)
        return found

    def keys(self, rows: I64) -> list[bytes]:
        """Tell the ids' keys; see `View.keys`."""
        found = [b""] * rows.size
        for live, places, slots in self.located(rows):
            for place, key in zip(places.tolist(), live.part.keys(slots), strict=True):
                found[place] = key
        return found

    def attributes(self, rows: I64) -> list[Mapping[str, Any]]:
        """Read attributes; see `View.attributes`."""
        shown = Projection(with_text=False)
        return [record.attributes for record in self.records(rows, shown)]

    def records(
        self, rows: I64, projection: Projection, keys: Sequence[bytes] | None = None
    ) -> list[Record]:
        """Read points. Raises Overtaken; see `View.records`."""
        pairs = list(zip(rows.tolist(), self.keys(rows) if keys is None else keys, strict=True))
        records = self._read_records(self._snapshot, pairs, projection)
        if records is None:
            raise Overtaken
        return records

    def kept(self, kind: str, key: str) -> Kept | None:
        """Read what is kept; see `View.kept`."""
        if (kind, key) not in self._kept:
            self._kept[kind, key] = self._read_kept(kind, key)
        return self._kept[kind, key]

    # ── what the searches of other kinds of vectors share ────────────────────────────────────

    def allowed(self, live: LivePart, number: int, filter: Filter | None) -> Bits:
        """Mark what is alive, passes, and has a vector of the field."""
        bits = live.live if filter is None else self._passing(filter, live)
        present = live.part.present(number)
        return bits if present is None else bits & present

    def _passing(self, filter: Filter, live: LivePart) -> Bits:
        lexical = self._snapshot.lexical
        check_words(filter, lexical)
        return matching(filter, live, lexical)

    def located(self, rows: I64) -> Iterator[tuple[LivePart, I64, NDArray[np.uint32]]]:
        """Find live rows: each part with places in `rows` and the slots of these, in order."""
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        for live in self._snapshot.parts:
            slots = live.part.find_rows(rows)
            if slots.size == 0:
                continue
            slots = slots[_marked(live.live, slots)]
            places = order[np.searchsorted(ascending, live.part.rows[slots])]
            yield live, places, slots

    def _field(self, name: str | None) -> tuple[int, VectorField]:
        if name not in self._numbers:
            raise UnknownVector(f"the collection has no vector named {name!r}")
        number = self._numbers[name]
        return number, self._fields[number]

    def _dense(self, name: str) -> tuple[int, VectorField]:
        number, field = self._field(name)
        if field.kind is VectorKind.SPARSE:
            raise InvalidQuery(f"vector {name!r} is sparse: it has no rows of numbers")
        return number, field


def _marked(bits: Bits, slots: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell which slots are set."""
    inside = (slots & 63).astype(np.uint64)
    marked: NDArray[np.bool_] = (bits[slots >> 6] >> inside & np.uint64(1)).astype(np.bool_)
    return marked
