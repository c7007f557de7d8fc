"""Metrics: how vectors are prepared, and the only place where distance and score convert.

Inside the engine lower is nearer; outside `score` is higher for better, in every metric:

    metric   stored vector   distance (kernels)   score
    cosine   x / ‖x‖         −q·x                 q·x, clipped to [−1, 1]
    ip       x               −q·x                 q·x
    l2       x               Σ (q − x)²           −√distance
"""

from __future__ import annotations

import math

import numpy as np

from app.types import F32, F64, Metric


def prepare(metric: Metric, vectors: F32) -> F32:
    """Bring vectors float32[…, d] into the form that is searched: unit length under cosine.

    Lengths are taken in float64, so that large and small float32 numbers neither overflow nor
    vanish. The caller has refused zero vectors under cosine, but for a pool of tokens that cancel
    each other out, which stays zero.
    """
    if metric is not Metric.COSINE:
        # A copy of our own: compiled code is specialised for arrays that may be written.
        return np.array(vectors, dtype=np.float32, order="C")
    wide = vectors.astype(np.float64)
    if wide.ndim == 1:  # a query: `norm` alone would take longer than everything else here
        wide /= math.sqrt(np.dot(wide, wide)) or 1.0
    else:
        wide /= np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide.astype(np.float32)


def scores_from_distances(metric: Metric, distances: F32) -> F64:
    """Turn distances float32[n] into scores float64[n], higher for better, order reversed."""
    wide = distances.astype(np.float64)
    if metric is Metric.L2:
        return 0.0 - np.sqrt(np.maximum(wide, 0.0))  # and not −√x, which gives −0
    dot = 0.0 - wide
    if metric is Metric.COSINE:
        np.maximum(dot, -1.0, out=dot)
        np.minimum(dot, 1.0, out=dot)
    return dot
