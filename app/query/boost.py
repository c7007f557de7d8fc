"""Scores raised and lowered by attributes: how recent, how near, how popular, what passes a filter.

A function says something of a candidate, or nothing: where its filter does not hold, or where there
is no value and `missing` gives none, it takes no part. `app.ranking.boost` has the formulas.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.attributes.filter import Filter
from app.attributes.places import Place, Problem, distance_m, place_from, read_place
from app.attributes.values import elements, instant_us, name_problem
from app.query.limits import MOST_BOOSTS
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.reading import Members, items, number, refused
from app.query.running import Running
from app.ranking.boost import (
    DECAYS,
    LARGEST,
    MIXES,
    MODES,
    MODIFIERS,
    boosted,
    decayed,
    mixed,
    modified,
)
from app.ranking.normalise import MINMAX
from app.types import F64

Origin = int | float | Place
"""A number, microseconds since 1970 UTC, or a place."""


@dataclass(frozen=True, slots=True)
class Decay:
    """Falls with the distance of an attribute's nearest value from `origin`."""

    field: str
    how: str
    over: str
    origin: Origin
    scale: float
    offset: float
    decay: float
    missing: float | None

    def values(self, attributes: list[Mapping[str, Any]]) -> F64:
        """Give a factor for each candidate: float64[n], NaN where there is nothing."""
        apart = np.array([self._apart(one.get(self.field)) for one in attributes])
        found = decayed(apart, self.how, self.scale, self.offset, self.decay)
        return found if self.missing is None else np.where(np.isnan(apart), self.missing, found)

    def _apart(self, value: Any) -> float:
        measure = _MEASURES[self.over]
        found = [measure(self.origin, element) for element in elements(value)]
        return min((apart for apart in found if apart is not None), default=float("nan"))


@dataclass(frozen=True, slots=True)
class FieldValue:
    """An attribute's first number, times `factor`, modified."""

    field: str
    modifier: str
    factor: float
    missing: float | None

    def values(self, attributes: list[Mapping[str, Any]]) -> F64:
        """Give a factor for each candidate: float64[n], NaN where there is nothing."""
        numbers = np.array([self._number(one.get(self.field)) for one in attributes])
        if self.missing is not None:
            numbers = np.where(np.isnan(numbers), self.missing, numbers)
        return modified(numbers, self.modifier, self.factor)

    def _number(self, value: Any) -> float:
        found: list[Any] = elements(value)
        numbers = (float(one) for one in found if _is_number(one))
        return next(numbers, float("nan"))


@dataclass(frozen=True, slots=True)
class BoostFunction:
    """One function of a boost: `value` where `filter` holds; without a value, 1."""

    value: Decay | FieldValue | None
    weight: float
    filter: Filter | None


@dataclass(frozen=True, slots=True)
class Boost:
    """The best `wants` candidates get scores of which attributes are a part.

    mix        how the functions become one factor
    mode       how factor and score become one
    normalise  bring the scores to 0 … 1 before
    most       the largest factor
    """

    at: str
    functions: tuple[BoostFunction, ...]
    wants: int
    mix: str = "multiply"
    mode: str = "multiply"
    normalise: bool = False
    most: float = LARGEST

    def lookups(self) -> Iterator[Lookup]:
        """Give none: nothing is searched for."""
        yield from ()

    def run(self, pool: Pool, running: Running) -> Pool:
        """Score candidates anew."""
        with running.stage("boost", self.at, taken=len(pool)) as entry:
            pool = pool.first(self.wants)
            attributes: list[Mapping[str, Any]] = []
            if any(one.value is not None for one in self.functions):
                attributes = running.view.attributes(pool.rows)
            found = np.ones((len(self.functions), len(pool)))
            for own, one in zip(found, self.functions, strict=True):
                if one.value is not None:
                    own[:] = one.value.values(attributes)
                if one.filter is not None:
                    own[~running.view.passes(pool.rows, one.filter)] = np.nan
            weights = [one.weight for one in self.functions]
            factors = np.minimum(mixed(found, weights, self.mix), self.most)
            scores = MINMAX(pool.scores) if self.normalise else pool.scores
            if running.explain:
                for number_, (own, weight) in enumerate(zip(found, weights, strict=True)):
                    pool = pool.parted(own * weight, f"boost {number_}")
                pool = pool.parted(factors, "boost factor")
            pool = pool.scored(boosted(scores, factors, self.mode), "boost")
            applied = (~np.isnan(found)).sum(axis=1).tolist()
            entry |= {"functions": len(weights), "applied": applied, "mode": self.mode}
            entry["out"] = len(pool)
        return pool


ReadFilter = Callable[[object, str], "Filter | None"]
"""(raw, pointer) → filter."""


def read_boost(
    raw: Any, at: str, *, filter: ReadFilter, candidates: Callable[[Members], int]
) -> Boost:
    """Read the member `boost`: a list of functions, or an object with `functions` and options.

    Raises InvalidQuery, InvalidFilter or LimitExceeded.
    """
    short = isinstance(raw, list)
    if not short and not (isinstance(raw, Mapping) and raw.get("functions") is not None):
        raise refused("expected a list of functions, or an object with the member functions", at)
    members = Members({"functions": raw} if short else raw, at, "boost")
    place = at if short else members.place("functions")
    functions = tuple(
        _function(one, f"{place}/{number_}", filter)
        for number_, one in enumerate(items(members.required("functions"), place, most=MOST_BOOSTS))
    )
    found = Boost(
        at,
        functions,
        candidates(members),
        members.choice("score_mode", MIXES, "multiply"),
        members.choice("mode", MODES, "multiply"),
        members.choice("normalise", ("minmax", "none"), "none") == "minmax",
        members.number("max_boost", LARGEST, low=0, high=LARGEST),
    )
    members.end()
    return found


def _function(raw: object, at: str, filter: ReadFilter) -> BoostFunction:
    """Read one function: at most one of exp, gauss, linear and field, which name an attribute."""
    members = Members(raw, at, "a boost")
    weight = members.number("weight", 1.0, low=0, high=LARGEST)
    condition = filter(members.raw("filter"), members.place("filter"))
    kinds = [name for name in (*DECAYS, "field") if name in members]
    if len(kinds) > 1 or not (kinds or condition):
        known = ", ".join((*DECAYS, "field"))
        raise refused(f"a boost: expected one of {known}, or a filter alone", at)
    value: Decay | FieldValue | None = None
    if kinds:
        (kind,) = kinds
        name = members.raw(kind)
        problem = name_problem(name)
        if problem is not None:
            raise refused(problem, members.place(kind))
        value = _field_value(members, name) if kind == "field" else _decay(members, kind, name)
    else:
        for name in (*DECAYS, "field"):
            members.raw(name)  # known, though left out
    members.end()
    return BoostFunction(value, weight, condition)


def _field_value(members: Members, field: str) -> FieldValue:
    return FieldValue(
        field,
        members.choice("modifier", MODIFIERS, "none"),
        members.number("factor", 1.0),
        members.number("missing", None),
    )


def _decay(members: Members, how: str, field: str) -> Decay:
    raw = members.raw("origin")
    scale_raw, at = members.required("scale"), members.place("origin")
    origin: Origin
    if raw == "now" or (raw is None and isinstance(scale_raw, str)):
        over, origin = "instants", time.time_ns() // 1000
    elif raw is None:
        raise refused("say from where distance is measured: origin", members.at)
    elif isinstance(raw, str):
        instant = instant_us(raw)
        if instant is None:
            raise refused('expected "now" or a date and time as RFC 3339 writes them', at)
        over, origin = "instants", instant
    elif isinstance(raw, Mapping):
        found = read_place(raw)
        if isinstance(found, Problem):
            raise refused(found.detail, "/".join((at, *map(str, found.path))))
        over, origin = "places", found
    else:
        over, origin = "numbers", raw if type(raw) is int else number(raw, at)
        number(raw, at)
    scale = _extent(scale_raw, over, members.place("scale"))
    if scale == 0:
        raise refused("expected a scale above zero", members.place("scale"))
    nowhere = "0s" if over == "instants" else 0
    offset = _extent(members.raw("offset", nowhere), over, members.place("offset"))
    decay = members.number("decay", 0.5, low=0, high=1, open_low=True)
    if decay == 1:
        raise refused("expected a decay below 1", members.place("decay"))
    missing = members.number("missing", None, low=0, high=LARGEST)
    return Decay(field, how, over, origin, scale, offset, decay, missing)


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d|w)", re.ASCII)
_MICROSECONDS = {
    "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip


def _extent(raw: object, over: str, at: str) -> float:
    """Read a scale or an offset: a duration in microseconds, metres, or a plain number."""
    if over == "places" and isinstance(raw, str):
        raise refused("expected a number of metres, received a string", at)
    if over != "instants":
        return number(raw, at, low=0)
    match = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise refused('expected a duration: a number with ms, s, m, h, d or w, as in "30d"', at)
    return float(match[1]) * _MICROSECONDS[match[2]]


def _is_number(element: object) -> bool:
    return isinstance(element, int | float) and not isinstance(element, bool)


def _from_number(origin: Any, element: Any) -> float | None:
    return abs(float(element - origin)) if _is_number(element) else None


def _from_instant(origin: Any, element: Any) -> float | None:
    instant = instant_us(element) if isinstance(element, str) else None
    return None if instant is None else float(abs(instant - origin))


def _from_place(origin: Any, element: Any) -> float | None:
    return distance_m(origin, place_from(element)) if isinstance(element, Mapping) else None


_MEASURES: dict[str, Callable[[Any, Any], float | None]] = {
    "numbers": _from_number,
    "instants": _from_instant,
    "places": _from_place,
}
