"""Distances between one query and one row: lower is nearer. The innermost loops of the product.

`fastmath` lets LLVM reorder the sum, so that it vectorises; vectors are finite (checked at the
border), so the assumption that there is no NaN holds.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.types import F32, I8, I16

DOT = 0
"""−q·x: not 1 − q·x, which in float32 cannot tell small products apart."""
SQUARED = 1
"""Σ (q − x)²: squared Euclidean distance."""


@nb.njit(fastmath=True)
def distance(kind: int, query: F32, vectors: F32, row: int) -> np.float32:
    """Distance of `query` float32[d] to a row of float32[rows, d]; `kind` is DOT or SQUARED.

    The row is not sliced out: numba would count the references of the slice.
    """
    at = np.uint64(row)
    total = np.float32(0)
    if kind == SQUARED:
        for i in range(query.shape[0]):
            step = query[i] - vectors[at, i]
            total += step * step
        return total
    for i in range(query.shape[0]):
        total += query[i] * vectors[at, i]
    return -total


@nb.njit
def code_product(query: I16, codes: I8, row: int) -> np.int32:
    """Inner product of int16[d] and a row of int8[rows, d]; the caller makes sure it fits an int32.

    Every step is cut to 32 bits: numba would compute in 64, at a quarter of the lanes.
    """
    at = np.uint64(row)
    total = np.int32(0)
    for i in range(query.shape[0]):
        total = np.int32(total + np.int32(np.int32(query[i]) * np.int32(codes[at, i])))
    return total


@nb.njit
def row_product(left: I16, one: int, right: I8, other: int) -> np.int32:
    """Inner product of a row of int16[rows, d] and a row of int8[rows, d], as in `code_product`."""
    at, to = np.uint64(one), np.uint64(other)
    total = np.int32(0)
    for i in range(left.shape[1]):
        total = np.int32(total + np.int32(np.int32(left[at, i]) * np.int32(right[to, i])))
    return total
