"""One operator for all soft selection: pooling, late interaction, votes, caches, diffusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64


def softmax_topk(
    scores: NDArray[Any], tau: float, k: int | None = None, mask: NDArray[np.bool_] | None = None
) -> F64:
    """Turn scores into weights: softmax(scores / tau) over the k largest, zero elsewhere.

    scores   [..., n] numbers; NaN and −inf take no part
    tau      > 0. Towards 0 the best score takes everything; inf shares evenly among the k
    k        None or ≥ n is dense, 1 is argmax. Of equal scores at the border the first are kept
    mask     bool, broadcasts to scores; False takes no part
    returns  float64[..., n]; each row sums to 1, or is zero where nothing takes part

    Source: sparse attention of DRSformer (Chen et al. 2023, arXiv 2303.11950, section 3.2).
    """
    assert tau > 0, "softmax_topk: tau is above zero"
    assert k is None or k >= 1, "softmax_topk: k is at least 1"
    values = scores.astype(np.float64)
    absent = np.isnan(values)
    if mask is not None:
        absent |= ~mask
    if absent.any():
        values[absent] = -np.inf
    if k is not None and k < values.shape[-1]:
        _keep_largest(values, k)
    highest = values.max(axis=-1, keepdims=True, initial=-np.inf)
    empty = np.isneginf(highest)
    if empty.any():
        highest = np.where(empty, 0.0, highest)
    values -= highest
    if tau == np.inf:
        weights = np.where(np.isneginf(values), 0.0, 1.0)
    else:
        values /= tau
        weights = np.exp(values, out=values)
    total = weights.sum(axis=-1, keepdims=True)
    if empty.any():
        total[empty] = 1.0
    weights /= total
    return weights


def _keep_largest(values: F64, k: int) -> None:
    """Set all but the k largest of each row to −inf, in place; of equal ones the first stay."""
    least = np.partition(values, -k, axis=-1)[..., -k, None]
    above = values > least
    tied = values == least
    room = k - above.sum(axis=-1, keepdims=True)
    values[~(above | (tied & (np.cumsum(tied, axis=-1) <= room)))] = -np.inf
