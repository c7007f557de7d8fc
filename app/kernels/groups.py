"""Slots in groups, one a value: how many of a set each group holds, and the set in their order."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32, Bits

_ONE = np.uint64(1)
_LOW = np.uint64(63)

_SLOTS = nb.types.Array(nb.uint32, 1, "C", readonly=True)
_BITS = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_OFFSETS = [nb.types.Array(width, 1, "C", readonly=True) for width in (nb.uint32, nb.uint64)]


@nb.njit(
    [nb.int64[::1](_BITS, offsets, _SLOTS) for offsets in _OFFSETS],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def count_each(bits: Bits, offsets: NDArray[np.uint64], slots: U32) -> I64:
    """Count of each group the slots that are in a set; slots past its last word are not.

    offsets  group i is slots[offsets[i] : offsets[i + 1]]; all arrays are read-only
    """
    groups = offsets.shape[0] - 1
    counts = np.zeros(groups, np.int64)
    words = np.uint64(bits.shape[0])
    for group in range(groups):
        held = np.uint64(0)
        for i in range(np.int64(offsets[group]), np.int64(offsets[group + 1])):
            slot = np.uint64(slots[i])
            word = slot >> np.uint64(6)
            if word < words:
                held += (bits[word] >> (slot & _LOW)) & _ONE
        counts[group] = np.int64(held)
    return counts


@nb.njit(
    [
        nb.types.UniTuple(nb.int64[::1], 2)(
            nb.uint64[::1], offsets, _SLOTS, nb.int64[::1], nb.int64, nb.int64
        )
        for offsets in _OFFSETS
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def take_in_order(
    bits: Bits, offsets: NDArray[np.uint64], slots: U32, order: I64, step: int, least: int
) -> tuple[I64, I64]:
    """Take slots out of a set, group by group, until there are `least` and a group has ended.

    bits     is changed: what is taken is cleared, so a slot of several groups is taken once
    order    of the groups; empty: as they stand
    step     1 from the first group on, −1 from the last
    returns  int64[taken] slots and int64[taken] groups
    """
    groups = offsets.shape[0] - 1
    room = min(64 + least, slots.shape[0])
    taken, of = np.empty(room, np.int64), np.empty(room, np.int64)
    count = 0
    words = np.uint64(bits.shape[0])
    for at in range(groups):
        group = at if step > 0 else groups - 1 - at
        if order.shape[0] > 0:
            group = order[group]
        for i in range(np.int64(offsets[group]), np.int64(offsets[group + 1])):
            slot = np.uint64(slots[i])
            word = slot >> np.uint64(6)
            if word < words and (bits[word] >> (slot & _LOW)) & _ONE == _ONE:
                bits[word] &= ~(_ONE << (slot & _LOW))
                if count == room:
                    room = min(2 * room, slots.shape[0])
                    more, more_of = np.empty(room, np.int64), np.empty(room, np.int64)
                    more[:count], more_of[:count] = taken, of
                    taken, of = more, more_of
                taken[count], of[count] = np.int64(slot), group
                count += 1
        if count >= least:
            break
    return taken[:count], of[:count]
