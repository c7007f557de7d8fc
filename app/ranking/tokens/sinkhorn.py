"""Optimal transport with a dustbin: all tokens compete at once, and those that fit none may go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.ranking.tokens.sides import Assignment, Sides
from app.types import F64


@dataclass(frozen=True, slots=True)
class Sinkhorn:
    """Soft assignment by alternate scaling.

    tau         sharpness, at least .01
    dustbin     similarity to the dustbin, −1 … 1: tokens that find nothing better go there
    iterations  most rounds; it ends when the marginals are within 1e-6
    least       pairs with less weight are left out
    """

    tau: float = 0.05
    dustbin: float = 0.5
    iterations: int = 100
    least: float = 0.2


def match_sinkhorn(sides: Sides, how: Sinkhorn) -> Assignment:
    """Pair tokens that give each other more mass than any other token, and than `least`.

    Facts: `marginal_error` of the transport, `unmatched` query tokens (most mass in the dustbin).
    """
    similarity = sides.similarity
    plan, error = transport(similarity, how)
    inner = plan[:-1, :-1]
    there, back = inner.argmax(axis=1), inner.argmax(axis=0)
    rows = np.arange(len(inner))
    weights = inner[rows, there]
    keep = rows[(back[there] == rows) & (weights >= how.least)]
    pairs = np.stack([keep, there[keep]], axis=1)
    return Assignment(
        pairs,
        np.minimum(weights[keep], 1.0),
        similarity[keep, there[keep]],
        facts={
            "marginal_error": error,
            "unmatched": int((plan[:-1, -1] > weights).sum()),
        },
    )


def transport(similarity: F64, how: Sinkhorn) -> tuple[F64, float]:
    """Spread each token's mass of 1 over the other side and its dustbin.

    similarity  float64[m, n] of −1 … 1
    returns     float64[m + 1, n + 1] with the dustbins last, and its largest marginal error: rows
                sum to 1 but for the dustbin's n, columns to 1 but for m

    The scaling is plain, not of logarithms: with |S| ≤ 1 and τ ≥ .01 the factors stay within
    e^±400, which float64 holds, and a round is two products with a matrix instead of
    (m + 1)(n + 1) exponentials. Source: Cuturi 2013 (arXiv 1306.0895, algorithm 1); the dustbin of
    SuperGlue (arXiv 1911.11763, section 3.2).
    """
    m, n = similarity.shape
    kernel = np.full((m + 1, n + 1), how.dustbin)
    kernel[:m, :n] = similarity
    kernel = np.exp((kernel - kernel.max()) / how.tau)
    row_mass = np.append(np.ones(m), float(n))
    column_mass = np.append(np.ones(n), float(m))
    left, right = np.ones(m + 1), np.ones(n + 1)
    for at in range(how.iterations):
        reached = kernel @ right
        if at % 10 == 0 and np.abs(left * reached - row_mass).max() < 1e-6:
            break
        left = row_mass / reached
        right = column_mass / (left @ kernel)
    plan: F64 = left[:, None] * kernel * right
    return plan, float(np.abs(plan.sum(axis=1) - row_mass).max())
