"""Dense matching of two grids: where every patch of one image lies in the other.

Two things are smoothed. **Features**: a token takes on some of the tokens that resemble it.
**Cost**: that (i, j) is a pair is likelier if i's neighbour goes to j's neighbour on the same side.
The second is asked for each of several `scales`: where the candidate shows things twice as large,
the neighbour's partner is two cells on. The volume of costs is the same for all of them, so their
confidences compare, and the scale under which the matching is surest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.errors import InvalidQuery
from app.ranking.softmax import softmax_topk
from app.ranking.tokens.sides import Assignment, Sides
from app.types import F32, F64


@dataclass(frozen=True, slots=True)
class Dense:
    """Matching of all tokens of a grid.

    scales           tried factors by which the candidate shows things larger: powers of 2, ¼ … 4
    tau              sharpness of the mutual softmax
    smooth_features  sharpness of the softmax over a grid's own tokens; 0 smooths nothing
    smooth_cost      rounds of averaging over neighbours
    """

    scales: tuple[float, ...] = (1.0, 2.0, 0.5)
    tau: float = 0.3
    smooth_features: float = 0.2
    smooth_cost: int = 4


class _Grid(NamedTuple):
    """Tokens float32[rows · columns, d], row by row."""

    tokens: F32
    rows: int
    columns: int


def match_dense(sides: Sides, how: Dense) -> Assignment:
    """Pair every query token with one of the candidate's, under the scale that is surest.

    Tokens are in rows of a grid, which places show: they need not be spaced evenly, but rows are
    full. Without places the grids are squares. Weights are the smoothed costs. Facts: `scale`,
    `confidence` (mean weight).

    Raises InvalidQuery where tokens make no grid.

    Source: UFC (arXiv 2403.11120), with softmax and box filters in the place of its transformers.
    """
    query = _smoothed(_grid(sides.query, sides.query_places), how.smooth_features)
    candidate = _smoothed(_grid(sides.candidate, sides.candidate_places), how.smooth_features)
    similarity = query.tokens @ candidate.tokens.T
    raw = softmax_topk(similarity, how.tau) * softmax_topk(similarity.T, how.tau).T
    raw = raw.reshape(query.rows, query.columns, candidate.rows, candidate.columns)
    best, chosen, confidence = raw, how.scales[0], -1.0
    for scale in how.scales:
        costs = raw
        for _ in range(how.smooth_cost):
            costs = _box(costs, scale)
        sure = float(costs.max(axis=(2, 3)).mean())
        if sure > confidence:
            best, chosen, confidence = costs, scale, sure
    flat = best.reshape(len(query.tokens), len(candidate.tokens))
    rows = np.arange(len(flat))
    there = flat.argmax(axis=1)
    return Assignment(
        np.stack([rows, there], axis=1),
        flat[rows, there],
        sides.similarity[rows, there],
        backward=flat.argmax(axis=0),
        facts={"scale": chosen, "confidence": confidence},
    )


def grid_places(rows: int, columns: int) -> F64:
    """Places of a grid's tokens, row by row: float64[rows · columns, 2], y and x."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([y, x], axis=1).astype(np.float64)


def _grid(tokens: F32, places: F64 | None) -> _Grid:
    total = len(tokens)
    if places is None:
        side = round(total**0.5)
        if side * side != total:
            raise InvalidQuery(
                f"dense matching needs a grid: {total} tokens without places are no square"
            )
        return _Grid(tokens, side, side)
    columns = int((places[:, 0] == places[0, 0]).sum())
    ordered = places.shape[1] == 2 and total % columns == 0
    if ordered:
        y = places[:, 0].reshape(-1, columns)
        x = places[:, 1].reshape(-1, columns)
        ordered = bool(
            (y == y[:, :1]).all()
            and (x == x[:1]).all()
            and (np.diff(y[:, 0]) > 0).all()
            and (np.diff(x[0]) > 0).all()
        )
    if not ordered:
        raise InvalidQuery("dense matching needs places of a full grid of tokens, row by row")
    return _Grid(tokens, total // columns, columns)


def _smoothed(grid: _Grid, tau: float) -> _Grid:
    if tau == 0:
        return grid
    tokens = grid.tokens
    weights = softmax_topk(tokens @ tokens.T, tau).astype(np.float32)
    return grid._replace(tokens=_unit(weights @ tokens))


def _unit(tokens: F32) -> F32:
    lengths = np.sqrt((tokens * tokens).sum(axis=-1, keepdims=True))
    scaled: F32 = tokens / np.maximum(lengths, np.float32(1e-12))
    return scaled


def _box(costs: F64, scale: float) -> F64:
    """Average with what the four neighbours think, each of its own neighbour on the same side.

    costs  float64[y, x, v, u]: of query (y, x) going to candidate (v, u)
    scale  how many cells of the candidate one of the query takes: whole, or one over whole
    """
    steps = max(1, round(1 / scale)), max(1, round(scale))
    total = costs.copy()
    for axes in ((0, 2), (1, 3)):
        if any(costs.shape[axis] <= step for axis, step in zip(axes, steps, strict=True)):
            continue  # no cell has a neighbour that far
        for ahead in (True, False):
            here, there = [slice(None)] * 4, [slice(None)] * 4
            for axis, step in zip(axes, steps, strict=True):
                here[axis] = slice(None, -step) if ahead else slice(step, None)
                there[axis] = slice(step, None) if ahead else slice(None, -step)
            total[tuple(here)] += costs[tuple(there)]
    total /= 5  # at the border too: what has fewer neighbours is less sure
    return total
