"""The table of growing postings (`app.postings.growing`): finding a term's run, adding to runs.

These keep the interpreter's lock, on purpose: it is what orders the writer and the readers.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32, U64

START, COUNT, ROOM = 0, 1, 2
_FIRST_ROOM = 2


@nb.njit(inline="always")
def _place(term: np.uint64, table: U32) -> np.uint64:
    """Scatter a term over the table: the product's high bits (Knuth, volume 3, section 6.4)."""
    mixed = term * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(32))) & np.uint64(table.shape[0] - 1)


@nb.njit(inline="always")
def _entry(table: U32, terms: U64, term: np.uint64) -> tuple[np.int64, np.uint64]:
    """Give a term's entry, or −1, and its place in the table, or the one that it would have."""
    place = _place(term, table)
    while table[place] != 0:
        entry = np.int64(table[place]) - 1
        if terms[entry] == term:
            return entry, place
        place = (place + np.uint64(1)) & np.uint64(table.shape[0] - 1)
    return np.int64(-1), place


@nb.njit(cache=True)
def fill(table: U32, terms: U64, entries: int) -> None:
    """Enter the first so many terms, all different, into a table of zeros."""
    for entry in range(entries):
        _, place = _entry(table, terms, terms[entry])
        table[place] = np.uint32(entry + 1)


@nb.njit(cache=True)
def append(
    table: U32,
    terms: U64,
    runs: I64,
    used: I64,
    slots: U32,
    weights: NDArray[Any],
    slot: int,
    given: U64,
    given_weights: NDArray[Any],
    done: int,
) -> int:
    """Add a slot to the runs of `given[done:]`, as far as there is room.

    returns   how many of `given` are done with
    """
    for number in range(done, given.shape[0]):
        entry, place = _entry(table, terms, given[number])
        if entry < 0:
            if used[0] == terms.shape[0] or used[1] + _FIRST_ROOM > slots.shape[0]:
                return number
            entry = used[0]
            terms[entry] = given[number]
            runs[entry, START] = used[1]
            runs[entry, COUNT] = 0
            runs[entry, ROOM] = _FIRST_ROOM
            used[0] += 1
            used[1] += _FIRST_ROOM
            table[place] = np.uint32(entry + 1)
        count = runs[entry, COUNT]
        if count == runs[entry, ROOM]:
            if used[1] + 2 * count > slots.shape[0]:
                return number
            start, moved = runs[entry, START], used[1]
            for i in range(count):
                slots[moved + i] = slots[start + i]
                for field in range(weights.shape[1]):
                    weights[moved + i, field] = weights[start + i, field]
            runs[entry, START] = moved
            runs[entry, ROOM] = 2 * count
            used[1] += 2 * count
        at = runs[entry, START] + count
        slots[at] = np.uint32(slot)
        for field in range(weights.shape[1]):
            weights[at, field] = given_weights[number, field]
        runs[entry, COUNT] = count + 1
    return len(given)


@nb.njit(cache=True)
def find(
    table: U32,
    terms: U64,
    runs: I64,
    used: I64,
    slots: U32,
    weights: NDArray[Any],
    wanted: U64,
    upto: int,
) -> tuple[I64, I64]:
    """Find where the runs of terms start, and where they end or reach slot `upto`."""
    starts = np.zeros(wanted.shape[0], np.int64)
    ends = np.zeros(wanted.shape[0], np.int64)
    for number in range(wanted.shape[0]):
        entry, _ = _entry(table, terms, wanted[number])
        if entry < 0:
            continue
        starts[number] = runs[entry, START]
        low, high = starts[number], starts[number] + runs[entry, COUNT]
        while low < high:
            middle = (low + high) >> 1
            if slots[middle] < upto:
                low = middle + 1
            else:
                high = middle
        ends[number] = low
    return starts, ends
