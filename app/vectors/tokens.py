"""Sets of token vectors: brought to unit length, and pooled into one vector to find them by.

A set of tokens is searched in two steps: many points are recalled by one *pooled* vector each, and
the few that are recalled are compared token by token. The pooled vector is the mean of the unit
tokens, at unit length; its inner product with another one is then the mean of the cosines of all
pairs of tokens, up to the two lengths.
"""

from __future__ import annotations

import numpy as np

from app.types import F32

_CANCELLED = 1e-6  # below this length a mean of unit vectors is rounding, and no direction


def unit_tokens(tokens: F32) -> F32:
    """Bring float32[tokens, d], none of them zero, to unit length: float32[tokens, d]."""
    wide = tokens.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float32)


def pooled(tokens: F32) -> F32:
    """Pool tokens float32[tokens, d], none of them zero: float32[d] of unit length.

    Zeros if they cancel each other out, as a vector and its opposite do.
    """
    wide = tokens.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    mean = wide.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < _CANCELLED:
        return np.zeros(tokens.shape[1], dtype=np.float32)
    pool: F32 = (mean / length).astype(np.float32)
    return pool
