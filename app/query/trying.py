"""Labelled queries on a view: what they find, whether it is right, and a bank that is tried on it.

Everything here runs on one view, as plans do. Labelled queries are plans of one lookup each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.backends.base import View
from app.errors import InvalidQuery, LimitExceeded, PointNotFound
from app.query.bank import Bank
from app.query.limits import MOST_TRIAL_PRODUCTS
from app.query.plan import Lookup, Plan
from app.query.running import Leaves, Running
from app.ranking.hubness import METHODS, Penalty, occurrence_skew, similarities, sinkhorn_rows
from app.ranking.trial import DEPTH, chosen_apart, due_of, judged
from app.types import F32, F64, I64, Metric, PointId, VectorField, VectorKind
from app.vectors.metric import prepare
from app.vectors.tokens import pooled

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Tried where none is asked for."""

_ITEMS = 5_000  # points that stand for all when Sinkhorn's rows are scaled
_SAME = 3e-3  # of a vector's length: nearer ones are one query twice


class Asking(Protocol):
    """A query whose leaves mean something."""

    @property
    def plan(self) -> Plan: ...

    @property
    def fields(self) -> dict[str, VectorField | None]: ...

    @property
    def leaves(self) -> Leaves: ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """A query, and the points that answer it."""

    asking: Asking
    relevant: Sequence[PointId]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bank to be made.

    asked      what stands for the queries to come; or else a sample of points does
    methods, strengths   to be tried, or the first of each without labelled queries
    """

    field: VectorField
    asked: Sequence[Asking] = ()
    sample: int = 0
    filter: Filter | None = None
    seed: int = 0
    methods: tuple[str, ...] = METHODS
    strengths: tuple[float, ...] = STRENGTHS
    k: int = 10
    tau: float = 0.05
    dev: Sequence[Labelled] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What labelled queries found.

    rows     int64[Q, C], best first, −1 where there are fewer
    scores   float64[Q, C], −inf there
    right    bool[Q, C]
    counts   int64[Q]: right answers of each, found or not
    points   that were searched
    """

    rows: I64
    scores: F64
    right: NDArray[np.bool_]
    counts: I64
    points: int


def found_by(labelled: Sequence[Labelled], view: View) -> Found:
    """Run labelled queries. Raises PointNotFound for an answer that is not there."""
    pools = []
    wanted: list[I64] = []
    points = 0
    for one in labelled:
        running = _running(one.asking, view)
        rows = view.find(list(one.relevant))
        if (rows < 0).any():
            place = int(np.argmin(rows))
            raise PointNotFound(
                "the collection has no point of that id",
                pointer=f"{one.asking.plan.at}/relevant/{place}",
            )
        wanted.append(np.unique(rows))
        pools.append(one.asking.plan.run(running))
        points = max(points, running.matches)
    width = max([len(pool) for pool in pools], default=0)
    shape = (len(pools), max(width, 1))
    rows, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf)
    right = np.zeros(shape, dtype=np.bool_)
    for number, (pool, own) in enumerate(zip(pools, wanted, strict=True)):
        rows[number, : len(pool)] = pool.rows
        scores[number, : len(pool)] = pool.scores
        right[number, : len(pool)] = np.isin(pool.rows, own)
    return Found(rows, scores, right, np.array([own.size for own in wanted]), points)


def made(wanted: Wanted, view: View) -> Bank:
    """Make a bank, and try it where there are labelled queries.

    Raises InvalidQuery, PointNotFound or LimitExceeded, with their place.
    """
    field = wanted.field
    vectors = _bank_vectors(wanted, view)
    rows: F64 | None = None
    if "sinkhorn" in wanted.methods:
        items, has = view.vectors(field.name, view.sample(field.name, None, _ITEMS, wanted.seed))
        if not has.any():
            raise InvalidQuery("there is no point yet that Sinkhorn's scales could be of")
        rows = sinkhorn_rows(similarities(field.metric, items[has], vectors), wanted.tau)

    def bank(method: str, strength: float, **measured: Any) -> Bank:
        own = rows if method == "sinkhorn" else None
        return Bank(
            field.name, vectors, method, strength, wanted.k, wanted.tau, log_rows=own, **measured
        )

    if not wanted.dev:
        return bank(wanted.methods[0], wanted.strengths[min(1, len(wanted.strengths) - 1)])
    _check_apart(wanted, vectors, view)
    found = found_by(wanted.dev, view)
    method, strength, wins, measured = _tried(wanted, vectors, rows, found, view)
    return bank(method, strength, wins=wins, measured=measured)


def _bank_vectors(wanted: Wanted, view: View) -> F32:
    field = wanted.field
    if not wanted.asked:
        sample = view.sample(field.name, wanted.filter, wanted.sample, wanted.seed)
        vectors, has = view.vectors(field.name, sample)
        if not has.any():
            raise InvalidQuery("no point passes that could stand for queries", pointer="/sample")
        return vectors[has]
    return np.stack([_vector(one, field, view) for one in wanted.asked])


def _vector(asking: Asking, field: VectorField, view: View) -> F32:
    """Give what a query is searched by: float32[dimension]."""
    lookup = asking.plan.source
    assert isinstance(lookup, Lookup)
    compiled = lookup.compiled(_running(asking, view))
    if compiled.rule is not None or len(compiled.probes) != 1:
        raise InvalidQuery("expected a query that is one vector", pointer=asking.plan.at)
    (probe,) = compiled.probes
    assert isinstance(probe, np.ndarray)
    vector: F32 = pooled(probe) if field.kind is VectorKind.TOKENS else prepare(field.metric, probe)
    return vector


def _running(asking: Asking, view: View) -> Running:
    return Running(view, asking.fields, asking.leaves, asking.plan.filter)


def _check_apart(wanted: Wanted, bank: F32, view: View) -> None:
    """Refuse labelled queries that the bank has: what they showed would not hold for others."""
    own = np.stack([_vector(one.asking, wanted.field, view) for one in wanted.dev])
    nearest = -similarities(Metric.L2, own, bank).max(axis=1)
    same = np.flatnonzero(nearest <= _SAME * np.linalg.norm(own, axis=1))
    if same.size:
        raise InvalidQuery(
            "the bank has this query too: label others, or leave it out of the bank",
            pointer=wanted.dev[int(same[0])].asking.plan.at,
        )


def _tried(
    wanted: Wanted, bank: F32, log_rows: F64 | None, found: Found, view: View
) -> tuple[str, float, bool, dict[str, Any]]:
    """Try every method at every strength: the best one, whether it wins, and the figures."""
    items, where = np.unique(found.rows, return_inverse=True)
    where = where.reshape(found.rows.shape)
    there = items >= 0
    products = int(there.sum()) * bank.size
    if products > MOST_TRIAL_PRODUCTS:
        raise LimitExceeded(
            f"{int(there.sum())} candidates and {len(bank)} queries come to {products} products of "
            f"numbers; at most {MOST_TRIAL_PRODUCTS} are tried: label or recall fewer",
            pointer="/dev",
            limit=MOST_TRIAL_PRODUCTS,
        )
    penalties = np.zeros((len(wanted.methods), items.size))
    ways = [Penalty(method, wanted.k, wanted.tau, log_rows) for method in wanted.methods]
    for start in range(0, items.size, _ITEMS):
        some = slice(start, start + _ITEMS)
        vectors, _ = view.vectors(wanted.field.name, items[some][there[some]])
        among = similarities(wanted.field.metric, vectors, bank)
        for number, way in enumerate(ways):
            penalties[number, some][there[some]] = way(among)
    due = due_of(found.counts)
    raw = judged(found.scores, found.right, due)
    tries = [(m, s) for m in range(len(ways)) for s in wanted.strengths]
    scores = [found.scores - strength * penalties[m][where] for m, strength in tries]
    results = [judged(one, found.right, due) for one in scores]
    nearest = [_nearest(one, where) for one in (found.scores, *scores)]
    skews = [occurrence_skew(one, found.points) for one in nearest]
    ndcgs = np.stack([one.ndcg for one in results])
    best = int(ndcgs.mean(axis=1).argmax())
    verdict = chosen_apart(raw.ndcg, ndcgs)
    told = [
        {"method": wanted.methods[m], "strength": strength, **_figures(one, skew)}
        for (m, strength), one, skew in zip(tries, results, skews[1:], strict=True)
    ]
    measured = {
        "queries": len(wanted.dev),
        "candidates": found.rows.shape[1],
        "without": _figures(raw, skews[0]),
        "with": told[best],
        "gain": round(verdict.gain, 6),
        "error": round(verdict.error, 6),
        "tried": told,
    }
    method, strength = tries[best]
    return wanted.methods[method], strength, verdict.wins, measured


def _nearest(scores: F64, where: NDArray[np.int64]) -> I64:
    """Give the places of the ten best of each query, −1 for none."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    best: I64 = np.take_along_axis(where, order, axis=1)
    return np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), best, -1)


def _figures(one: Any, skew: float) -> dict[str, float]:
    return {
        "first": round(float(one.first.mean()), 6),
        "ndcg": round(float(one.ndcg.mean()), 6),
        "skew": round(skew, 4),
    }
