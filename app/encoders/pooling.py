"""Make one vector of a text's token vectors, for graphs that do not do it themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.types import F32


def pool_mean(hidden: F32, mask: NDArray[np.int64]) -> F32:
    """Average the token vectors that carry text.

    hidden   [text, token, dim] float32, the encoder's last layer
    mask     [text, token] int64, 1 = token, 0 = padding; at least one token in each text
    returns  [text, dim] float32, not normalised

    Source: Reimers & Gurevych 2019 (arXiv 1908.10084), section 3.
    """
    weights = mask.astype(np.float32)
    means: F32 = np.einsum("ntd,nt->nd", hidden, weights) / weights.sum(axis=1, keepdims=True)
    return means


def pool_cls(hidden: F32) -> F32:
    """Take the first token's vector: [text, token, dim] → [text, dim]."""
    return hidden[:, 0]


def normalise(vectors: F32) -> F32:
    """Bring every row to length one; a row of zeros stays as it is."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    lengths[lengths == 0.0] = 1.0
    unit: F32 = vectors / lengths[:, None]
    return unit
