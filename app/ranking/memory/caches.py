"""Label texts, refined by points of the collection: training-free caches.

`keys` are unit vectors of points, `values` says which class each stands for; the answer is

    logits = s (x · W) + α A V

with W the unit class vectors of texts, and A the affinities of the query to the keys.

Sources: with labels, Tip-Adapter (Zhang et al. 2021, arXiv 2111.03930); without, "Training-Free
Unsupervised Prompt for Vision-Language Models" (TFUP; formula and defaults as its published code
has them).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.ranking.softmax import softmax_topk
from app.types import F64, I64

CHOOSING_SCALE = 10.0
"""What similarities are multiplied with where the distributions of classes are compared."""


class Cache(NamedTuple):
    """Points that stand for classes: keys float64[m, d] at unit length, values int64[m], and where
    each came from: int64[m]."""

    keys: F64
    values: I64
    places: I64


def class_distributions(vectors: F64, classes: F64) -> F64:
    """softmax(10 x · W): float64[n, c], of unit vectors and classes."""
    return softmax_topk(CHOOSING_SCALE * (vectors @ classes.T), 1.0)


def usual_shots(points: int, classes: int) -> int:
    """How many keys a class gets: .3 n / c, between 9 and 16."""
    return int(min(max(0.3 * points / max(classes, 1), 9), 16))


def unlabelled_cache(vectors: F64, classes: F64, shots: int) -> Cache:
    """Choose keys among points whose labels nobody knows: the surest, and of these the most usual.

    For each class the 2S points with the most probability of it; of these the S whose distributions
    differ least from those of the others: the least Σ_j KL(p_i ‖ p_j). A point may stand for
    several classes.

    vectors  float64[n, d] at unit length
    classes  float64[c, d] at unit length
    """
    told = class_distributions(vectors, classes)
    logs = np.log(np.maximum(told, 1e-300))
    keys, values = [], []
    for label in range(classes.shape[0]):
        surest = np.argsort(-told[:, label], kind="stable")[: 2 * shots]
        own, own_logs = told[surest], logs[surest]
        # Σ_j KL(p_i ‖ p_j) = n Σ p_i log p_i − p_i · Σ_j log p_j
        spread = len(surest) * (own * own_logs).sum(1) - own @ own_logs.sum(0)
        usual = surest[np.argsort(spread, kind="stable")[:shots]]
        keys.append(usual)
        values.append(np.full(usual.size, label))
    places = np.concatenate(keys).astype(np.int64)
    return Cache(vectors[places], np.concatenate(values).astype(np.int64), places)


def confidence_similarity(queries: F64, keys: F64, classes: F64) -> F64:
    """How alike the class distributions of queries and keys are: 2 (1 − minmax(KL)), [n, m].

    The published code takes z-scores first; the least and the greatest of a row undo them.
    """
    of_queries, of_keys = class_distributions(queries, classes), class_distributions(keys, classes)
    own = (of_queries * np.log(np.maximum(of_queries, 1e-300))).sum(1, keepdims=True)
    divergence: F64 = own - of_queries @ np.log(np.maximum(of_keys, 1e-300)).T
    if keys.shape[0] == 0:
        return divergence
    low, high = divergence.min(1, keepdims=True), divergence.max(1, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    alike: F64 = 2.0 * (1.0 - (divergence - low) / spread)
    return alike


def affinities(queries: F64, cache: Cache, classes: F64, beta: float, *, labelled: bool) -> F64:
    """How much each key has to say: e^{−β(1 − x·k)}, or without labels e^{−β(1 − x·k ⊙ sim)}."""
    near = queries @ cache.keys.T
    if not labelled:
        near = near * confidence_similarity(queries, cache.keys, classes)
    weights: F64 = np.exp(-beta * (1.0 - near))
    return weights


def blended(
    queries: F64, classes: F64, cache: Cache, weights: F64, *, alpha: float, scale: float = 100.0
) -> F64:
    """s (x · W) + α A V: float64[n, c].

    weights  float64[n, m], as `affinities` makes them
    """
    logits: F64 = scale * (queries @ classes.T)
    if alpha > 0 and cache.values.size:
        members = np.zeros((cache.values.size, classes.shape[0]))
        members[np.arange(cache.values.size), cache.values] = 1.0
        logits = logits + alpha * (weights @ members)
    return logits
