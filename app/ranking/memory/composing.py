"""Several heads that judge the same thing, and labels that are two labels at once.

Source: "Team RAS in 9th ABAW Competition: Multimodal Compound Expression Recognition Approach":
weights by modality and class, compound labels by sums of probabilities in pairs (PPA) or by
features (PFSA).
"""

from __future__ import annotations

import numpy as np

from app.ranking.algebra.vectors import unit
from app.ranking.class_fusion import contributions, fused
from app.types import F64, I64


def softly(heads: F64, weights: F64) -> F64:
    """Give each head's part in `class_fusion.fused`: the softmax is shared out as w p is.

    heads, weights, returns   as `weighted`
    """
    fitted = fused(heads, weights)
    parts = contributions(heads, weights)
    total = parts.sum(axis=0)
    heads_alone = np.full_like(parts, 1.0 / len(heads))
    shares: F64 = np.divide(parts, total[None], out=heads_alone, where=total[None] > 0)
    return shares * fitted[None]


def paired(parts: F64, pairs: I64) -> F64:
    """Compound labels by sums: p(a, b) ∝ p_a + p_b, each head's part apart.

    parts    float64[m, n, c] as `weighted` gives them
    pairs    int64[p, 2], numbers of two labels each
    returns  float64[m, n, p]; sums to 1 over heads and pairs
    """
    sums = parts[:, :, pairs[:, 0]] + parts[:, :, pairs[:, 1]]
    total = sums.sum(axis=(0, 2), keepdims=True)
    shares: F64 = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    return shares


def paired_features(queries: F64, classes: F64, pairs: I64) -> F64:
    """Compound labels by features: the cosine with what lies between two class vectors.

    queries  float64[n, d]
    classes  float64[c, d]
    returns  float64[n, p]: cos(x, unit(T_a) + unit(T_b))
    """
    own = unit(classes)
    between = unit(own[pairs[:, 0]] + own[pairs[:, 1]])
    cosines: F64 = unit(queries) @ between.T
    return cosines


def all_pairs(labels: int) -> I64:
    """Every two labels once, a < b: int64[c (c − 1) / 2, 2]."""
    return np.stack(np.triu_indices(labels, 1), axis=1).astype(np.int64)
