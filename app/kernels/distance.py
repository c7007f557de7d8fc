"""Distances between one query and one row: lower is nearer. The innermost loops of the product.

`fastmath` lets LLVM reorder the sum, so that it vectorises; vectors are finite (checked at the
border), so the assumption that there is no NaN holds.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.types import F32

DOT = 0
"""−q·x: not 1 − q·x, which in float32 cannot tell small products apart."""
SQUARED = 1
"""Σ (q − x)²: squared Euclidean distance."""


@nb.njit(fastmath=True)
def distance(kind: int, query: F32, x: F32) -> np.float32:
    """Distance of `query` float32[d] to `x` float32[d]; `kind` is DOT or SQUARED."""
    total = np.float32(0)
    if kind == SQUARED:
        for i in range(query.shape[0]):
            step = query[i] - x[i]
            total += step * step
        return total
    for i in range(query.shape[0]):
        total += query[i] * x[i]
    return -total
