"""Scores of candidates token by token: what late interaction needs of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from app.errors import LikewiseError
from app.query.pool import Pool
from app.query.running import Running
from app.ranking.algebra.vectors import unit
from app.ranking.tokens.aggregation import Aggregation, aggregate, contributions
from app.ranking.tokens.cost import check_cost
from app.ranking.tokens.matching import Matching, match
from app.types import F32, F64, VectorField

SHOWN = 20
"""Candidates of which pairs of tokens are told when a query is explained, the best ones."""

MOST_PAIRS = 64
"""Pairs of tokens that are told of one candidate, those that contribute most."""

Places = Callable[[int], F64]
"""Where so many tokens stand: [n, 1] in a row, [n, 2] on a grid."""


def token_scores(
    query: F32,
    field: VectorField,
    pool: Pool,
    running: Running,
    how: Aggregation | Matching,
    at: str,
    *,
    places: Places | None = None,
    facts: dict[str, Any],
) -> tuple[F64, Pool]:
    """Score candidates by their tokens: float64[n], NaN where one has none; the pool with notes.

    query   float32[m, dimension], of any length but zero
    at      where the request asks for it, to be blamed
    facts   of the account, to which its own are added

    Raises InvalidQuery, and LimitExceeded before any work is done.
    """
    query = unit(query).astype(np.float32)
    tokens, starts = running.view.tokens(field.name, pool.rows)
    lengths = np.diff(starts)
    having = np.flatnonzero(lengths)
    work = check_cost(how, len(query), lengths[having].tolist(), field.dimension, at)
    facts |= {"by": how.kind, "query_tokens": len(query), "tokens": len(tokens), "products": work}
    found = np.full(len(pool), np.nan)
    if having.size == 0:
        return found, pool
    if isinstance(how, Aggregation):
        found[having] = aggregate(query, tokens, starts[np.append(having, len(pool))], how)
        if not running.explain:
            return found, pool
        notes = {}
        for place in _best(found):
            part = contributions(query, tokens[starts[place] : starts[place + 1]], how)
            notes[int(pool.rows[place])] = {"pairs": _largest(part)}
        return found, pool.noted(notes)
    told: dict[int, dict[str, Any]] = {}
    for place in having.tolist():
        one = tokens[starts[place] : starts[place + 1]]
        placed = None if places is None else (places(len(query)), places(len(one)))
        try:
            aligned = match(query, one, how, placed)
        except LikewiseError as error:
            error.pointer = at
            raise
        found[place] = aligned.score
        if running.explain:
            gains = aligned.gains[:MOST_PAIRS].round(6).tolist()
            pairs = aligned.pairs[:MOST_PAIRS]
            told[place] = {
                "pairs": [
                    [i, j, round(weight, 6), gain]
                    for (i, j, weight), gain in zip(pairs, gains, strict=True)
                ],
                **aligned.facts,
            }
    return found, pool.noted({int(pool.rows[at_]): told[at_] for at_ in _best(found) if told})


def _best(found: F64) -> list[int]:
    """Give the places of the best scores."""
    order = np.argsort(-np.nan_to_num(found, nan=-np.inf), kind="stable")[:SHOWN]
    return [place for place in order.tolist() if not np.isnan(found[place])]


def _largest(part: F64) -> list[list[Any]]:
    """List [query token, candidate token, contribution] of the largest contributions."""
    flat = np.argsort(-np.abs(part), axis=None, kind="stable")[:MOST_PAIRS]
    rows, columns = np.unravel_index(flat, part.shape)
    worth = part[rows, columns]
    return [
        [i, j, round(gain, 6)]
        for i, j, gain in zip(rows.tolist(), columns.tolist(), worth.tolist(), strict=True)
        if gain
    ]
