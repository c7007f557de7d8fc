"""Packed sets of slots (`Bits`): setting, clearing, counting, listing.

Slot s is bit `s % 64` of word `s // 64`; bits past the last slot are zero, and every function
here keeps them so if the slots it is given lie below the set's own number of slots. Union and
intersection need no kernel: numpy's `|` and `&` on uint64 run at memory speed.

Slots whose word lies outside the set are skipped, not written: a reader of a segment that still
grows may meet slots newer than its own set.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import F64, I64, U32, Bits

_ONE = np.uint64(1)
_LOW = np.uint64(63)
_FIRST = [np.uint64((1 << slots) - 1) for slots in range(64)]  # the first so many bits of a word


def words(slots: int) -> int:
    """Count the words of a set over `slots` slots."""
    return (slots + 63) >> 6


def empty(slots: int) -> Bits:
    """Make the set of no slots."""
    return np.zeros(words(slots), np.uint64)


def full(slots: int) -> Bits:
    """Make the set of all slots."""
    bits = np.full(words(slots), ~np.uint64(0))
    trim(bits, slots)
    return bits


def trim(bits: Bits, slots: int) -> None:
    """Clear, in place, the bits past the last slot."""
    if slots & 63:
        bits[-1] &= _FIRST[slots & 63]


# Both layouts of the inputs are compiled ahead: arrays mapped from files are read-only.
_SLOTS = nb.types.Array(nb.uint32, 1, "C", readonly=True)
_BITS = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_OWN_BITS = nb.uint64[::1]
_OWN_SLOTS = nb.uint32[::1]


@nb.njit(
    [nb.void(_OWN_BITS, _OWN_SLOTS), nb.void(_OWN_BITS, _SLOTS)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def set_slots(bits: Bits, slots: U32) -> None:
    """Add slots, in place; they may come in any order and repeat."""
    count = np.uint64(bits.shape[0])
    for i in range(slots.shape[0]):
        slot = np.uint64(slots[i])
        word = slot >> np.uint64(6)
        if word < count:
            bits[word] |= _ONE << (slot & _LOW)


@nb.njit(
    [nb.void(_OWN_BITS, _OWN_SLOTS), nb.void(_OWN_BITS, _SLOTS)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def clear_slots(bits: Bits, slots: U32) -> None:
    """Remove slots, in place; they may come in any order and repeat."""
    count = np.uint64(bits.shape[0])
    for i in range(slots.shape[0]):
        slot = np.uint64(slots[i])
        word = slot >> np.uint64(6)
        if word < count:
            bits[word] &= ~(_ONE << (slot & _LOW))


@nb.njit(
    [
        nb.uint32[::1](_OWN_BITS, _OWN_SLOTS, nb.boolean),
        nb.uint32[::1](_OWN_BITS, _SLOTS, nb.boolean),
        nb.uint32[::1](_BITS, _OWN_SLOTS, nb.boolean),
        nb.uint32[::1](_BITS, _SLOTS, nb.boolean),
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def keep(bits: Bits, slots: U32, inside: bool) -> U32:
    """Copy the slots that are in the set (or, with `inside` false, those that are not).

    Order and repetition stay as they are. Slots past the last word are in no set.
    """
    out = np.empty(slots.shape[0], np.uint32)
    count = np.uint64(bits.shape[0])
    kept = 0
    for i in range(slots.shape[0]):
        slot = np.uint64(slots[i])
        word = slot >> np.uint64(6)
        held = word < count and (bits[word] >> (slot & _LOW)) & _ONE == _ONE
        if held == inside:
            out[kept] = slots[i]
            kept += 1
    return out[:kept]


@nb.njit(nogil=True)
def _ones(word: np.uint64) -> np.uint64:
    """Count the one bits of a word.

    Source: the bitwise sum of H. S. Warren, Hacker's Delight, section 5-1; LLVM compiles this
    form to its own population count.
    """
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    ones: np.uint64 = (word * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return ones


@nb.njit(
    [nb.int64(_OWN_BITS), nb.int64(_BITS)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def count(bits: Bits) -> int:
    """Count the slots of a set."""
    total = np.uint64(0)
    for i in range(bits.shape[0]):
        total += _ones(bits[i])
    return int(total)


@nb.njit(
    [nb.uint32[::1](_OWN_BITS), nb.uint32[::1](_BITS)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def slots_of(bits: Bits) -> U32:
    """List the slots of a set, ascending."""
    out = np.empty(count(bits), np.uint32)
    filled = 0
    for i in range(bits.shape[0]):
        word = bits[i]
        while word != np.uint64(0):
            low = word & (~word + _ONE)
            out[filled] = np.uint32(i * 64 + np.int64(_ones(low - _ONE)))
            filled += 1
            word ^= low
    return out


@nb.njit(
    [nb.boolean(_OWN_BITS, nb.int64), nb.boolean(_BITS, nb.int64)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def is_set(bits: Bits, slot: int) -> bool:
    """Tell whether a set, which has to be long enough, holds `slot`."""
    return bool((bits[slot >> 6] >> np.uint64(slot & 63)) & _ONE == _ONE)


@nb.njit(
    [
        nb.uint64[:, ::1](_OWN_SLOTS, nb.int64[::1], nb.int64),
        nb.uint64[:, ::1](_SLOTS, nb.int64[::1], nb.int64),
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def prefixes(slots: U32, places: I64, slot_count: int) -> NDArray[np.uint64]:
    """Make the sets of the first `places[i]` of these slots: a row of words each.

    places   ascending
    slots    below `slot_count`; a slot that stands an even number of times is in no set
    """
    words = (slot_count + 63) >> 6
    out = np.zeros((places.shape[0], words), np.uint64)
    at = np.int64(0)
    for i in range(places.shape[0]):
        if i > 0:
            out[i] = out[i - 1]
        while at < places[i]:
            slot = np.uint64(slots[at])
            out[i, slot >> np.uint64(6)] ^= _ONE << (slot & _LOW)
            at += 1
    return out


@nb.njit(nogil=True, boundscheck=False)
def _nearest(places: I64, place: int) -> int:
    at = 0
    end = places.shape[0]
    while at < end:  # the first place that is not below
        middle = (at + end) >> 1
        if places[middle] < place:
            at = middle + 1
        else:
            end = middle
    if at == places.shape[0] or (at > 0 and place - places[at - 1] < places[at] - place):
        return at - 1
    return at


@nb.njit(nogil=True, boundscheck=False)
def _toggle(bits: Bits, slots: U32, first: int, last: int) -> None:
    for i in range(first, last):
        slot = np.uint64(slots[i])
        bits[slot >> np.uint64(6)] ^= _ONE << (slot & _LOW)


@nb.njit(
    [
        nb.uint64[::1](nb.uint64[:, ::1], nb.int64[::1], _OWN_SLOTS, nb.int64, nb.int64),
        nb.uint64[::1](nb.uint64[:, ::1], nb.int64[::1], _SLOTS, nb.int64, nb.int64),
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def between(sets: NDArray[np.uint64], places: I64, slots: U32, first: int, last: int) -> Bits:
    """Make the set of `slots[first:last]`, all different, from the `prefixes` of `slots`.

    Two prefixes that differ by about that much are subtracted, and the rest is set or cleared slot
    by slot.
    """
    low = _nearest(places, first)
    high = _nearest(places, last)
    words = sets.shape[1]
    out = np.empty(words, np.uint64)
    for i in range(words):
        out[i] = sets[low, i] ^ sets[high, i]
    _toggle(out, slots, min(first, places[low]), max(first, places[low]))
    _toggle(out, slots, min(last, places[high]), max(last, places[high]))
    return out


@nb.njit(
    [
        nb.uint32[::1](nb.int64[::1], _OWN_SLOTS, nb.int64, nb.int64),
        nb.uint32[::1](nb.float64[::1], _OWN_SLOTS, nb.float64, nb.float64),
    ],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def slots_inside(values: I64 | F64, slots: U32, low: float, high: float) -> U32:
    """Copy the slots whose value is from `low` to `high`, both included."""
    out = np.empty(values.shape[0], np.uint32)
    kept = np.uint64(0)  # no branch: whether a value is inside cannot be foretold
    for i in range(values.shape[0]):
        out[kept] = slots[i]
        kept += np.uint64((values[i] >= low) & (values[i] <= high))
    return out[:kept]
