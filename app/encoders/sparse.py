"""Sparse vectors of texts: a weight for each word of the vocabulary that a text is about."""

from __future__ import annotations

import numpy as np

from app.types import F32, I64, Sparse


def words_from_logits(logits: F32) -> F32:
    """Weigh words by what a masked language model would put in the place of each token.

    logits   [token, word] float32 of the tokens of one text, special ones included
    returns  [word] float32: log(1 + relu(logit)), its maximum over the tokens

    Source: Formal et al. 2021 (arXiv 2109.10086), equations 1 and 6.
    """
    # Both functions ascend, so the maximum may be taken first, of numbers that are there already.
    highest: F32 = np.maximum(logits.max(axis=0), 0.0)
    weights: F32 = np.log1p(highest)
    return weights


def words_from_tokens(weights: F32, ids: I64) -> Sparse:
    """Weigh the words that a text has itself, each by its heaviest token.

    weights  [token] float32; what is not above zero counts for nothing
    ids      [token] int64, the words

    Source: Chen et al. 2024 (arXiv 2402.03216), section 3.2.
    """
    words, places = np.unique(ids, return_inverse=True)
    highest = np.zeros(len(words), np.float32)
    np.maximum.at(highest, places, weights)
    return _kept(words.astype(np.int64), highest)


def sparse_from_words(weights: F32) -> Sparse:
    """Keep the weights [word] that are above zero."""
    return _kept(np.arange(len(weights), dtype=np.int64), weights)


def pruned(sparse: Sparse, *, most: int, min_weight: float) -> Sparse:
    """Leave out weights below `min_weight`, and all but the `most` largest (0: all of them).

    Of equal weights the one with the smaller index is kept.
    """
    kept = np.flatnonzero(sparse.values >= min_weight)
    if 0 < most < len(kept):
        order = np.argsort(-sparse.values[kept], kind="stable")[:most]
        kept = np.sort(kept[order])
    return Sparse(sparse.indices[kept], sparse.values[kept])


def _kept(indices: I64, values: F32) -> Sparse:
    above = values > 0
    return Sparse(indices[above], values[above].astype(np.float32))
