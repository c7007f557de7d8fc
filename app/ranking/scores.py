"""Similarity of one query to many vectors, as the engine scores them."""

from __future__ import annotations

import numpy as np

from app.types import F32, F64, Metric
from app.vectors.metric import scores_from_distances


def scores(metric: Metric, query: F32, vectors: F32) -> F64:
    """Score vectors as they are searched against a query in the same form.

    query     float32[d], unit length under cosine
    vectors   float32[n, d], likewise
    returns   float64[n], higher for better: q·x for cosine and inner product, −‖q − x‖ for l2
    """
    if metric is Metric.L2:
        apart = vectors - query
        return scores_from_distances(metric, np.einsum("nd,nd->n", apart, apart))
    return scores_from_distances(metric, -(vectors @ query))
