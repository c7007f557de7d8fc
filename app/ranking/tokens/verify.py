"""Doubt about a matching: does it fold the plane, and does the way back lead home?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.ranking.tokens.sides import Assignment, Sides, distances, nearest_spacing
from app.types import F64, I64

NEIGHBOURS = 8  # of a pair, which make 28 triangles with it
ROUNDS = 3  # of leaving out the doubtful: wrong neighbours make right pairs look wrong
DOUBTFUL = 0.75  # a wrong pair preserves about half of its triangles, a right one nearly all
SLIVER = 0.05  # of a pair's largest triangle: three nearly in a line turn over by bending alone
HOME = 1.5  # spacings of the query's tokens: a direct or a diagonal neighbour is still home


def topology(sides: Sides, found: Assignment) -> tuple[float, NDArray[np.bool_]]:
    """Find how much of the order of tokens a matching preserves, and which pairs do.

    returns  the share of triangles (places of 2 numbers) or of neighbouring intervals (1) whose
             orientation survives, over all pairs, 0 … 1; and bool[pairs]: pairs that preserve most
             of theirs among the pairs that do so. Chance gives about ½.

    Triangles are those of each pair with each two of its eight nearest pairs: every Delaunay
    triangle is nearly always among them, and grids, whose Delaunay triangles are not determined,
    are no trouble. Without places a token's number is its place. Too few pairs to make one
    triangle or interval preserve nothing. A mirrored image is another image.

    Source: the fold-free condition, det J > 0, of GEMINI (arXiv 2502.05282).
    """
    near, far = _places(sides, found.pairs)
    least = near.shape[1] + 1
    kept = np.ones(len(near), bool)
    if len(near) < least:
        return 0.0, ~kept
    shares = _preserved(near, far, kept)
    overall = float(shares.mean())
    for _ in range(ROUNDS):
        kept = shares >= DOUBTFUL
        if kept.sum() < least:
            break
        shares = _preserved(near, far, kept)
    return overall, kept


def topology_shares(sides: Sides, found: Assignment) -> F64:
    """Give the share of preserved triangles of each pair, doubtful neighbours left out."""
    near, far = _places(sides, found.pairs)
    _, kept = topology(sides, found)
    if kept.sum() <= near.shape[1]:
        return np.zeros(len(near))
    return _preserved(near, far, kept)


def cycle(sides: Sides, found: Assignment) -> tuple[float, NDArray[np.bool_], F64]:
    """Follow each pair back, and see how far from its start that ends.

    returns  the share of pairs that come home, bool[pairs] which do, and float64[pairs] how far
             off: in spacings of the query's tokens; without places 1 − cosine, where home is the
             same token
    """
    i, j = found.pairs[:, 0], found.pairs[:, 1]
    backward = sides.similarity.argmax(axis=0) if found.backward is None else found.backward
    end = backward[j]
    if sides.query_places is None:
        off = 1 - np.einsum("pd,pd->p", sides.query[i], sides.query[end], dtype=np.float64)
        off[i == end] = 0
        home = i == end
    else:
        gone = sides.query_places[i] - sides.query_places[end]
        off = np.sqrt((gone**2).sum(axis=1)) / nearest_spacing(sides.query_places)
        home = off <= HOME
    return float(home.mean()) if len(home) else 0.0, home, off


def _places(sides: Sides, pairs: I64) -> tuple[F64, F64]:
    if sides.query_places is None or sides.candidate_places is None:
        return pairs[:, :1].astype(np.float64), pairs[:, 1:].astype(np.float64)
    return sides.query_places[pairs[:, 0]], sides.candidate_places[pairs[:, 1]]


def _preserved(near: F64, far: F64, kept: NDArray[np.bool_]) -> F64:
    """Give each pair's share of orientations that survive, with neighbours among the kept.

    near, far  float64[pairs, 1 or 2], the two places of each pair
    """
    away = distances(near)
    away[:, ~kept] = np.inf
    np.fill_diagonal(away, np.inf)
    count = min(NEIGHBOURS, int(kept.sum()))
    around = np.argpartition(away, count - 1, axis=1)[:, :count]
    usable = np.isfinite(np.take_along_axis(away, around, axis=1))
    before = near[around] - near[:, None, :]
    after = far[around] - far[:, None, :]
    if near.shape[1] == 1:
        turn, turned = before[..., 0], after[..., 0]
    else:
        one, other = np.triu_indices(count, 1)
        usable = usable[:, one] & usable[:, other]
        turn = _cross(before[:, one], before[:, other])
        turned = _cross(after[:, one], after[:, other])
    sizes = np.abs(turn).max(axis=1, keepdims=True, initial=0.0)
    usable &= np.abs(turn) > SLIVER * sizes
    same = (np.sign(turn) == np.sign(turned)) & usable
    counted = usable.sum(axis=1)
    shares: F64 = np.divide(same.sum(axis=1), counted, out=np.zeros(len(near)), where=counted > 0)
    return shares


def _cross(one: F64, other: F64) -> F64:
    crossed: F64 = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return crossed
