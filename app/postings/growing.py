"""Postings that grow by a point at a time: those of a head.

Theory of operation
-------------------
A table of open addressing finds a term's entry; an entry is a run in one pool of postings. A run
that is full moves to twice its room at the pool's end, and what it leaves stays as it is. So the
postings of a term always stand side by side, and the kernels that search a segment search a head.

One writer appends, under the collection's write lock; readers take no lock. Both go to the table
through compiled calls that keep the interpreter's lock (microseconds each), so a reader finds every
entry whole, and copies of it stay true: postings are never changed, and a run is only ever added to
at its end. A reader cuts a run where its view ends, since slots ascend. When table or pool are too
small, all arrays are copied to larger ones and replaced in one assignment, and those that readers
hold are never touched again.

After doubling, up to two thirds of the pool are room and former runs: a head is small, and its
segment has neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.kernels import term_table
from app.postings.postings import Lists, Weights
from app.types import I64, U32, U64
from app.vectors.arrays import doubled, read_only

_FIRST_ENTRIES = 1024
_FIRST_POSTINGS = 4096
_FIRST_SLOTS = 256


class _Arrays(NamedTuple):
    """What the kernels of `app.kernels.term_table` work on."""

    table: U32  # [power of two], number of an entry + 1, or 0
    terms: U64  # [entries]
    runs: I64  # [entries, 3]: start, count, room
    used: I64  # [2]: entries, places of the pool
    slots: U32  # the pool
    weights: Weights  # the pool, [places, fields]


class GrowingPostings:
    """`append` is for one thread at a time; `view` for any."""

    def __init__(self, fields: int = 0) -> None:
        """Begin with no points.

        fields   text fields of words; 0 for sparse vectors
        """
        self._arrays = _Arrays(
            np.zeros(2 * _FIRST_ENTRIES, dtype=np.uint32),
            np.zeros(_FIRST_ENTRIES, dtype=np.uint64),
            np.zeros((_FIRST_ENTRIES, 3), dtype=np.int64),
            np.zeros(2, dtype=np.int64),
            np.zeros(_FIRST_POSTINGS, dtype=np.uint32),
            np.zeros((_FIRST_POSTINGS, max(fields, 1)), dtype=np.uint16 if fields else np.float32),
        )
        self._lengths: U32 = np.zeros((_FIRST_SLOTS if fields else 0, fields), dtype=np.uint32)

    def append(self, slot: int, terms: U64, weights: Weights, lengths: U32 | None = None) -> None:
        """Add a point.

        slot      above all before it
        terms     uint64[any], all different
        weights   float32 or uint16 [terms, fields]
        lengths   uint32[fields] of words
        """
        done = 0
        while True:
            done = term_table.append(*self._arrays, slot, terms, weights, done)
            if done == terms.size:
                break
            self._arrays = _enlarged(self._arrays)
        if lengths is not None:
            while slot >= self._lengths.shape[0]:
                self._lengths = doubled(self._lengths)
            self._lengths[slot] = lengths

    def view(self, slots: int) -> PostingsView:
        """Take the first `slots` points."""
        lengths = self._lengths
        if lengths.shape[1]:
            while lengths.shape[0] < slots:  # the last points had no words
                lengths = self._lengths = doubled(lengths)
            lengths = lengths[:slots]
        return PostingsView(self, slots, read_only(lengths))

    def find(self, terms: U64, slots: int) -> Lists:
        """Find the postings of terms, uint64[any], in the first `slots` points."""
        arrays = self._arrays
        starts, ends = term_table.find(*arrays, terms, slots)
        return Lists(starts, ends, read_only(arrays.slots), read_only(arrays.weights))


class PostingsView:
    """The first points of growing postings, which never change."""

    __slots__ = ("_growing", "lengths", "slots")

    def __init__(self, growing: GrowingPostings, slots: int, lengths: U32) -> None:
        self._growing = growing
        self.slots = slots
        self.lengths = lengths

    def lists(self, terms: U64) -> Lists:
        """Find the postings of terms: uint64[any]."""
        return self._growing.find(terms, self.slots)


def _enlarged(arrays: _Arrays) -> _Arrays:
    """Copy to twice the room, the old arrays staying as they are."""
    terms = np.zeros(2 * arrays.terms.size, dtype=np.uint64)
    terms[: arrays.terms.size] = arrays.terms
    table = np.zeros(2 * terms.size, dtype=np.uint32)
    term_table.fill(table, terms, int(arrays.used[0]))
    return _Arrays(
        table,
        terms,
        doubled(arrays.runs),
        arrays.used.copy(),
        doubled(arrays.slots),
        doubled(arrays.weights),
    )
