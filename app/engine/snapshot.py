"""The fixed view of a collection that one query runs on.

A snapshot is a tuple of parts with the bits of their live slots. It is replaced as a whole after
each write and each finished build, by a single assignment, so a reader that took one sees exactly
the writes before it and never waits. Tombstones copy the bits they change: 12 KB per 100,000 slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.kernels import bits as bitset
from app.postings.bm25 import Measured
from app.postings.words import WordReader
from app.segments.part import Part
from app.segments.segment import Segment
from app.types import I64, U32, Bits, Lexical, PointId


@dataclass(frozen=True, slots=True, eq=False)
class LivePart:
    """A part and what is known beside it.

    live    which of its slots are alive: read-only, `count` of them set
    words   of its slots, for the lexical index of the snapshot; None while they are not built
    measured   what is remembered of these words (`app.postings.bm25`); never another part's
    """

    part: Part
    live: Bits
    count: int
    words: WordReader | None = None
    measured: dict[bytes, Measured] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, part: Part, live: Bits, words: WordReader | None = None) -> LivePart:
        """Freeze a part with its live bits."""
        live.flags.writeable = False
        return cls(part, live, bitset.count(live), words)

    @property
    def dead(self) -> int:
        """Count the slots of deleted and replaced versions."""
        return self.part.slots - self.count

    def without(self, rows: I64) -> LivePart:
        """Tombstone those rows that stand here: int64[any]."""
        slots = self.part.find_rows(rows)
        if slots.size == 0:
            return self
        live = self.live.copy()
        bitset.clear_slots(live, slots)
        return LivePart.of(self.part, live, self.words)

    def live_rows(self) -> I64:
        """List the store rows of the live slots: int64[count]."""
        rows: I64 = self.part.rows[bitset.slots_of(self.live)]
        return rows

    def first_by_key(self, bits: Bits, limit: int, after: bytes | None = None) -> list[int]:
        """List the first `limit` slots of the bits in order of key, from just after a key."""
        return _first(self.part.after(after), bits, limit)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All parts of a collection at one moment; the growing head last.

    due_ms      no point of it expires before this time, in milliseconds since 1970
    hidden_ms   points that expire at this time or before are dead in it already
    lexical     what the parts' words are for; None if there is no such index
    """

    parts: tuple[LivePart, ...]
    due_ms: float = math.inf
    hidden_ms: int = -1
    lexical: Lexical | None = None

    @property
    def points(self) -> int:
        """Count the live points."""
        return sum(part.count for part in self.parts)

    @property
    def heads(self) -> list[LivePart]:
        """Give the parts without graphs that hold anything."""
        return [
            live for live in self.parts if not isinstance(live.part, Segment) and live.part.slots
        ]

    @property
    def segments(self) -> list[tuple[LivePart, Segment]]:
        """Give the parts that are segments."""
        return [(live, live.part) for live in self.parts if isinstance(live.part, Segment)]

    def rows_of(self, ids: Sequence[PointId]) -> dict[bytes, int]:
        """Find the live points of those ids: their rows by key."""
        found: dict[bytes, int] = {}
        for live in self.parts:
            slots = bitset.keep(live.live, live.part.find_ids(ids), True)
            rows: list[int] = live.part.rows[slots].tolist()
            found.update(zip(live.part.keys(slots), rows, strict=True))
        return found

    def without(self, rows: Sequence[int]) -> Snapshot:
        """Tombstone rows wherever they stand."""
        if not rows:
            return self
        gone = np.fromiter(rows, dtype=np.int64, count=len(rows))
        return replace(self, parts=tuple(part.without(gone) for part in self.parts))


def extended(live: Bits, slots: int, upto: int) -> Bits:
    """Grow live bits from `slots` to `upto` slots, the new ones alive."""
    grown = bitset.empty(upto)
    grown[: live.shape[0]] = live
    bitset.set_slots(grown, np.arange(slots, upto, dtype=np.uint32))
    return grown


def _first(slots: U32, bits: Bits, limit: int) -> list[int]:
    """List the first `limit` of uint32[n] slots that are set in the bits, in their order."""
    found: list[int] = []
    start, step = 0, max(1024, 4 * limit)
    while len(found) < limit and start < slots.shape[0]:
        found += bitset.keep(bits, slots[start : start + step], True).tolist()
        start, step = start + step, 2 * step
    return found[:limit]
