"""Eight-bit codes of vectors: how a query meets them, and how far they can be wrong.

Theory of operation
-------------------
A row x is kept as int8 codes c with x ≈ x̂ = m + s∘c: m (middles) and s (steps) are of a dimension,
the same for all rows (uniform scalar quantisation, one range a dimension). Then

    q·x̂ = q·m + Σ (q s)ᵢ cᵢ

and with q s rounded to int16, t, at a factor f, the sum is one of integers: f Σ tᵢ cᵢ. Codes are a
quarter of the bytes and take about a fifth of the time. What walks and scans compare is

    DOT      −f Σ t c                      = −q·x + (q·m),             q·m does not matter
    SQUARED  ‖x − m‖² − 2 f Σ t c          = ‖q − x‖² − ‖q − m‖²       with q − m in q's place

up to an error that has a bound, by Cauchy and Schwarz: with e the largest ‖x − x̂‖ of all rows,
|q·(x − x̂)| ≤ ‖q‖ e. So a row whose value is more than twice the bound above the k-th best cannot
be among the k nearest: only the others are compared again in float32, and a scan stays exact. (The
idea is that of the VA-file, Weber, Schek & Blott, VLDB 1998.)

The arrays of codes: codes int8[rows, d], middles and steps float32[d], norms
float32[rows] (‖x − m‖², SQUARED only, else empty), bounds float32[2]: e, and the largest length
that a row has in this frame. Without codes `codes` is None and the others are empty.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.distance import SQUARED, code_product, distance
from app.types import F32, I8, I16

LEVEL = 127
"""Codes are −LEVEL … LEVEL."""

HUGE = 1e17
"""Queries with numbers as large as this are compared in float32 alone: squares might overflow."""

LOST = 1e-35
"""More than what is lost where products are too small for a float32 of full precision."""

TINY = np.float32(1e-30)
"""Below this, steps of the query would vanish in float32; such a query is coded as zeros."""


@nb.njit
def encode_query(
    kind: int, query: F32, codes: I8 | None, middles: F32, steps: F32, bounds: F32
) -> tuple[I16, np.float32, np.float32]:
    """Round a query float32[d], all numbers below HUGE, to (t int16[d], factor, margin).

    margin   twice the bound on the error of `value`, rounding included; 0 without codes
    """
    if codes is None:
        return np.empty(0, np.int16), np.float32(0), np.float32(0)
    d = query.shape[0]
    largest = np.float32(0)
    length = 0.0
    for i in range(d):
        centred = query[i] - middles[i] if kind == SQUARED else query[i]
        length += np.float64(centred) * centred
        largest = max(largest, abs(centred * steps[i]))
    length = np.sqrt(length)
    t = np.zeros(d, np.int16)
    levels = min(32767, 2147483647 // (LEVEL * d))
    lost = np.float64(largest)
    factor = np.float32(0)
    if largest > TINY:
        factor = largest / np.float32(levels)
        lost = 0.5 * np.float64(factor)
    for i in range(d):
        if factor == 0:
            break
        centred = query[i] - middles[i] if kind == SQUARED else query[i]
        t[i] = np.int16(np.rint(centred * steps[i] / factor))
    error, reach = np.float64(bounds[0]), np.float64(bounds[1])
    # Rounding t: half a level a dimension. Arithmetic in float32: a few parts in 10⁶ of the terms.
    bound = length * error + lost * LEVEL * d + 2e-6 * length * reach
    if kind == SQUARED:
        bound = 2.0 * bound + 2e-6 * (length + reach) ** 2
        factor = np.float32(2) * factor
    return t, np.float32(factor), np.float32(2.0 * bound + LOST)


@nb.njit
def value(
    kind: int,
    query: F32,
    vectors: F32,
    t: I16,
    factor: np.float32,
    codes: I8 | None,
    norms: F32,
    slot: int,
) -> np.float32:
    """What a walk or a scan compares rows by: from the codes if there are any.

    Compiled once for `codes` None and once for an array: nothing is decided at run time. Arrays
    come one by one: a tuple of them is not taken apart when this is inlined, at twice the time.
    """
    if codes is None:
        exact: np.float32 = distance(kind, query, vectors, slot)
        return exact
    near: np.float32 = factor * np.float32(code_product(t, codes, slot))
    if kind == SQUARED:
        far: np.float32 = norms[slot] - near
        return far
    return -near
