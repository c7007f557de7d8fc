"""Votes of the nearest neighbours.

Source: k-NN classification with distance weights (Dudani 1976, IEEE SMC 6:325-327); several labels
a point by the share of similar neighbours that hold each (PatentSBERTa: Bekamiri et al. 2021,
arXiv 2103.11933, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.ranking.softmax import softmax_topk
from app.types import F64

WEIGHTS = ("uniform", "similarity", "exponential")


def voting_weights(scores: F64, how: str, beta: float = 20.0) -> F64:
    """Give each neighbour its share of the vote.

    scores   float64[..., k], higher for better; NaN where there is no neighbour
    how      "uniform": 1 / k
             "similarity": max(s, 0) / Σ max(s, 0), for scores whose zero means unlike (cosine);
             where no score is above zero, uniform
             "exponential": e^{−β(1−s)} / Σ e^{−β(1−s)}, which is softmax(β s): any scores
    returns  float64[..., k]; rows sum to 1, or are zero where nobody votes
    """
    if how == "exponential":
        return softmax_topk(scores, 1.0 / beta)
    present = ~np.isnan(scores)
    raw = present.astype(np.float64)
    if how == "similarity":
        positive = np.where(present, np.maximum(np.nan_to_num(scores), 0.0), 0.0)
        raw = np.where(positive.sum(axis=-1, keepdims=True) > 0, positive, raw)
    total = raw.sum(axis=-1, keepdims=True)
    weights: F64 = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    return weights


def kernel(scores: F64, how: str, beta: float = 20.0) -> F64:
    """Give the weights before they are shared out: what compares between queries.

    Shares say who won, not by how much the winner is like the query: a far-away query has shares
    as good as any. Source: the ranking of all predictions by one confidence (Weyand et al. 2020,
    arXiv 2004.01804, section 4).

    returns  float64[..., k]: 1, max(s, 0) or e^{−β(1−s)}; 0 where there is no neighbour
    """
    present = ~np.isnan(scores)
    filled = np.nan_to_num(scores)
    if how == "uniform":
        return present.astype(np.float64)
    if how == "similarity":
        raw = np.maximum(filled, 0.0)
    else:
        raw = np.exp(np.minimum(-beta * (1.0 - filled), 700.0))
    weights: F64 = np.where(present, raw, 0.0)
    return weights


def votes(weights: F64, holds: Sequence[Sequence[int]], labels: int) -> F64:
    """Add up one query's votes: Σ_i w_i 1[c ∈ y_i].

    weights  float64[k]
    holds    of each neighbour the numbers of its labels, all different
    returns  float64[labels]. With one label a neighbour it sums to Σ w_i
    """
    counted = np.zeros(labels)
    for weight, held in zip(weights.tolist(), holds, strict=True):
        for label in held:
            counted[label] += weight
    return counted
