"""Second-order matching: pairs support each other where they agree on how tokens lie.

Where tokens repeat (windows of a façade, words of a refrain) no similarity of single tokens can
tell which belongs to which. Two pairs (i, j) and (k, l) can: the distance from i to k and that from
j to l must be in the one ratio that all true pairs share. True pairs then support each other in a
clique, and false ones stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ranking.tokens.sides import Assignment, Fact, Sides, distances
from app.types import F32, F64, I64

MOST_PAIRS = 1_024  # possible pairs that are compared with each other: 4 MB of float32
POWER_STEPS = 30  # of the leading vector; it moves by less than 1e-3 after about 15
LEAST = 0.2  # of the strongest pair's support: below it stand the pairs that nobody confirms


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """One-to-one pairs by agreement with each other.

    top    most similar candidate tokens that each query token is tried with; where that makes more
           than 1,024 pairs the most similar of those are tried
    sigma  tolerance: of the logarithm of ratios of distances with places (.05 is about 5 %), of
           differences of cosines without
    """

    top: int = 8
    sigma: float = 0.05


def match_second_order(sides: Sides, how: SecondOrder) -> Assignment:
    """Find the strongest clique of pairs, approximately, by the leading vector of their support.

    With places, rotation, translation and scale do not matter; without, tokens lie in their own
    vectors' space, and cosines among them are compared. Facts: `tried` pairs and, with places, the
    `scale` from query to candidate.

    Sources: Leordeanu & Hebert 2005 (doi 10.1109/ICCV.2005.20) for the spectral relaxation;
    LVM-Med (arXiv 2306.11925, section 3.3) for the second-order term.
    """
    similarity = sides.similarity
    i, j = _likely_pairs(similarity, how.top)
    apart = (i[:, None] == i) | (j[:, None] == j)  # pairs that exclude each other
    facts: dict[str, Fact] = {"tried": len(i)}
    if sides.query_places is not None and sides.candidate_places is not None:
        near, far = _log_distances(sides.query_places), _log_distances(sides.candidate_places)
        off = _between(far, j) - _between(near, i)
        scale = _common(off[~apart], how.sigma)
        off -= np.float32(scale)
        facts["scale"] = float(np.exp(scale))
    else:
        among_query = sides.query @ sides.query.T
        among_candidate = sides.candidate @ sides.candidate.T
        off = _between(among_candidate, j) - _between(among_query, i)
    off *= np.float32(1 / how.sigma)
    support = np.exp(-off * off)
    support[apart] = 0
    kept, weights = _discretise(_leading(support), i, j)
    pairs = np.stack([i[kept], j[kept]], axis=1)
    order = np.argsort(pairs[:, 0], kind="stable")
    pairs = pairs[order]
    return Assignment(pairs, weights[order], similarity[pairs[:, 0], pairs[:, 1]], facts=facts)


def _likely_pairs(similarity: F64, top: int) -> tuple[I64, I64]:
    m, n = similarity.shape
    top = min(top, n)
    j = np.argpartition(-similarity, top - 1, axis=1)[:, :top].ravel()
    i = np.repeat(np.arange(m), top)
    if len(i) > MOST_PAIRS:
        best = np.sort(np.argpartition(-similarity[i, j], MOST_PAIRS - 1)[:MOST_PAIRS])
        i, j = i[best], j[best]
    return i, j


def _between(matrix: F32, chosen: I64) -> F32:
    """Give `matrix[chosen][:, chosen]`, rows first: whole rows are copied, not numbers."""
    return matrix.take(chosen, axis=0).take(chosen, axis=1)


def _log_distances(places: F64) -> F32:
    """Give logarithms of the distances between places; those that coincide are a little apart."""
    apart = distances(places)
    floor = max(float(apart.max()) * 1e-9, 1e-300)
    logs: F32 = np.log(np.maximum(apart, floor)).astype(np.float32)
    return logs


def _common(logs: F32, sigma: float) -> float:
    """Find the value that most of them share: false pairs spread over many, true ones share one."""
    if not len(logs):
        return 0.0
    lowest, width = float(logs.min()), sigma / 2
    counts = np.bincount(((logs - lowest) / width).astype(np.int64))
    smooth = np.convolve(counts, (1.0, 2.0, 1.0), mode="same")
    centre = lowest + (int(smooth.argmax()) + 0.5) * width
    return float(logs[np.abs(logs - centre) <= sigma].mean(dtype=np.float64))


def _leading(support: F32) -> F64:
    """Approximate the leading vector of a symmetric matrix without negative numbers."""
    vector: NDArray[Any] = np.full(len(support), len(support) ** -0.5, np.float32)
    for _ in range(POWER_STEPS):
        following = support @ vector
        length = np.sqrt(following @ following)
        if length == 0:
            return np.zeros(len(support))  # no two pairs agree
        vector = following / length
    return vector.astype(np.float64)


def _discretise(vector: F64, i: I64, j: I64) -> tuple[I64, F64]:
    """Take pairs from the strongest down, each token once, to the least support that counts."""
    strongest = float(vector.max(initial=0.0))
    kept: list[int] = []
    used_i: set[int] = set()
    used_j: set[int] = set()
    if strongest > 0:
        likely = np.flatnonzero(vector >= LEAST * strongest)
        for at in likely[np.argsort(-vector[likely], kind="stable")].tolist():
            row, column = int(i[at]), int(j[at])
            if row not in used_i and column not in used_j:
                used_i.add(row)
                used_j.add(column)
                kept.append(at)
    chosen = np.array(kept, np.int64)
    return chosen, vector[chosen] / strongest if kept else np.empty(0)
