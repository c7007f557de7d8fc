"""Aggregate tokens over a codebook: residuals (VLAD), or what trained queries read (CS)."""

from __future__ import annotations

import math

import numpy as np

from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.pools import softmax_topk
from app.types import F32


def vlad(tokens: F32, words: F32, temperature: float, reference: F32 | None = None) -> F32:
    """Sum each word's residuals: `V_k = Σ_i a_ik (T_i − C_k)`, unit per word, flat, unit.

    tokens       [token, dim]
    words        C, [word, dim]: centres of k-means over tokens of many inputs
    temperature  of the assignment `a_i = softmax_k(−‖T_i − C_k‖² / temperature)`; 0 is the nearest
    reference    R, [word, column]: mixes words to fewer rows, `RᵀV`, unit per column before flat
    returns      [word · dim], or [column · dim] with a reference

    A mean forgets a token among clutter; its residual stays in its own word's place.

    Source: Jégou et al. 2010 (VLAD); soft words as in NetVLAD (arXiv 1511.07247), equation 4.
    """
    squares = (words * words).sum(axis=1) - 2.0 * (tokens @ words.T)
    if temperature == 0.0:
        shares = np.zeros_like(squares)
        shares[np.arange(len(tokens)), squares.argmin(axis=1)] = 1.0
    else:
        shares = softmax_topk(-squares, temperature)
    sums = shares.T @ tokens - shares.sum(axis=0)[:, None] * words
    rows = unit(sums) if reference is None else unit(reference.T @ unit(sums), axis=0)
    flat: F32 = unit(rows.reshape(-1).astype(np.float32, copy=False))
    return flat


def cross_query(tokens: F32, queries: F32, reference: F32) -> F32:
    """Compare what queries read with a codebook: `RᵀP`, unit per column, flat, unit.

    `P = softmax(Q Tᵀ / √d) T` is what each query reads. Needs trained matrices: with random ones it
    finds next to nothing (docs/decisions/0022).

    queries    Q, [query, dim], trained
    reference  R, [query, column], trained
    returns    [column · dim]

    Source: query-based adaptive aggregation, Xiao, Zhou & Loianno 2025 (arXiv 2507.03831).
    """
    read = softmax_topk(queries @ tokens.T / math.sqrt(tokens.shape[1])) @ tokens
    flat: F32 = unit(unit(reference.T @ read, axis=0).reshape(-1))
    return flat


def fit_words(tokens: F32, words: int, seed: int, steps: int = 25) -> F32:
    """Find centres of tokens by k-means: [token, dim] → [word, dim]. The same for the same seed.

    Begins with k-means++ (Arthur & Vassilvitskii 2007). Needs at least as many tokens as words.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    lengths = (tokens * tokens).sum(axis=1)
    chosen = [int(random.integers(len(tokens)))]
    nearest = np.full(len(tokens), np.inf, np.float32)
    for _ in range(1, words):
        last = tokens[chosen[-1]]
        nearest = np.minimum(nearest, np.maximum(lengths - 2 * tokens @ last + last @ last, 0))
        total = float(nearest.sum())
        shares = nearest / total if total else np.full(len(tokens), 1 / len(tokens))
        chosen.append(int(np.searchsorted(np.cumsum(shares), random.random())))
        chosen[-1] = min(chosen[-1], len(tokens) - 1)
    centres = tokens[chosen].astype(np.float32)
    for _ in range(steps):
        mine = ((centres * centres).sum(axis=1) - 2 * tokens @ centres.T).argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, mine, tokens)
        counts = np.bincount(mine, minlength=words)
        kept = counts > 0  # an empty word stays where it is
        moved = centres.copy()
        moved[kept] = sums[kept] / counts[kept, None]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres
