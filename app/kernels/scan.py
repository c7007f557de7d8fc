"""Distances from one query to many rows: the exact scan, and the re-scoring of candidates.

Every score that leaves the engine comes from `distances_to`, whatever found the row: the same
compiled loop over the same row gives the same bits, so answers of different plans can be merged
and compared, and ties are true ties.
"""

from __future__ import annotations

import numba as nb

from app.kernels.distance import distance
from app.kernels.prefetch import prefetch_row
from app.types import F32, U32

AHEAD = 4  # rows to prefetch ahead: a row of 384 floats takes about 34 ns, memory about 100


@nb.njit(nogil=True, cache=True, fastmath=True, boundscheck=False)
def distances_to(kind: int, query: F32, vectors: F32, slots: U32, out: F32) -> None:
    """Write the distance of `query` float32[d] to `vectors[slots[i]]` into `out[i]`.

    vectors  float32[slots, d], C order
    slots    uint32[rows], any order
    out      float32[rows]
    """
    rows = slots.shape[0]
    lines = (query.shape[0] * 4 + 63) // 64
    for i in range(rows):
        if i + AHEAD < rows:
            for line in range(lines):
                prefetch_row(vectors, slots[i + AHEAD], line)
        out[i] = distance(kind, query, vectors[slots[i]])
