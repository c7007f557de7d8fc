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
an array that the first-level cache holds, a term after the other; or, where few slots are allowed,
each is looked up in the postings of every term. A sum that nothing was added to is −0.0, which no
sum becomes: so the slots that hold a term are counted on the way, exactly.

Every posting of the query's terms is looked at. Ways to pass over some (MaxScore, Turtle & Flood
1995; with bounds of blocks, Ding & Suel, SIGIR 2011) were measured and taken back, as the count
wants them all: docs/decisions/0025-postings.md.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.kernels.bits import _ones
from app.kernels.heap import push_max, replace_max
from app.types import F32, F64, I64, U32, Bits

WINDOW = 4096  # slots: 32 KB of sums
LOOKUP = 16  # postings that are added up in the time in which one is looked up

_ONE = np.uint64(1)
_UNTOUCHED = np.float64(-0.0).view(np.int64)  # the bits of a sum that nothing was added to


@nb.njit(nogil=True, inline="always")
def _frequency(weights: NDArray[Any], mix: F64, at: int) -> float:
    """Weigh the fields of a row."""
    total: float = 0.0
    for field in range(mix.shape[0]):
        total += mix[field] * np.float64(weights[at, field])
    return total


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


@nb.njit(nogil=True, inline="always")
def _plus(
    total: float, factor: float, mix: F64, norms: F32, slots: U32, weights: NDArray[Any], at: int
) -> float:
    """Add what a posting is worth; nothing, where its word stands in no field that counts."""
    frequency = _frequency(weights, mix, at)
    if norms.shape[0] == 0:
        total += factor * frequency + 0.0  # as in `_add`
    elif frequency > 0.0:
        total += factor * (frequency / (frequency + np.float64(norms[slots[at]])))
    return total


@nb.njit(nogil=True, boundscheck=False)
def _add(
    sums: F64,
    base: int,
    factor: float,
    mix: F64,
    norms: F32,
    slots: U32,
    weights: NDArray[Any],
    first: int,
    stop: int,
) -> None:
    """Add a run of a term's postings to the sums of their slots: `_plus`, a loop for each kind."""
    if norms.shape[0] == 0:
        for at in range(first, stop):
            worth = factor * (mix[0] * np.float64(weights[at, 0])) + 0.0  # never −0.0
            sums[np.int64(slots[at]) - base] += worth
    else:
        fields = mix.shape[0]
        for at in range(first, stop):
            frequency = 0.0
            for field in range(fields):
                frequency += mix[field] * np.float64(weights[at, field])
            if frequency > 0.0:
                norm = np.float64(norms[slots[at]])
                sums[np.int64(slots[at]) - base] += factor * (frequency / (frequency + norm))


@nb.njit(nogil=True, boundscheck=False)
def _whole(
    slot: int,
    factors: F64,
    mix: F64,
    norms: F32,
    slots: U32,
    weights: NDArray[Any],
    places: I64,
    stops: I64,
) -> float:
    """Score a slot by all terms, moving `places` up to it; −0.0 if it holds none of them."""
    total: float = -0.0
    for t in range(factors.shape[0]):
        places[t] = _seek(slots, places[t], stops[t], slot)
        if places[t] < stops[t] and np.int64(slots[places[t]]) == slot:
            total = _plus(total, factors[t], mix, norms, slots, weights, places[t])
    return total


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
) -> tuple[U32, F64, int, int]:
    """Find the `wanted` best of the allowed slots that hold a term, and all that tie with the last.

    allowed  bits over slots
    returns  slots uint32[kept] and scores float64[kept], in order of slot; how many allowed slots
             hold a term; postings looked at
    """
    terms = factors.shape[0]
    places, stops = starts.copy(), starts.copy()
    sums = np.full(WINDOW, -0.0)
    bits_of = sums.view(np.int64)
    best = np.empty(wanted, np.float64)  # the scores of the best so far, negated, as a heap
    found = 0
    bar = -np.inf  # the least of them, once there are enough
    near = np.empty(1024, np.uint32)
    scores = np.empty(1024, np.float64)
    kept = matches = read = 0
    for first_word in range(0, allowed.shape[0], WINDOW >> 6):
        last_word = min(first_word + (WINDOW >> 6), allowed.shape[0])
        base, upto = first_word << 6, last_word << 6
        candidates = np.int64(0)
        for word in range(first_word, last_word):
            candidates += np.int64(_ones(allowed[word]))
        if candidates == 0:
            continue
        postings = 0
        for t in range(terms):
            places[t] = _seek(slots, stops[t], ends[t], base)
            stops[t] = _seek(slots, places[t], ends[t], upto)
            postings += stops[t] - places[t]
        if postings == 0:
            continue

        if candidates * terms * LOOKUP < postings:
            read += candidates * terms
            for word in range(first_word, last_word):
                bits = allowed[word]
                for i in range(64):
                    if bits >> np.uint64(i) & _ONE:
                        slot = (word << 6) + i
                        sums[slot - base] = _whole(
                            slot, factors, mix, norms, slots, weights, places, stops
                        )
        else:
            read += postings
            for t in range(terms):
                _add(sums, base, factors[t], mix, norms, slots, weights, places[t], stops[t])
        # Two loops: nearly every slot falls to the one comparison of the second, which processors
        # guess right, and the first has none to guess.
        for word in range(first_word, last_word):
            bits = allowed[word]
            for i in range(64):
                touched = bits_of[(word << 6) + i - base] != _UNTOUCHED
                matches += int(np.int64(touched) & np.int64((bits >> np.uint64(i)) & _ONE))
        for own in range(upto - base):
            score = sums[own]
            if score < bar or bits_of[own] == _UNTOUCHED:
                continue
            if (allowed[(base + own) >> 6] >> np.uint64(own & 63)) & _ONE == 0:
                continue
            if found < wanted:
                push_max(best, found, -score)
                found += 1
            elif score > bar:
                replace_max(best, found, -score)
            if found == wanted:
                bar = -best[0]
            if kept == near.shape[0]:
                near = np.concatenate((near, np.empty_like(near)))
                scores = np.concatenate((scores, np.empty_like(scores)))
            near[kept] = np.uint32(base + own)
            scores[kept] = score
            kept += 1
        sums[:] = -0.0
    good = scores[:kept] >= bar
    return near[:kept][good], scores[:kept][good], matches, read


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
                sums[i] = _plus(sums[i], factors[t], mix, norms, slots, weights, at)
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
