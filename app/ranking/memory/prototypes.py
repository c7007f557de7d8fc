"""One vector for each class.

`similarities` is what every method of this package compares by.
"""

from __future__ import annotations

import numpy as np

from app.ranking.algebra.vectors import unit
from app.types import F64, I64, Metric


def similarities(metric: Metric, queries: F64, classes: F64) -> F64:
    """Score queries float64[n, d] by classes float64[c, d], as searches would: float64[n, c].

    Under cosine both are brought to unit length; a class without length scores 0.
    """
    if metric is Metric.COSINE:
        scores: F64 = np.clip(unit(queries) @ unit(classes).T, -1.0, 1.0)
        return scores
    dots: F64 = queries @ classes.T
    if metric is Metric.IP:
        return dots
    squared = (queries**2).sum(1)[:, None] + (classes**2).sum(1)[None] - 2.0 * dots
    distances: F64 = 0.0 - np.sqrt(np.maximum(squared, 0.0))
    return distances


def without_group_means(means: F64, counts: I64, groups: F64) -> F64:
    """Give the class means of items that are centred by the mean of their group.

    Each item x_i of a group p(i) stands for x_i − m_{p(i)}: what its group has in common (who
    performs, which camera) goes, what its class adds stays. Since means are linear,

        µ'_c = µ_c − Σ_p (n_{c,p} / n_c) m_p

    so that no item has to be looked at again.

    means    float64[c, d], of the classes
    counts   int64[c, p], items of a class in a group
    groups   float64[p, d], means of the groups
    Source: "SkeletonX: Data-Efficient Skeleton-based Action Recognition via Cross-sample Feature
    Aggregation" separates performer and action by samples that share one; the closed form is ours.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    centred: F64 = means - shares @ groups
    return centred


def left_out(mean: F64, count: int, item: F64) -> F64 | None:
    """Take one item out of the mean it is part of: (nµ − x) / (n − 1); None if nothing is left."""
    if count <= 1:
        return None
    rest: F64 = (mean * count - item) / (count - 1)
    return rest


def moved(mean: F64, count: int, batch: F64, momentum: float | None = None) -> tuple[F64, int]:
    """Bring a prototype up to date with new items, in order: µ ← (1 − m) µ + m x.

    mean, count  float64[d] and the items in it so far
    batch        float64[n, d]
    momentum     m; None takes 1 / (items so far + 1), which makes it the mean of all of them.
                 With a fixed m a class that moves is followed about 1 / m items behind
    Source: class centroids in a memory that moves along, as in "Look at the Neighbor:
    Distortion-aware Unsupervised Domain Adaptation for Panoramic Semantic Segmentation".
    """
    kept = mean.astype(np.float64)
    for item in batch:
        count += 1
        share = 1.0 / count if momentum is None or count == 1 else momentum
        kept = (1.0 - share) * kept + share * item
    return kept, count


def borrowed(tail: F64, heads: F64, head_means: F64) -> F64:
    """Make examples of a class that has few: x' = µ_tail + (x_head − µ_head).

    The class gives the middle, other classes the spread around it: sound where classes spread
    alike, and of no use where they do not.

    tail        float64[d], its mean
    heads       float64[n, d], items of other classes
    head_means  float64[n, d], the mean of each one's class
    Source: "Compositional Feature Augmentation for Unbiased Scene Graph Generation", for one vector
    an item instead of slots.
    """
    made: F64 = tail[None] + (heads - head_means)
    return made
