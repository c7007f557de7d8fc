"""Ranking by postings: the slots with the largest sums of worths, exactly.

Theory of operation
-------------------
A query is some terms with factors. What a posting adds to its slot's score, its *worth*, is

    sparse vectors   factor × weight
    words            factor × f / (f + norm[slot]),  f = Σ over text fields of mix × occurrences

the second being BM25 (Robertson & Zaragoza 2009, section 3.4) with fields weighted before they
saturate (Robertson, Zaragoza & Taylor, CIKM 2004). All sums are float64, in the order of the
query's terms, and so the same wherever a slot stands and whatever found it: ties are true ties.

`rank` goes through the slots window by window. The score of every slot of a window is added up in
an array that the first-level cache holds, a term after the other. Once `wanted` slots have been
found, the least of their scores is a bar, and MaxScore (Turtle & Flood 1995) applies in each window
by itself: terms whose bounds, added up, stay below the bar cannot lift a slot over it alone, so
they are looked up only for slots that the other terms brought near it. Bounds of a window come from
the blocks of 128 postings that reach into it (Ding & Suel, SIGIR 2011). A window that no sum of
bounds, or no allowed slot, makes worth the while is passed over.

Weights below zero have no such bounds: `bounded` is false then, as it is for postings without
blocks, and all are added up.
"""

from __future__ import annotations

from math import copysign
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.kernels.heap import push_max, replace_max
from app.types import F32, F64, I64, U32, Bits

WINDOW = 4096  # slots: 32 KB of sums
BLOCK_SHIFT = 7  # 128 postings, as app.postings.postings.BLOCK

_ONE = np.uint64(1)
_ROUNDING = (
    1e-12  # more than sums of 65,536 positive numbers in any two orders differ by, relatively
)


@nb.njit(nogil=True, inline="always")
def _frequency(weights: NDArray[Any], mix: F64, at: int) -> float:
    """Weigh the fields of a row."""
    total: float = 0.0
    for field in range(mix.shape[0]):
        total += mix[field] * np.float64(weights[at, field])
    return total


@nb.njit(nogil=True, inline="always")
def _worth(
    factor: float, mix: F64, norms: F32, slots: U32, weights: NDArray[Any], at: int
) -> float:
    """Tell what a posting adds."""
    frequency = _frequency(weights, mix, at)
    worth: float = frequency
    if norms.shape[0] and frequency > 0.0:
        worth = frequency / (frequency + np.float64(norms[slots[at]]))
    return factor * worth


@nb.njit(nogil=True, boundscheck=False)
def _seek(slots: U32, at: int, end: int, slot: int) -> int:
    """Find the first place from `at` whose slot is not below: strides that double, then halves."""
    if at >= end or slots[at] >= slot:
        return at
    stride = 1
    low = at
    while low + stride < end and slots[low + stride] < slot:
        low += stride
        stride <<= 1
    high = min(low + stride, end)
    while low + 1 < high:
        middle = (low + high) >> 1
        if slots[middle] < slot:
            low = middle
        else:
            high = middle
    return high


@nb.njit(nogil=True, boundscheck=False)
def _add(
    sums: F64,
    base: int,
    upto: int,
    factor: float,
    mix: F64,
    norms: F32,
    slots: U32,
    weights: NDArray[Any],
    at: int,
    end: int,
) -> int:
    """Add a term's postings below slot `upto` to the sums; give the place behind them."""
    single = mix.shape[0] == 1
    first = mix[0]
    if norms.shape[0] == 0:
        while at < end and slots[at] < upto:
            sums[np.int64(slots[at]) - base] += factor * (first * np.float64(weights[at, 0]))
            at += 1
    elif single:
        while at < end and slots[at] < upto:
            frequency = first * np.float64(weights[at, 0])
            norm = np.float64(norms[slots[at]])
            sums[np.int64(slots[at]) - base] += factor * (frequency / (frequency + norm))
            at += 1
    else:
        while at < end and slots[at] < upto:
            frequency = _frequency(weights, mix, at)
            if frequency > 0.0:
                norm = np.float64(norms[slots[at]])
                sums[np.int64(slots[at]) - base] += factor * (frequency / (frequency + norm))
            at += 1
    return at


@nb.njit(nogil=True, cache=True, boundscheck=False)
def rank(
    factors: F64,
    mix: F64,
    norms: F32,
    starts: I64,
    ends: I64,
    slots: U32,
    weights: NDArray[Any],
    allowed: Bits,
    wanted: int,
) -> tuple[U32, F64, int]:
    size = allowed.shape[0] * 64
    positions = starts.copy()
    sums = np.full(WINDOW, -0.0)
    best = np.empty(wanted, np.float64)
    found = 0
    limit = -np.inf
    near = np.empty(1024, np.uint32)
    near_scores = np.empty(1024, np.float64)
    kept = 0
    touched = 0
    for base in range(0, size, WINDOW):
        upto = min(base + WINDOW, size)
        for t in range(factors.shape[0]):
            before = positions[t]
            positions[t] = _add(
                sums, base, upto, factors[t], mix, norms, slots, weights, positions[t], ends[t]
            )
            touched += positions[t] - before
        for word in range(base >> 6, upto >> 6):
            bits = allowed[word]
            if bits == 0:
                continue
            for i in range(64):
                inner = (word << 6) + i - base
                score = sums[inner]
                if score < limit or (score == 0.0 and copysign(1.0, score) < 0.0):
                    continue
                if (bits >> np.uint64(i)) & _ONE == 0:
                    continue
                if kept == near.shape[0]:
                    near = np.concatenate((near, np.empty_like(near)))
                    near_scores = np.concatenate((near_scores, np.empty_like(near_scores)))
                near[kept] = np.uint32(base + inner)
                near_scores[kept] = score
                kept += 1
                if found < wanted:
                    push_max(best, found, -score)
                    found += 1
                    if found == wanted:
                        limit = -best[0]
                elif score > limit:
                    replace_max(best, found, -score)
                    limit = -best[0]
        sums[:] = -0.0
    keep = near_scores[:kept] >= limit
    return near[:kept][keep], near_scores[:kept][keep], touched


@nb.njit(nogil=True, cache=True, boundscheck=False)
def score(
    factors: F64,
    mix: F64,
    norms: F32,
    starts: I64,
    ends: I64,
    slots: U32,
    weights: NDArray[Any],
    chosen: U32,
) -> F64:
    """Add up the worths of chosen slots, ascending: float64[chosen], −0.0 for those without any."""
    sums = np.full(chosen.shape[0], -0.0)
    for t in range(factors.shape[0]):
        at, end = starts[t], ends[t]
        for i in range(chosen.shape[0]):
            at = _seek(slots, at, end, np.int64(chosen[i]))
            if at == end:
                break
            if slots[at] == chosen[i]:
                sums[i] += _worth(factors[t], mix, norms, slots, weights, at)
    return sums


@nb.njit(nogil=True, cache=True, boundscheck=False)
def holding(mix: F64, starts: I64, ends: I64, slots: U32, weights: NDArray[Any], live: Bits) -> I64:
    """Count, for each term, the live slots that hold it in a field that counts."""
    counts = np.zeros(starts.shape[0], np.int64)
    for t in range(starts.shape[0]):
        for at in range(starts[t], ends[t]):
            slot = np.int64(slots[at])
            if (live[slot >> 6] >> np.uint64(slot & 63)) & _ONE and _frequency(
                weights, mix, at
            ) > 0.0:
                counts[t] += 1
    return counts


@nb.njit(nogil=True, cache=True, boundscheck=False)
def measure(lengths: U32, mix: F64, live: Bits) -> tuple[int, float]:
    """Count the live slots with any words in the fields that count, and add up their lengths."""
    texts = 0
    total = 0.0
    for slot in range(lengths.shape[0]):
        if (live[slot >> 6] >> np.uint64(slot & 63)) & _ONE:
            length = _frequency(lengths, mix, slot)
            if length > 0.0:
                texts += 1
                total += length
    return texts, total
