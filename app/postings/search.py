"""Ranking one part by its postings."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from app.kernels import postings as kernels
from app.postings.postings import Lists
from app.types import F32, F64, U32, U64, Bits
from app.vectors.arrays import read_only

ONE_FIELD: F64 = read_only(np.ones(1))
NO_NORMS: F32 = read_only(np.empty(0, dtype=np.float32))


class Searchable(Protocol):
    """`Postings`, or a view of growing ones."""

    @property
    def lengths(self) -> U32: ...

    def lists(self, terms: U64) -> Lists: ...


class Weighing(NamedTuple):
    """What a posting is worth: see `app.kernels.postings`.

    factors   float64[terms]
    mix       float64[fields], none negative
    norms     float32[slots], above zero; none for an inner product
    """

    factors: F64
    mix: F64 = ONE_FIELD
    norms: F32 = NO_NORMS


class Ranked(NamedTuple):
    """The slots with the best scores, best first: those wanted, and all that tie with the last.

    slots, scores   uint32[kept], float64[kept]
    matches         allowed slots that hold any of the terms
    read            postings looked at
    """

    slots: U32
    scores: F64
    matches: int
    read: int


def rank(lists: Lists, weighing: Weighing, allowed: Bits, wanted: int) -> Ranked:
    """Find the `wanted` best of the allowed slots (bits over slots) that hold any of the terms."""
    slots, scores, matches, read = kernels.rank(*weighing, *lists, read_only(allowed), wanted)
    order = np.argsort(-scores, kind="stable")
    return Ranked(slots[order], scores[order], matches, read)


def score(lists: Lists, weighing: Weighing, slots: U32) -> F64:
    """Score some slots, ascending: float64[slots], 0 for those that hold none of the terms."""
    scores: F64 = kernels.score(*weighing, *lists, slots) + 0.0
    return scores
