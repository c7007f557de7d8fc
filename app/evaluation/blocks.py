"""Exact nearest neighbours block by block: what is held grows with the block, not with the items.

Source of the idea: the grouped aggregation of M2-Encoder (arXiv 2401.15896), here for evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.types import F32, I64


def nearest(
    queries: F32,
    items: F32,
    k: int,
    *,
    metric: str = "ip",
    allowed: NDArray[np.bool_] | None = None,
    block: int = 8192,
) -> tuple[I64, F32]:
    """Find the k best items of each query, exactly.

    queries  float32[queries, dim]
    items    float32[items, dim]; may be a memory map, of which one block is read at a time
    metric   "ip", or "l2" for the negative squared distance
    allowed  bool[items], which items may be found; None: all
    block    items compared at once: queries · (block + 2k) scores are held

    returns  int64[queries, k] places, −1 where there are not so many; their scores, −inf there.
             Ties go to the earlier item.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    places = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(items), block):
        part = np.asarray(items[start : start + block], np.float32)
        scores = queries @ part.T
        if metric == "l2":
            norms = np.einsum("nd,nd->n", part, part)
            own = np.einsum("nd,nd->n", queries, queries)
            scores = 2 * scores - norms[None] - own[:, None]
        if allowed is not None:
            scores[:, ~allowed[start : start + block]] = -np.inf
        here = np.broadcast_to(np.arange(start, start + len(part)), scores.shape)
        every = np.concatenate((best, scores), axis=1)
        owners = np.concatenate((places, here), axis=1)
        # Stable: what came from earlier blocks stands first, and keeps its place in a tie.
        order = np.argsort(-every, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(every, order, axis=1)
        places = np.take_along_axis(owners, order, axis=1)
    places[np.isneginf(best)] = -1
    return places, best
