"""Words that stand side by side: looked for in the order in which texts hold them."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32


@nb.njit(cache=True, nogil=True, boundscheck=False)
def _begins(
    stream: NDArray[np.unsignedinteger], start: int, end: int, before: NDArray, last: NDArray
) -> bool:
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


@nb.njit(cache=True, nogil=True, boundscheck=False)
def with_phrase(
    stream: NDArray[np.unsignedinteger],
    ends: I64,
    fields: I64,
    width: int,
    slots: U32,
    before: NDArray[np.unsignedinteger],
    last: NDArray[np.unsignedinteger],
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
            if _begins(stream, ends[at], ends[at + 1], before, last):
                kept[count] = slots[number]
                count += 1
                break
    return kept[:count]
