"""Wide ranges without a visit to every slot: the sets of the first so many postings of a field.

Theory of operation
-------------------
The postings of a field stand in the order of their keys, so a range is a stretch of them. Where
every slot stands there once at most, the set of a stretch is the set of all postings before its
end less the set of all before its start: `x ^ y`, one pass over bits. The sets are kept for some
thirty places, and the slots between a place and the end of a stretch are set or cleared one by
one. Ranges begin and end between keys, so the places are put there as well: a field of few keys,
such as years, then has nothing left over.

Sets are made on first use and held in memory, about as many bytes as the postings themselves. A
field of lists, where a slot may stand twice, has none; its ranges visit their slots.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.kernels import bits
from app.types import I64, U32, Bits

_PLACES = 32  # to a full column: at 60,000 rows the rest costs what the exclusive or does


class Prefixes:
    """The sets of the first postings of one field. Immutable."""

    __slots__ = ("_places", "_sets", "_slots")

    def __init__(self, slots: U32, places: I64, rows: int) -> None:
        self._slots = slots
        self._places = places
        self._sets = bits.prefixes(slots, places, rows)

    @classmethod
    def of(cls, slots: U32, offsets: NDArray[Any], rows: int) -> Prefixes | None:
        """Make them for postings `slots`, or None if a slot stands twice.

        offsets  where each key's slots start and the last one's end, counted from any start
        rows     slots of the segment
        """
        if slots.shape[0] > rows:
            return None
        start = int(offsets[0])
        wanted = np.arange(start, int(offsets[-1]), max(rows // _PLACES, 1)).astype(offsets.dtype)
        after = np.searchsorted(offsets, wanted)
        before = offsets[np.maximum(after - 1, 0)]
        nearest = np.where(wanted - before < offsets[after] - wanted, before, offsets[after])
        places = np.append(nearest.astype(np.int64) - start, (0, slots.shape[0]))
        made = cls(slots, np.unique(places), rows)
        return made if bits.count(made._sets[-1]) == slots.shape[0] else None

    def between(self, first: int, last: int) -> Bits:
        """Make the set of the postings `first` … `last − 1`: the caller's to keep and change."""
        made: Bits = bits.between(self._sets, self._places, self._slots, first, last)
        return made
