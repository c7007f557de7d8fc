"""Anchored matching: a few sure pairs say where to look for the partners of all other tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.errors import InvalidQuery
from app.ranking.softmax import softmax_topk
from app.ranking.tokens.second_order import SecondOrder, match_second_order
from app.ranking.tokens.sides import Assignment, Fact, Sides, nearest_spacing
from app.types import F64, I64

LEAST_ANCHORS = 3  # an affine map of the plane has that many points
NEIGHBOURS = 4  # anchors that correct the map near them


@dataclass(frozen=True, slots=True)
class Anchors:
    """Coarse to fine, with places.

    anchors  query tokens, spread over the query, that are compared with every candidate token
    radius   how far from where the anchors predict it a partner is looked for, in spacings of the
             candidate's tokens
    """

    anchors: int = 32
    radius: float = 2.5


def match_anchors(sides: Sides, how: Anchors) -> Assignment:
    """Match some tokens with all, and the others only near where those predict their partners.

    Costs anchors · n products for the first part and about m · π · radius² for the rest, of mn.
    Without three anchors that agree nothing is matched. Pairs are mutually nearest within what was
    compared. Facts: `anchors` that agreed, `compared` products.

    Raises InvalidQuery without places.

    Source: DenseGAP (arXiv 2112.06910), without its learned graph network: anchors are found by
    second-order agreement, and their context is an affine map with local corrections.
    """
    if sides.query_places is None or sides.candidate_places is None:
        raise InvalidQuery("matching by anchors needs tokens with places")
    seeds = spread(sides.query_places, how.anchors)
    seen = Sides(
        sides.query[seeds], sides.candidate, sides.query_places[seeds], sides.candidate_places
    )
    sure = match_second_order(seen, SecondOrder(top=5))
    m, n = len(sides.query), len(sides.candidate)
    compared = len(seeds) * n
    facts: dict[str, Fact] = {"anchors": len(sure.pairs), "compared": compared}
    if len(sure.pairs) < LEAST_ANCHORS:
        return Assignment(np.empty((0, 2), np.int64), np.empty(0), np.empty(0), facts=facts)
    expected = _predicted(
        sides.query_places,
        sides.query_places[seeds[sure.pairs[:, 0]]],
        sides.candidate_places[sure.pairs[:, 1]],
    )
    radius = how.radius * nearest_spacing(sides.candidate_places)
    away = ((expected[:, None, :] - sides.candidate_places) ** 2).sum(axis=-1)
    rows, columns = np.nonzero(away <= radius * radius)
    products = np.full((m, n), -np.inf)
    products[rows, columns] = np.einsum(
        "pd,pd->p", sides.query[rows], sides.candidate[columns], dtype=np.float64
    )
    facts["compared"] = compared + len(rows)
    there, back = products.argmax(axis=1), products.argmax(axis=0)
    kept = np.flatnonzero(
        (back[there] == np.arange(m)) & np.isfinite(products[np.arange(m), there])
    )
    pairs = np.stack([kept, there[kept]], axis=1)
    worth = products[kept, there[kept]]
    return Assignment(pairs, np.ones(len(kept)), worth, facts=facts)


def spread(places: F64, wanted: int) -> I64:
    """Choose places far from each other, beginning with the one nearest the middle.

    returns  int64[min(wanted, places)], rising. Source: Gonzalez 1985
             (doi 10.1016/0304-3975(85)90224-5)
    """
    wanted = min(wanted, len(places))
    chosen = np.empty(wanted, np.int64)
    away = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    chosen[0] = away.argmin()
    away = np.full(len(places), np.inf)
    for at in range(1, wanted):
        np.minimum(away, ((places - places[chosen[at - 1]]) ** 2).sum(axis=1), out=away)
        chosen[at] = away.argmax()
    return np.unique(chosen)


def _predicted(places: F64, known: F64, partners: F64) -> F64:
    """Map places as their neighbours among the known ones are mapped."""
    basis = np.column_stack([known, np.ones(len(known))])
    affine = np.linalg.lstsq(basis, partners, rcond=None)[0]
    mapped: F64 = np.column_stack([places, np.ones(len(places))]) @ affine
    away = ((places[:, None, :] - known) ** 2).sum(axis=-1)
    near = softmax_topk(-away, float(away.min(axis=1).mean()) or 1.0, NEIGHBOURS)
    corrected: F64 = mapped + near @ (partners - basis @ affine)
    return corrected
