"""Words that stand side by side: looked for in the order in which texts hold them."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32


@nb.njit(nogil=True, boundscheck=False)
def _stands(
    stream: NDArray[Any], start: int, end: int, before: NDArray[Any], last: NDArray[Any]
) -> bool:
    """Tell whether a phrase stands in one text."""
    words = before.shape[0]
    for at in range(start, end - words):
        word = 0
        while word < words and stream[at + word] == before[word]:
            word += 1
        if word < words:
            continue
        wanted = stream[at + words]
        low, high = 0, last.shape[0]
        while low < high:
            middle = (low + high) >> 1
            if last[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        if low < last.shape[0] and last[low] == wanted:
            return True
    return False


_STREAMS = [nb.types.Array(kind, 1, "C", readonly=True) for kind in (nb.uint32, nb.uint64)]
_PLACES = nb.types.Array(nb.int64, 1, "C", readonly=True)
_SLOTS = nb.types.Array(nb.uint32, 1, "C", readonly=True)


@nb.njit(
    [
        nb.uint32[::1](stream, _PLACES, _PLACES, nb.int64, _SLOTS, stream, stream)
        for stream in _STREAMS
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def with_phrase(
    stream: NDArray[Any],
    ends: I64,
    fields: I64,
    width: int,
    slots: U32,
    before: NDArray[Any],
    last: NDArray[Any],
) -> U32:
    """Keep the slots in which a phrase stands.

    stream   uint32 or uint64[any], the terms of all slots, field after field, slot after slot
    ends     int64[1 + slots × width]: field f of slot s lies from `ends[s × width + f]` to the next
    fields   int64[any], the fields to look in
    slots    uint32[any], each below the number of slots
    before   [any], all terms of the phrase but the last; of the stream's type, as is
    last     [any], ascending: what the last term may be
    returns  uint32[kept], in the order of `slots`
    """
    kept = np.empty(slots.shape[0], np.uint32)
    count = 0
    for number in range(slots.shape[0]):
        first = np.int64(slots[number]) * width
        for place in range(fields.shape[0]):
            at = first + fields[place]
            if _stands(stream, ends[at], ends[at + 1], before, last):
                kept[count] = slots[number]
                count += 1
                break
    return kept[:count]
