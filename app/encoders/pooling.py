"""Make one vector of a text's token vectors, for graphs that do not do it themselves.

    hidden   [text, token, dim] float32, the encoder's last layer
    mask     [text, token] int64, 1 = token, 0 = padding; at least one token in each text
    returns  [text, dim] float32, not normalised

Padding may stand on either side: only the mask says which tokens count, and places are counted
from a text's own first token. So a vector depends neither on the padding nor on who is beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.types import F32

Mask = NDArray[np.int64]


def pool(hidden: F32, mask: Mask, how: str) -> F32:
    """Pool as the manifest says: one of `POOLS`, or several joined by "+", side by side.

    returns  [text, dim × pools] float32
    """
    parts = [POOLS[name](hidden, mask) for name in how.split("+")]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def pool_mean(hidden: F32, mask: Mask) -> F32:
    """Average the token vectors that carry text.

    Source: Reimers & Gurevych 2019 (arXiv 1908.10084), section 3.
    """
    return _weighted(hidden, mask.astype(np.float32))


def pool_mean_sqrt(hidden: F32, mask: Mask) -> F32:
    """Sum the token vectors and divide by √tokens: longer texts get longer vectors."""
    weights = mask.astype(np.float32)
    sums: F32 = np.einsum("ntd,nt->nd", hidden, weights)
    roots: F32 = np.sqrt(weights.sum(axis=1, keepdims=True))
    return sums / roots


def pool_weighted_mean(hidden: F32, mask: Mask) -> F32:
    """Average with weight i for the i-th token, so that tokens that saw more context count more.

    Source: Muennighoff 2022, SGPT (arXiv 2202.08904), equation 2.
    """
    return _weighted(hidden, (np.cumsum(mask, axis=1) * mask).astype(np.float32))


def pool_cls(hidden: F32, mask: Mask) -> F32:
    """Take the first token's vector."""
    return _one_each(hidden, mask.argmax(axis=1))


def pool_last(hidden: F32, mask: Mask) -> F32:
    """Take the last token's vector: the only one that a causal network gives the whole text."""
    return _one_each(hidden, mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1))


def pool_max(hidden: F32, mask: Mask) -> F32:
    """Take the largest value of each dimension over the tokens that carry text."""
    best: F32 = np.where(mask[:, :, None] == 1, hidden, np.float32(-np.inf)).max(axis=1)
    return best


def _one_each(hidden: F32, places: NDArray[np.int64]) -> F32:
    taken: F32 = hidden[np.arange(len(hidden)), places]
    return taken


def _weighted(hidden: F32, weights: F32) -> F32:
    means: F32 = np.einsum("ntd,nt->nd", hidden, weights) / weights.sum(axis=1, keepdims=True)
    return means


POOLS: dict[str, Callable[[F32, Mask], F32]] = {
    "mean": pool_mean,
    "cls": pool_cls,
    "last": pool_last,
    "max": pool_max,
    "mean_sqrt": pool_mean_sqrt,
    "weighted_mean": pool_weighted_mean,
}
"""The pools by the name that manifests give them."""
