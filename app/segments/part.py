"""What a query sees of one searchable piece of a collection, whether head or graph segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from app.types import F32, I64, U32, Bits, PointId, Sparse
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.token_column import TokenColumn
from app.vectors.tokens import TokenSet

if TYPE_CHECKING:  # the build process opens segments too, and does without compiled code
    from app.attributes.evaluate import AttributeReader
    from app.postings.search import Searchable


Searched = F32 | TokenSet | Sparse
"""A vector as it is searched: of a dense field prepared for its metric, tokens at unit length with
their pooled vector, a sparse one as it is."""


class Part(Protocol):
    """Slots 0 … slots−1 with rows, keys, attributes and vectors; unchanging once taken.

    Which slots are alive is not known here: a snapshot keeps that beside each part.
    """

    @property
    def slots(self) -> int: ...

    @property
    def rows(self) -> I64:
        """The store's row of each slot: int64[slots]."""
        ...

    @property
    def attributes(self) -> AttributeReader: ...

    def column(self, field: int) -> Column:
        """The vectors of a field, as they are searched: pooled ones of tokens; of no numbers if it
        is sparse."""
        ...

    def tokens(self, field: int) -> TokenColumn | None:
        """The vectors of all tokens of a field of tokens; None of other fields."""
        ...

    def postings(self, field: int) -> Searchable | None:
        """Which slots hold each index of a sparse field, and its weights; None of other fields."""
        ...

    def present(self, field: int) -> Bits | None:
        """Which slots have a vector of this field; None means all."""
        ...

    def graph(self, field: int) -> Graph | None:
        """The graph over the slots that have this vector; None where only a scan is possible."""
        ...

    def key(self, slot: int) -> bytes: ...

    def keys(self, slots: U32) -> list[bytes]:
        """Keys of several slots, in their order."""
        ...

    def find_ids(self, ids: Sequence[PointId]) -> U32:
        """Slots of those ids that stand here, dead versions included."""
        ...

    def find_rows(self, rows: I64) -> U32:
        """Slots of those rows that stand here."""
        ...

    def after(self, key: bytes | None) -> U32:
        """Slots in order of key, from just after `key`."""
        ...


def find_in_rows(rows: I64, order: I64 | None, wanted: I64) -> U32:
    """Find the slots whose row is wanted.

    rows     int64[slots], all different
    order    int64[slots] that sorts `rows`, or None if they ascend already
    wanted   int64[any]
    returns  uint32[found], no particular order
    """
    if rows.shape[0] == 0 or wanted.shape[0] == 0:
        return np.empty(0, dtype=np.uint32)
    at = np.searchsorted(rows, wanted, sorter=order)
    at = np.minimum(at, rows.shape[0] - 1)
    slots = at if order is None else order[at]
    found: U32 = slots[rows[slots] == wanted].astype(np.uint32)
    return found
