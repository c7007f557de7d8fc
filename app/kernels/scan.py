"""The exact scan: every allowed row is compared."""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.bits import slots_of
from app.kernels.codes import encode_query, value
from app.kernels.heap import key_of, push_max, replace_max, value_of
from app.kernels.prefetch import prefetch_row
from app.kernels.ranking import rank
from app.types import F32, I8, U32, Bits

AHEAD = 8  # rows of codes to prefetch ahead: 384 of them take about 7 ns


@nb.njit(nogil=True, cache=True, boundscheck=False)
def scan(
    kind: int,
    query: F32,
    vectors: F32,
    codes: I8 | None,
    middles: F32,
    steps: F32,
    norms: F32,
    bounds: F32,
    allowed: Bits,
    wanted: int,
) -> tuple[U32, F32, int]:
    """Find the `wanted` nearest of the allowed rows exactly, and all that tie with the last.

    vectors   float32[slots, d]; codes: the arrays of `app.kernels.codes`, if any
    allowed   bits over slots
    returns   slots uint32[kept], distances float32[kept], nearest first; and how many rows had to
              be compared in float32
    """
    slots = slots_of(allowed)
    matches = slots.shape[0]
    if codes is not None and matches > 2 * wanted:
        t, factor, margin = encode_query(kind, query, codes, middles, steps, bounds)
        lines = (query.shape[0] + 63) // 64
        values = np.empty(matches, np.float32)
        best = np.empty(wanted, np.uint64)
        found = 0
        limit = np.float32(np.inf)
        for i in range(matches):
            if i + AHEAD < matches:
                for line in range(lines):
                    prefetch_row(codes, np.int64(slots[i + AHEAD]), line)
            v = value(kind, query, vectors, t, factor, codes, norms, np.int64(slots[i]))
            values[i] = v
            if v < limit:
                if found < wanted:
                    push_max(best, found, key_of(v, i))
                    found += 1
                else:
                    replace_max(best, found, key_of(v, i))
                if found == wanted:
                    limit = value_of(best[0])
        limit += margin
        kept = 0
        for i in range(matches):
            if values[i] <= limit:
                slots[kept] = slots[i]
                kept += 1
        slots = slots[:kept]
    found_slots, distances = rank(kind, query, vectors, slots, wanted)
    return found_slots, distances, slots.shape[0]
