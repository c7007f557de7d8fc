"""The newest points, searched exactly from the moment their write is acknowledged.

Theory of operation
-------------------
One writer (under the collection's write lock) appends; any number of readers hold `HeadView`s. A
view is a count and references to arrays. Appending writes only past every view's count, or moves to
larger arrays and leaves the old ones to the views that hold them, so a view never changes and no
reader takes a lock. Values of a slot are written before the count that publishes it.

A head ends when the background builder takes it: it is sealed (no more appends) and stays
searchable until the segment built from it replaces it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.evaluate import AttributeReader
from app.attributes.growing import GrowingIndex
from app.kernels import bits as bitset
from app.keys import key_from_id
from app.postings.growing import GrowingPostings, PostingsView
from app.segments.part import Searched, find_in_rows
from app.types import F32, I64, U32, Attributes, Bits, PointId, Sparse, VectorField, VectorKind
from app.vectors.arrays import read_only
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.token_column import GrowingTokens, TokenColumn
from app.vectors.tokens import TokenSet

_FIRST_CAPACITY = 256

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Head:
    """A growing part. `append` is for one thread at a time; `view` for any."""

    def __init__(self, fields: Sequence[VectorField]) -> None:
        self._slots = 0
        self._rows: I64 = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._keys: list[bytes] = []
        self._slots_by_key: dict[bytes, list[int]] = {}
        self._vectors: list[F32] = [
            np.zeros((_FIRST_CAPACITY, field.dimension), dtype=np.float32) for field in fields
        ]
        self._tokens = {
            number: GrowingTokens(field.dimension)
            for number, field in enumerate(fields)
            if field.kind is VectorKind.TOKENS
        }
        self._postings = {
            number: GrowingPostings()
            for number, field in enumerate(fields)
            if field.kind is VectorKind.SPARSE
        }
        self._absent: list[list[int]] = [[] for _ in fields]
        self._attributes = GrowingIndex()

    @property
    def slots(self) -> int:
        """Count the points appended so far."""
        return self._slots

    def append(
        self, row: int, key: bytes, vectors: Sequence[Searched | None], attributes: Attributes
    ) -> None:
        """Add one point version; `row` is above all rows before it, vectors are prepared."""
        slot = self._slots
        if slot == self._rows.shape[0]:
            self._rows = _doubled(self._rows)
            self._vectors = [_doubled(array) for array in self._vectors]
        self._rows[slot] = row
        for field, vector in enumerate(vectors):
            if vector is None:
                self._absent[field].append(slot)
            elif isinstance(vector, np.ndarray):
                self._vectors[field][slot] = vector
            elif isinstance(vector, TokenSet):
                self._vectors[field][slot] = vector.pooled
            elif isinstance(vector, Sparse):
                terms = vector.indices.astype(np.uint64)
                self._postings[field].append(slot, terms, vector.values[:, None])
        for field, tokens in self._tokens.items():
            own = vectors[field]
            tokens.append(own.tokens if isinstance(own, TokenSet) else None)
        self._attributes.append(attributes)
        self._keys.append(key)
        self._slots_by_key.setdefault(key, []).append(slot)
        self._slots = slot + 1

    def view(self) -> HeadView:
        """Take what has been appended so far."""
        return HeadView(
            self._slots,
            self._rows,
            self._keys,
            self._slots_by_key,
            self._vectors,
            {field: tokens.view() for field, tokens in self._tokens.items()},
            {field: postings.view(self._slots) for field, postings in self._postings.items()},
            self._absent,
            self._attributes,
        )


class HeadView:
    """The first `slots` points of a head: a `Part` without graphs."""

    def __init__(
        self,
        slots: int,
        rows: I64,
        keys: list[bytes],
        slots_by_key: dict[bytes, list[int]],
        vectors: list[F32],
        tokens: Mapping[int, TokenColumn],
        postings: Mapping[int, PostingsView],
        absent: list[list[int]],
        attributes: GrowingIndex,
    ) -> None:
        self.slots = slots
        self.rows: I64 = rows[:slots]
        self._keys = keys
        self._slots_by_key = slots_by_key
        self._columns = [Column(read_only(array[:slots])) for array in vectors]
        self._tokens = tokens
        self._postings = postings
        self._present = [_all_but(lacking, slots) for lacking in absent]
        self._attributes = attributes
        self._sorted: U32 | None = None

    @property
    def attributes(self) -> AttributeReader:
        """Give the attribute index, which may know newer slots than this view."""
        return self._attributes

    def column(self, field: int) -> Column:
        """Give the vectors of a field, without codes."""
        return self._columns[field]

    def tokens(self, field: int) -> TokenColumn | None:
        """Give the tokens of a field of tokens."""
        return self._tokens.get(field)

    def postings(self, field: int) -> PostingsView | None:
        """Give the postings of a sparse field."""
        return self._postings.get(field)

    def present(self, field: int) -> Bits | None:
        """Mark the slots that have a vector of this field; None means all."""
        return self._present[field]

    def graph(self, field: int) -> Graph | None:
        """Give None: a head is scanned."""
        return None

    def key(self, slot: int) -> bytes:
        """Give the key of a slot."""
        return self._keys[slot]

    def keys(self, slots: U32) -> list[bytes]:
        """Give the keys of several slots."""
        return [self._keys[slot] for slot in slots.tolist()]

    def find_ids(self, ids: Sequence[PointId]) -> U32:
        """Find the slots of those ids that stand here, dead versions included."""
        found = [
            slot
            for id_ in ids
            for slot in self._slots_by_key.get(key_from_id(id_), ())
            if slot < self.slots
        ]
        return np.array(found, dtype=np.uint32)

    def find_rows(self, rows: I64) -> U32:
        """Find the slots of those rows that stand here."""
        return find_in_rows(self.rows, None, rows)

    def after(self, key: bytes | None) -> U32:
        """List slots in order of key, from just after `key`."""
        if self._sorted is None:
            self._sorted = np.array(
                sorted(range(self.slots), key=self._keys.__getitem__), dtype=np.uint32
            )
        start = 0
        if key is not None:
            start = bisect_right(self._sorted.data, key, key=self._keys.__getitem__)
        return self._sorted[start:]


def _all_but(lacking: list[int], slots: int) -> Bits | None:
    if not lacking:
        return None
    bits = bitset.full(slots)
    bitset.clear_slots(bits, np.array(lacking, dtype=np.uint32))
    return bits


def _doubled(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    grown = np.zeros((2 * array.shape[0], *array.shape[1:]), dtype=array.dtype)
    grown[: array.shape[0]] = array
    return grown
