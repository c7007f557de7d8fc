"""What an evaluation came to: runs of configurations, and how they compare.

One shape for all tasks, in memory, in files and in answers. A run has, for each query, a value of
each measure that a query has by itself; and estimates of all measures, those of the whole (an AUC,
a correlation) included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from app.errors import InvalidRequest
from app.evaluation.bootstrap import (
    OF_ALL,
    SAMPLES,
    Difference,
    Estimate,
    means,
    paired,
    paired_statistic,
    statistic,
)
from app.evaluation.ranked import Ranking, precision_curve, recall_curve
from app.evaluation.verification import Roc
from app.types import F64, I64

FORMAT = "likewise-evaluation-1"

_POINTS_OF_A_CURVE = 200

LOWER_IS_BETTER = ("eer", "ece")
"""Measures of errors."""


class Curve(NamedTuple):
    """A line of a plot. What `name` is, `app.evaluation.report` knows: "recall", "roc", …"""

    name: str
    x: list[float]
    y: list[float]


class Decade(NamedTuple):
    """Means over the queries that concern a share of the collection of low < share ≤ high."""

    low: float
    high: float
    queries: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Run:
    """One configuration.

    members     of its queries
    queries     names of the queries
    measures    those of `values`
    values      float64[queries, measures]; nan where a query has none
    estimates   by measure, those of the whole included
    wholes      how those are computed from the things at some places; not kept in files
    things      how many things those are drawn of; 0 for as many as were measured
    facts       what else is to be told, such as milliseconds
    """

    name: str
    members: Mapping[str, Any]
    queries: list[str]
    measures: list[str]
    values: F64
    estimates: dict[str, Estimate]
    curves: list[Curve] = field(default_factory=list)
    decades: list[Decade] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    wholes: Mapping[str, Callable[[I64], float]] = field(default_factory=dict)
    things: int = 0


class Comparison(NamedTuple):
    """A measure of a configuration against the same of another, `against`."""

    measure: str
    of: str
    against: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of an evaluation, and each of them against the first.

    data   what was evaluated, in words
    at     when, RFC 3339
    """

    task: str
    data: str
    runs: list[Run]
    comparisons: list[Comparison]
    at: str = ""
    notes: list[str] = field(default_factory=list)


def run_of(
    name: str,
    members: Mapping[str, Any],
    queries: Sequence[str],
    measures: Sequence[str],
    values: F64,
    *,
    shares: Sequence[float] | None = None,
    facts: Mapping[str, float] | None = None,
    curves: Sequence[Curve] = (),
    samples: int = SAMPLES,
    seed: int = 0,
) -> Run:
    """Make a run of the values that queries have, with intervals of their means.

    shares   the share of the collection that each query concerns, for the means by decade
    """
    estimates = dict(zip(measures, means(values, samples=samples, seed=seed), strict=True))
    return Run(
        name,
        members,
        list(queries),
        list(measures),
        values,
        estimates,
        [curve for curve in curves if curve.x],
        [] if shares is None else decades(values, measures, shares),
        dict(facts or {}),
    )


def with_wholes(
    run: Run,
    wholes: Mapping[str, Callable[[I64], float]],
    measured: int,
    *,
    things: int = 0,
    samples: int = OF_ALL,
    seed: int = 0,
    leading: bool = True,
) -> Run:
    """Add measures of all things together to a run, with their intervals.

    measured  how many things there are
    things    of how many a draw is made, where that is something else: labels of pairs
    leading   whether these measures are what the task is about, and come first
    """
    of_all = {
        name: statistic(of, things or measured, samples=samples, seed=seed)._replace(
            queries=measured
        )
        for name, of in wholes.items()
    }
    estimates = {**of_all, **run.estimates} if leading else {**run.estimates, **of_all}
    return replace(run, wholes=wholes, estimates=estimates, things=things)


def curves_of(rankings: Sequence[Ranking], depth: int) -> list[Curve]:
    """Draw how recall grows with the depth, and how precision falls with recall."""
    at, recalls = recall_curve(rankings, depth)
    levels, precisions = precision_curve(rankings)
    return [
        Curve("recall", [float(k) for k in at], recalls),
        Curve("precision", levels, precisions),
    ]


def roc_curve(curve: Roc) -> Curve:
    """Draw a receiver's curve, by not more points than can be seen."""
    some = thinned(curve.far.size)
    return Curve("roc", curve.far[some].tolist(), curve.tar[some].tolist())


def thinned(points: int) -> I64:
    """Choose places of a curve's points, the first and the last among them."""
    found: I64 = np.unique(np.linspace(0, points - 1, _POINTS_OF_A_CURVE).astype(np.int64))
    return found


def decades(values: F64, measures: Sequence[str], shares: Sequence[float]) -> list[Decade]:
    """Take means by the power of ten that a query's share lies in, from rare to frequent."""
    exponents = np.array([math.ceil(math.log10(s) - 1e-9) if s > 0 else -99 for s in shares])
    found = []
    for exponent in sorted(set(exponents.tolist())):
        own = values[exponents == exponent]
        low = 0.0 if exponent == -99 else 10.0 ** (exponent - 1)
        high = 0.0 if exponent == -99 else 10.0**exponent
        by_measure = {}
        for column, name in enumerate(measures):
            counted = own[~np.isnan(own[:, column]), column]
            if counted.size:
                by_measure[name] = float(counted.mean())
        found.append(Decade(low, high, len(own), by_measure))
    return found


def compared(runs: Sequence[Run], *, samples: int = SAMPLES, seed: int = 0) -> list[Comparison]:
    """Compare every run with the first, measure by measure, on the queries that both have."""
    found = []
    for other in runs[1:]:
        found += _compared(runs[0], other, samples, seed)
    return found


def _compared(one: Run, other: Run, samples: int, seed: int) -> list[Comparison]:
    shared = [name for name in one.measures if name in other.measures]
    places = {query: place for place, query in enumerate(other.queries)}
    both = [place for place, query in enumerate(one.queries) if query in places]
    theirs = [places[one.queries[place]] for place in both]
    found = []
    if shared and both:
        ours = one.values[both][:, [one.measures.index(name) for name in shared]]
        values = other.values[theirs][:, [other.measures.index(name) for name in shared]]
        differences = paired(ours, values, samples=samples, seed=seed)
        for name, difference in zip(shared, differences, strict=True):
            found.append(Comparison(name, other.name, one.name, difference))
    for name, estimate in one.estimates.items():
        if name in shared or name not in other.estimates:
            continue
        if name in one.wholes and name in other.wholes:
            whole = paired_statistic(
                one.wholes[name],
                other.wholes[name],
                one.things or estimate.queries,
                samples=min(samples, OF_ALL),
                seed=seed,
            )
        else:
            nothing, apart = float("nan"), other.estimates[name].value - estimate.value
            whole = Difference(apart, nothing, nothing, nothing, 0, 0, 0)
        found.append(Comparison(name, other.name, one.name, whole))
    return found


# ── as JSON ──────────────────────────────────────────────────────────────────────────────────


def json_from_outcome(outcome: Outcome, *, per_query: bool = True) -> dict[str, Any]:
    """Write an outcome as plain values; what is nan is null."""
    return {
        "format": FORMAT,
        "task": outcome.task,
        "data": outcome.data,
        "at": outcome.at,
        "notes": outcome.notes,
        "configurations": [json_from_run(run, per_query=per_query) for run in outcome.runs],
        "comparisons": json_from_comparisons(outcome.comparisons),
    }


def json_from_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Write comparisons as plain values."""
    return [
        {
            "measure": one.measure,
            "of": one.of,
            "against": one.against,
            "difference": _plain(one.difference.value),
            "low": _plain(one.difference.low),
            "high": _plain(one.difference.high),
            "p": _plain(one.difference.p),
            "wins": one.difference.wins,
            "losses": one.difference.losses,
            "ties": one.difference.ties,
        }
        for one in comparisons
    ]


def json_from_run(run: Run, *, per_query: bool) -> dict[str, Any]:
    """Write a run as plain values, its queries one by one only if that is wanted."""
    found: dict[str, Any] = {
        "name": run.name,
        "query": dict(run.members),
        "measures": {
            name: {
                "value": _plain(estimate.value),
                "low": _plain(estimate.low),
                "high": _plain(estimate.high),
                "queries": estimate.queries,
            }
            for name, estimate in run.estimates.items()
        },
        "curves": [curve._asdict() for curve in run.curves],
        "decades": [decade._asdict() for decade in run.decades],
        "facts": {name: _plain(value) for name, value in run.facts.items()},
    }
    if per_query:
        found["per_query"] = {
            "queries": run.queries,
            "values": {
                name: [_plain(value) for value in run.values[:, column].tolist()]
                for column, name in enumerate(run.measures)
            },
        }
    return found


def outcome_from_json(raw: Any) -> Outcome:
    """Read what `json_from_outcome` wrote. Raises InvalidRequest where it is something else."""
    try:
        if raw["format"] != FORMAT:
            raise InvalidRequest(f"expected the format {FORMAT}, found {raw['format']!r}")
        return Outcome(
            str(raw["task"]),
            str(raw["data"]),
            [_run_from_json(one) for one in raw["configurations"]],
            [_comparison_from_json(one) for one in raw["comparisons"]],
            str(raw["at"]),
            [str(note) for note in raw["notes"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"this is no result of an evaluation ({type(error).__name__}: {error})"
        ) from error


def _run_from_json(raw: Mapping[str, Any]) -> Run:
    one = raw.get("per_query", {"queries": [], "values": {}})
    measures = [str(name) for name in one["values"]]
    columns = [[_number(value) for value in one["values"][name]] for name in measures]
    values = np.array(columns, np.float64).T.reshape(len(one["queries"]), len(measures))
    return Run(
        str(raw["name"]),
        dict(raw["query"]),
        [str(query) for query in one["queries"]],
        measures,
        values,
        {
            str(name): Estimate(
                _number(found["value"]),
                _number(found["low"]),
                _number(found["high"]),
                int(found["queries"]),
            )
            for name, found in raw["measures"].items()
        },
        [
            Curve(str(c["name"]), [float(x) for x in c["x"]], [float(y) for y in c["y"]])
            for c in raw["curves"]
        ],
        [
            Decade(
                float(d["low"]),
                float(d["high"]),
                int(d["queries"]),
                {str(name): float(value) for name, value in d["values"].items()},
            )
            for d in raw["decades"]
        ],
        {str(name): _number(value) for name, value in raw["facts"].items()},
    )


def _comparison_from_json(raw: Mapping[str, Any]) -> Comparison:
    difference = Difference(
        _number(raw["difference"]),
        _number(raw["low"]),
        _number(raw["high"]),
        _number(raw["p"]),
        int(raw["wins"]),
        int(raw["losses"]),
        int(raw["ties"]),
    )
    return Comparison(str(raw["measure"]), str(raw["of"]), str(raw["against"]), difference)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]  # TypeError: caught above
