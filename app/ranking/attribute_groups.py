"""One vector of several descriptions, in which the same thing said often counts once.

Source: "AttrSeg: Open-Vocabulary Semantic Segmentation via Attribute Decomposition-Aggregation"
puts attributes together step by step; the grouping by one threshold is ours.
"""

from __future__ import annotations

import numpy as np

from app.types import F64, I64


def attribute_groups(vectors: F64, above: float) -> I64:
    """Put near-duplicates together: the components of the graph of cosines above a threshold.

    vectors  float64[n, d] at unit length
    above    cosine; at 1 or more nothing is put together
    returns  int64[n], the number of each one's group, by first appearance
    """
    n = vectors.shape[0]
    near = vectors @ vectors.T > above
    groups = np.full(n, -1, dtype=np.int64)
    count = 0
    for start in range(n):
        if groups[start] >= 0:
            continue
        groups[start] = count
        waiting = [start]
        while waiting:
            one = waiting.pop()
            for other in np.flatnonzero(near[one] & (groups < 0)).tolist():
                groups[other] = count
                waiting.append(other)
        count += 1
    return groups


def grouped_mean(vectors: F64, above: float) -> F64:
    """Mean inside each group, brought to unit length, then the mean of the groups at unit length.

    So ten ways to say one thing weigh as much as another thing said once.

    vectors  float64[n, d] at unit length, n ≥ 1
    returns  float64[d] at unit length, or zeros where everything cancels out
    """
    groups = attribute_groups(vectors, above)
    means = np.stack([_unit(vectors[groups == one].mean(0)) for one in range(groups.max() + 1)])
    return _unit(means.mean(0))


def _unit(vector: F64) -> F64:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else np.zeros_like(vector)
