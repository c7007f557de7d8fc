"""Summaries of some points by their attributes: counted values, numbers, histograms, dates.

A facet is read from JSON, bounded, and run on a subset of a view; its answer is plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np

from app.attributes.values import name_problem
from app.backends.base import Subset
from app.errors import LimitExceeded
from app.query.limits import MOST_BUCKETS, MOST_FACETS, MOST_QUANTILES, MOST_VALUES
from app.query.reading import Members, number, refused
from app.ranking import aggregates
from app.ranking.aggregates import Interval
from app.types import F64

Json = dict[str, Any]


class FacetPart(Protocol):
    """One facet of a request."""

    def run(self, subset: Subset) -> Json: ...


@dataclass(frozen=True, slots=True)
class ValuesFacet:
    """The `n` most frequent values and their counts."""

    field: str
    n: int

    def run(self, subset: Subset) -> Json:
        """Count."""
        found = subset.facet(self.field, self.n)
        values = [{"value": value, "count": count} for value, count in found.values]
        return {"values": values, "distinct": found.distinct, "missing": found.missing}


@dataclass(frozen=True, slots=True)
class NumbersFacet:
    """Count, least, greatest, sum, mean and quantiles of an attribute's numbers."""

    field: str
    shares: tuple[float, ...]

    def run(self, subset: Subset) -> Json:
        """Sum up; null where there is nothing to sum up, or it is past float64."""
        numbers = subset.numbers(self.field, "numbers")
        counted, missing = numbers[:4], numbers.missing
        spread = aggregates.spread(*counted)
        told: Json = {"count": 0, **dict.fromkeys(("min", "max", "sum", "mean"))}
        found: list[float | None] = [None] * len(self.shares)
        if spread is not None:
            told = {
                "count": spread.count,
                "min": spread.least,
                "max": spread.greatest,
                "sum": _in_json(spread.total),
                "mean": _in_json(spread.mean),
            }
            found = list(aggregates.quantiles(*aggregates.merged(*counted), self.shares))
        if self.shares:
            told["quantiles"] = [
                {"share": share, "value": value}
                for share, value in zip(self.shares, found, strict=True)
            ]
        return {**told, "missing": missing}


@dataclass(frozen=True, slots=True)
class HistogramFacet:
    """Numbers by bucket: between given edges, or as many equal buckets as are asked for."""

    field: str
    edges: tuple[float, ...] | None
    buckets: int

    def run(self, subset: Subset) -> Json:
        """Count."""
        numbers = subset.numbers(self.field, "numbers")
        counted, missing = numbers[:4], numbers.missing
        values, counts = aggregates.merged(*counted)
        edges: F64 = np.array(self.edges or [], dtype=np.float64)
        if self.edges is None and values.size:
            edges = aggregates.even_edges(float(values[0]), float(values[-1]), self.buckets)
        if edges.size == 0:
            return {"buckets": [], "outside": 0, "missing": missing}
        found = aggregates.histogram(values, counts, edges).tolist()
        buckets = [
            {"from": low, "to": high, "count": count}
            for (low, high), count in zip(pairwise(edges.tolist()), found, strict=True)
        ]
        outside = int(counts.sum()) - sum(found)
        return {"buckets": buckets, "outside": outside, "missing": missing}


@dataclass(frozen=True, slots=True)
class DatesFacet:
    """Instants by calendar period in UTC, from the first that has one to the last."""

    at: str
    field: str
    interval: Interval

    def run(self, subset: Subset) -> Json:
        """Count. Raises LimitExceeded if that is too many periods."""
        found = subset.numbers(self.field, "instants")
        instants, counts = found.ints, found.int_counts
        if instants.size == 0:
            return {"buckets": [], "min": None, "max": None, "missing": found.missing}
        numbers = aggregates.period_numbers(instants, self.interval)
        first = int(numbers[0])
        periods = int(numbers[-1]) - first + 1
        if periods > MOST_BUCKETS:
            raise LimitExceeded(
                f"the dates lie in {periods} such intervals, and at most {MOST_BUCKETS} are "
                "shown: choose a longer one, or filter",
                pointer=f"{self.at}/interval",
                limit=MOST_BUCKETS,
            )
        summed = np.zeros(periods, dtype=np.int64)
        np.add.at(summed, numbers - first, counts)
        starts = aggregates.period_starts(first + np.arange(periods), self.interval)
        buckets = [
            {"from": _date(start), "count": count}
            for start, count in zip(starts.tolist(), summed.tolist(), strict=True)
        ]
        ends = {"min": _date(int(instants[0])), "max": _date(int(instants[-1]))}
        return {"buckets": buckets, **ends, "missing": found.missing}


def read_facets(raw: object, at: str) -> dict[str, FacetPart]:
    """Read facets by name. Raises InvalidQuery or LimitExceeded, with the place."""
    if not isinstance(raw, Mapping) or not raw:
        raise refused("expected an object of facets by name, at least one", at)
    if len(raw) > MOST_FACETS:
        raise LimitExceeded(
            f"at most {MOST_FACETS} facets are counted at once", pointer=at, limit=MOST_FACETS
        )
    whole = Members(raw, at, "facets")
    found = {}
    for name, one in raw.items():
        members = Members(one, whole.place(str(name)), "a facet")
        kind = members.choice("of", _KINDS, "values")
        field = members.required("field")
        problem = name_problem(field)
        if problem is not None:
            raise refused(problem, members.place("field"))
        found[str(name)] = _KINDS[kind](members, field)
        members.end()
    return found


def _values(members: Members, field: str) -> FacetPart:
    return ValuesFacet(field, members.integer("n", 10, low=0, high=MOST_VALUES))


def _numbers(members: Members, field: str) -> FacetPart:
    shares = members.items("quantiles", most=MOST_QUANTILES, default=[])
    place = members.place("quantiles")
    return NumbersFacet(
        field,
        tuple(number(one, f"{place}/{i}", low=0, high=1) for i, one in enumerate(shares)),
    )


def _histogram(members: Members, field: str) -> FacetPart:
    given = members.items("edges", least=2, most=MOST_BUCKETS + 1, default=None)
    buckets = members.integer("buckets", 10, low=1, high=MOST_BUCKETS)
    if given is None:
        return HistogramFacet(field, None, buckets)
    place = members.place("edges")
    if "buckets" in members:
        raise refused("expected either edges or buckets, received both", members.place("buckets"))
    edges = tuple(number(one, f"{place}/{i}") for i, one in enumerate(given))
    for i, (low, high) in enumerate(pairwise(edges)):
        if low >= high:
            raise refused("expected edges that ascend", f"{place}/{i + 1}")
    return HistogramFacet(field, edges, buckets)


def _dates(members: Members, field: str) -> FacetPart:
    known = ("minute", "hour", "day", "week", "month", "quarter", "year")
    return DatesFacet(members.at, field, cast(Interval, members.choice("interval", known, "month")))


_KINDS: dict[str, Callable[[Members, str], FacetPart]] = {
    "values": _values,
    "numbers": _numbers,
    "histogram": _histogram,
    "dates": _dates,
}


def _in_json(value: int | float) -> int | float | None:
    """Give a number as JSON can hold it: integers past 64 bits are rounded, infinity is null."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    value = float(value)
    return value if np.isfinite(value) else None


def _date(instant: int) -> str:
    """Write microseconds since 1970 as RFC 3339 in UTC."""
    unit: Any = "us" if instant % 1_000_000 else "s"
    return str(np.datetime_as_string(np.datetime64(instant, "us"), unit=unit)) + "Z"
