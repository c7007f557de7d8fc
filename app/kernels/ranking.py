"""The end of every search: candidates compared in float32, the nearest kept.

Every score that leaves the engine comes from `rank`, whatever found the row: the same compiled loop
over the same row gives the same bits, so answers of different plans can be merged and compared, and
ties are true ties.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.distance import distance
from app.kernels.heap import key_of, push_max, replace_max, value_of
from app.kernels.prefetch import prefetch_row
from app.types import F32, U32

AHEAD = 4  # rows to prefetch ahead: a row of 384 floats takes about 34 ns, memory about 100


@nb.njit
def rank(kind: int, query: F32, vectors: F32, slots: U32, wanted: int) -> tuple[U32, F32]:
    """Find the `wanted` nearest of some rows, and all that tie with the last of them.

    slots    uint32[candidates], each once
    vectors  float32[slots, d]; without rows if they are not at hand: then the candidates come back
             as they are, to be ranked by `rank_rows`
    returns  slots uint32[kept], distances float32[kept], nearest first, ties by slot
    """
    if vectors.shape[0] == 0:
        return slots, np.empty(0, np.float32)
    rows = slots.shape[0]
    lines = (query.shape[0] * 4 + 63) // 64
    wanted = min(wanted, rows)
    distances = np.empty(rows, np.float32)
    nearest = np.empty(wanted, np.uint64)
    found = 0
    for i in range(min(AHEAD, rows)):
        for line in range(lines):
            prefetch_row(vectors, np.int64(slots[i]), line)
    for i in range(rows):
        if i + AHEAD < rows:
            for line in range(lines):
                prefetch_row(vectors, np.int64(slots[i + AHEAD]), line)
        d = distance(kind, query, vectors, np.int64(slots[i]))
        distances[i] = d
        key = key_of(d, i)
        if found < wanted:
            push_max(nearest, found, key)
            found += 1
        elif key < nearest[0]:
            replace_max(nearest, found, key)

    if wanted == 0:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    last = value_of(nearest[0])
    kept = 0
    for i in range(rows):
        if distances[i] <= last:
            kept += 1
    keys = np.empty(kept, np.uint64)
    kept = 0
    for i in range(rows):
        if distances[i] <= last:
            keys[kept] = key_of(distances[i], np.int64(slots[i]))
            kept += 1
    keys.sort()
    out = np.empty(kept, np.uint32)
    out_distances = np.empty(kept, np.float32)
    for i in range(kept):
        out[i] = np.uint32(keys[i] & np.uint64(0xFFFFFFFF))
        out_distances[i] = value_of(keys[i])
    return out, out_distances


@nb.njit(nogil=True, cache=True, boundscheck=False)
def rank_rows(kind: int, query: F32, vectors: F32, slots: U32, wanted: int) -> tuple[U32, F32]:
    """Do `rank` by itself: where candidates were found elsewhere."""
    ranked: tuple[U32, F32] = rank(kind, query, vectors, slots, wanted)
    return ranked
