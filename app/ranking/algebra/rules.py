"""Scores that are not one product: of several similarities, of examples, of pairs.

Inputs are float64[m, n]: similarities of m things with n candidates, higher for better; outputs
float64[n]. The rules of examples and pairs are those that Qdrant documents ("Explore the data"),
so that who comes from there finds the same order.
"""

from __future__ import annotations

import numpy as np

from app.types import F64

MARGIN = 1e-5
"""By how much a pair's positive side must win before a context has no loss."""


def greatest(lists: F64) -> F64:
    """Union: as similar as to any of them."""
    found: F64 = lists.max(axis=0)
    return found


def least(lists: F64) -> F64:
    """Intersection: as similar as to all of them."""
    found: F64 = lists.min(axis=0)
    return found


def less(lists: F64, weight: float) -> F64:
    """Difference: s₁ − w · max(s₂, …, 0)."""
    found: F64 = lists[0] - weight * np.maximum(lists[1:].max(axis=0, initial=0.0), 0.0)
    return found


def best_score(positive: F64, negative: F64) -> F64:
    """Be near any positive, unless a negative is nearer: σ(p) if p > n, else −σ(n).

    positive, negative   float64[≥ 0, n], one of them with a row at least; p and n are their
                         maxima, −∞ without rows; σ is `squashed`

    The manual has p and −n² instead, which is the same order as long as no similarity is negative.
    With σ whoever is on the positive side stands above whoever is not, in every metric.
    """
    p = positive.max(axis=0, initial=-np.inf)
    n = negative.max(axis=0, initial=-np.inf)
    found: F64 = np.where(p > n, squashed(p), -squashed(n))
    return found


def squashed(scores: F64) -> F64:
    """Bring any number between 0 and 1, order kept: ½ (1 + s / (1 + |s|))."""
    finite = np.where(np.isinf(scores), 0.0, scores)  # of a side without rows, never taken
    found: F64 = 0.5 * (1.0 + finite / (1.0 + np.abs(finite)))
    return found


def sum_scores(positive: F64, negative: F64) -> F64:
    """Σ positive − Σ negative."""
    found: F64 = positive.sum(axis=0) - negative.sum(axis=0)
    return found


def context(positive: F64, negative: F64) -> F64:
    """Σ over pairs of min(p − n − margin, 0): zero where every pair is on its positive side.

    positive, negative   float64[pairs, n]
    """
    found: F64 = np.minimum(positive - negative - MARGIN, 0.0).sum(axis=0)
    return found


def discover(target: F64, positive: F64, negative: F64) -> F64:
    """Pairs won less pairs lost, and within that the similarity to the target.

    target               float64[n]
    positive, negative   float64[pairs, n]
    returns              Σ sign(p − n) + squashed(s)
    """
    found: F64 = np.sign(positive - negative).sum(axis=0) + squashed(target)
    return found
