"""Make one vector of one input's token vectors, where a mean is not enough.

Every function takes the tokens of one input, [token, dim] float32 without padding, so none can
depend on padding or on neighbours. `app.encoders.pooling` holds the pools that whole batches share
(mean, cls, …); `app.encoders.pipeline.head` chooses.
"""

from __future__ import annotations

import math

import numpy as np

from app.encoders.pipeline.arrays import unit
from app.types import F32

GEM_FLOOR = 1e-6
"""What tokens are clipped to before a power is taken, as in the published GeM layers."""

REGION_STEPS = 4  # of k-means over the tokens of one input: they settle in two or three


def softmax_topk(scores: F32, temperature: float = 1.0, k: int = 0) -> F32:
    """Softmax of `scores / temperature` over the k largest of the last axis; the others get zero.

    k  0 takes all (a plain softmax); 1 is argmax. Of equal scores at the border the first count.

    One operator for all soft choices: with a high temperature it nears a mean of the k.
    """
    scaled = scores / np.float32(temperature)
    count = scaled.shape[-1]
    if 0 < k < count:
        dropped = np.argsort(-scaled, axis=-1, kind="stable")[..., k:]
        scaled = scaled.copy()
        np.put_along_axis(scaled, dropped, -np.inf, axis=-1)
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: F32 = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def gem(tokens: F32, p: float) -> F32:
    """Generalised mean: `(mean max(T, ε)^p)^(1/p)`, [token, dim] → [dim].

    p = 1 is the mean of what is positive, p → ∞ the maximum. The largest number of each column is
    taken out of the power first, so that no p overflows.

    Source: Radenović, Tolias & Chum 2018 (arXiv 1711.02512), equation 3; p = 3 is usual.
    """
    clipped = np.maximum(tokens, GEM_FLOOR)
    largest = clipped.max(axis=0)
    pooled: F32 = largest * np.mean((clipped / largest) ** p, axis=0) ** (1.0 / p)
    return pooled.astype(np.float32, copy=False)


def topk_attn(tokens: F32, k: int) -> F32:
    """Average the k most activated tokens, those with the largest `Σ|T|`; all if there are fewer.

    Source: the local descriptors of CFCD (Zhu et al. 2023, arXiv 2308.04008), chosen by activation.
    """
    activation = np.abs(tokens).sum(axis=1)
    chosen = np.sort(np.argsort(-activation, kind="stable")[:k])
    pooled: F32 = tokens[chosen].mean(axis=0)
    return pooled


def attend(tokens: F32, query: F32, temperature: float = 1.0, k: int = 0) -> F32:
    """Weigh tokens by their product with a query: `softmax_topk(Tq / √d; temperature, k) · T`.

    query  [dim], learned or the mean of what matters

    Source: attention with one query, Vaswani et al. 2017 (arXiv 1706.03762), equation 1.
    """
    weights = softmax_topk(tokens @ query / math.sqrt(tokens.shape[1]), temperature, k)
    pooled: F32 = weights @ tokens
    return pooled


def orth_fuse(tokens: F32, anchor: F32, weight: float, shares: F32 | None = None) -> F32:
    """Append to a global vector what the tokens say beside it: `[g ; λ · Σ w_i l_i⊥]`.

    `l_i⊥ = T_i − (T_i·g / ‖g‖²) g`, the part of a token that is orthogonal to g.

    anchor   g, [dim]
    weight   λ; 0 leaves g and zeros
    shares   w, [token], ≥ 0, used as shares of their sum; None gives every token the same
    returns  [2 · dim]

    Source: DOLG, Yang et al. 2021 (arXiv 2108.02927), equation 2, with the mean for its pooling.
    """
    length = float(anchor @ anchor)
    beside = tokens - np.outer(tokens @ anchor, anchor) / length if length else tokens
    total = float(shares.sum()) if shares is not None else 0.0
    local = beside.mean(axis=0) if shares is None or not total else (shares / total) @ beside
    fused: F32 = np.concatenate([anchor, np.float32(weight) * local])
    return fused


def regions(tokens: F32, k: int, temperature: float, prototypes: F32 | None = None) -> F32:
    """Group tokens softly: `f_k = Σ_i m_ki T_i`, with `m` a soft assignment, summing to 1 over i.

    k           how many regions; at most as many as there are tokens
    prototypes  [region, dim] centres to group around; None finds them by spherical k-means over
                these tokens, which begins with the longest token and goes on with the farthest
    returns     [region, dim]

    Source: object regions, Yuan et al. 2020 (arXiv 1909.11065), equation 2.
    """
    directions = unit(tokens)
    if prototypes is None:
        centres = _farthest_first(tokens, directions, min(k, len(tokens)))
        for _ in range(REGION_STEPS):
            nearest = (directions @ centres.T).argmax(axis=1)
            mine = (nearest == np.arange(len(centres))[:, None]).astype(np.float32)
            sums = mine @ directions  # far faster than adding row by row
            empty = ~np.any(sums, axis=1)
            sums[empty] = centres[empty]
            centres = unit(sums)
    else:
        centres = unit(prototypes)
    soft = softmax_topk(directions @ centres.T, temperature)
    found: F32 = (soft / soft.sum(axis=0)).T @ tokens
    return found


def with_context(tokens: F32, found: F32, weight: float, temperature: float) -> F32:
    """Add to each token the context that its regions give: `T_i + λ Σ_k softmax_k(t_i·f_k) f_k`.

    The products are of unit vectors, so that `temperature` means the same for every model. Each
    token keeps its length; λ = 0 changes nothing.

    found    [region, dim], from `regions`
    weight   λ, relative to the token's length

    Source: object-contextual representations, Yuan et al. 2020 (arXiv 1909.11065), equation 3.
    """
    if weight == 0.0:
        return tokens
    lengths = np.linalg.norm(tokens, axis=1, keepdims=True)
    directions, around = unit(tokens), unit(found)
    context = softmax_topk(directions @ around.T, temperature) @ around
    augmented: F32 = unit(directions + np.float32(weight) * context) * lengths
    return augmented


def _farthest_first(tokens: F32, directions: F32, k: int) -> F32:
    """Choose k tokens, each the least similar to those before it: [k, dim], unit."""
    chosen = [int(np.linalg.norm(tokens, axis=1).argmax())]
    closest = directions @ directions[chosen[0]]
    for _ in range(1, k):
        chosen.append(int(closest.argmin()))
        closest = np.maximum(closest, directions @ directions[chosen[-1]])
    return directions[chosen]
