"""The best of all parts of a snapshot, from the best of each: exact, ties settled by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.engine.snapshot import LivePart
from app.exchange import Candidates
from app.kernels import bits as bitset
from app.types import F64, U32, Bits, PointId


class Part(NamedTuple):
    """The best of one part, and everything that ties with the last of them.

    slots, scores   uint32[n], float64[n]
    """

    live: LivePart
    slots: U32
    scores: F64


def without(allowed: Bits, live: LivePart, exclude: Sequence[PointId]) -> Bits:
    """Take points out of the bits of a part; the bits given stay as they are."""
    slots = live.part.find_ids(exclude) if exclude else ()
    if len(slots) == 0:
        return allowed
    left = allowed.copy()
    bitset.clear_slots(left, slots)
    return left


def best_of(found: Sequence[Part], k: int) -> Candidates:
    """Merge what the parts gave: the best k first, ties by id."""
    every = np.concatenate([np.empty(0), *(each.scores for each in found)])
    last = np.partition(every, -k)[-k] if every.size > k else -np.inf
    merged: list[tuple[float, bytes, int]] = []
    for live, slots, scores in found:
        slots, scores = _without_hopeless(live, slots, scores, last, k)
        rows: list[int] = live.part.rows[slots].tolist()
        merged += zip((-scores).tolist(), live.part.keys(slots), rows, strict=True)
    merged.sort()
    del merged[k:]
    return Candidates(
        np.array([row for _, _, row in merged], dtype=np.int64),
        [key for _, key, _ in merged],
        np.array([0.0 - far for far, _, _ in merged], dtype=np.float64),
    )


def _without_hopeless(
    live: LivePart, slots: U32, scores: F64, last: float, k: int
) -> tuple[U32, F64]:
    """Leave out what is below the last score, and of many that have it all but the first by id."""
    kept = scores >= last
    slots, scores = slots[kept], scores[kept]
    tied = scores == last
    if np.count_nonzero(tied) <= k:
        return slots, scores
    bits = bitset.empty(live.part.slots)
    bitset.set_slots(bits, slots[tied])
    first = np.array(live.first_by_key(bits, k), dtype=np.uint32)
    return (
        np.concatenate([slots[~tied], first]),
        np.concatenate([scores[~tied], np.full(first.size, last)]),
    )
