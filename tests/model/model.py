"""What a set of collections is, as plain dicts: the other side of the state machine's comparisons.

Nothing of the service is used here: filters are given with the predicate that they mean, and scores
are summed in float64.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Id = int | str
Json = dict[str, Any]
Numbers = tuple[float, ...]


class Given(NamedTuple):
    """A filter as JSON, and what it means."""

    json: Json
    holds: Callable[[Id, Mapping[str, Any]], bool]


def _elements(attributes: Mapping[str, Any], name: str) -> list[Any]:
    value = attributes.get(name, [])
    return value if isinstance(value, list) else [value]


def _some(name: str, test: Callable[[Any], bool]) -> Callable[[Id, Mapping[str, Any]], bool]:
    return lambda _, attributes: any(test(one) for one in _elements(attributes, name))


def _number(test: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda one: isinstance(one, int | float) and not isinstance(one, bool) and test(one)


_LISTED = {1, 2, 3, "1", "a"}

FILTERS = [
    Given({}, lambda *_: True),
    Given({"color": "red"}, _some("color", lambda c: c == "red")),
    Given({"color": {"$ne": "red"}}, lambda i, a: not _some("color", lambda c: c == "red")(i, a)),
    Given({"color": {"$in": ["blue", "green"]}}, _some("color", lambda c: c in ("blue", "green"))),
    Given({"n": {"$gte": 0}}, _some("n", _number(lambda n: n >= 0))),
    Given({"n": {"$gt": -1, "$lte": 1}}, _some("n", _number(lambda n: -1 < n <= 1))),
    Given({"n": None}, _some("n", lambda n: n is None)),
    Given({"tags": {"$contains": "x"}}, _some("tags", lambda t: t == "x")),
    Given({"tags": {"$exists": True}}, lambda _, a: "tags" in a),
    Given(
        {"$or": [{"color": "blue"}, {"n": {"$lt": 0}}]},
        lambda i, a: _some("color", lambda c: c == "blue")(i, a)
        or _some("n", _number(lambda n: n < 0))(i, a),
    ),
    Given(
        {"$not": {"tags": {"$in": ["y", 1]}}},
        lambda i, a: not _some("tags", lambda t: t == "y" or (t == 1 and t is not True))(i, a),
    ),
    Given({"color": "red", "n": {"$gte": 0}}, lambda i, a: FILTERS[1].holds(i, a)
          and FILTERS[4].holds(i, a)),
    Given({"$id": {"$in": [*_LISTED, "nobody"]}}, lambda i, _: i in _LISTED),
    Given({"color": "never"}, lambda *_: False),
    Given({"at": {"$geoRadius": {"lat": 0, "lon": 179.5, "radius": 120_000}}},
          _some("at", lambda p: math.hypot(p["lat"], (p["lon"] + 0.5) % 360 - 180) <= 1.05)),
    Given({"at": {"$geoBox": {"min": {"lat": -1, "lon": 179}, "max": {"lat": 0, "lon": -179}}}},
          _some("at", lambda p: -1 <= p["lat"] <= 0 and (p["lon"] >= 179 or p["lon"] <= -179))),
]  # fmt: skip

KINDS: dict[str, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
"""Declared kind → whether an element conforms; null always does."""


LEXICAL: Json = {"fields": {"$text": 1, "color": 2}, "language": None}
"""The lexical index of every collection."""


def words_of(point: Kept) -> dict[str, int]:
    """How often each word stands in a point, those of the colour twice."""
    words = (point.text or "").split()
    words += 2 * [one for one in _elements(point.attributes, "color") if isinstance(one, str)]
    return Counter(words)


@dataclass(frozen=True, slots=True)
class Field:
    """One named vector of a collection."""

    dimension: int
    metric: str
    encoder: str | None = None
    kind: str = "dense"

    def json(self) -> Json:
        if self.kind == "sparse":
            return {"kind": "sparse"}
        if self.kind == "tokens":
            return {"kind": "tokens", "dimension": self.dimension}
        if self.encoder is not None:
            return {"encoder": self.encoder, "metric": self.metric}
        return {"dimension": self.dimension, "metric": self.metric}

    def score(self, query: Numbers, stored: Numbers) -> float:
        """Higher is better, in every metric."""
        if self.metric == "l2":
            return 0.0 - math.dist(query, stored)
        product = math.fsum(q * s for q, s in zip(query, stored, strict=True))
        if self.metric == "ip":
            return product
        return product / (math.hypot(*query) * math.hypot(*stored) or 1)


@dataclass(slots=True)
class Kept:
    """A point as it should be stored; it is replaced, never changed."""

    vectors: dict[str, Any]
    attributes: Json
    text: str | None = None


@dataclass(slots=True)
class Collection:
    """A collection as it should be."""

    fields: dict[str, Field]
    schema: dict[str, str]
    index: dict[str, int] = field(default_factory=lambda: {"m": 16, "ef_construction": 200})
    points: dict[Id, Kept] = field(default_factory=dict)
    calibrations: dict[str, int] = field(default_factory=dict)  # name → pairs it was fitted to

    def copy(self) -> Collection:
        """What a snapshot keeps. Points are replaced, never changed: they may be shared."""
        return Collection(
            dict(self.fields),
            dict(self.schema),
            dict(self.index),
            dict(self.points),
            dict(self.calibrations),
        )

    def json(self) -> Json:
        """The body that creates it."""
        vectors = {name: one.json() for name, one in self.fields.items()}
        return {"vectors": vectors, "schema": self.schema, "lexical": LEXICAL}

    def conforms(self, attributes: Json, schema: Mapping[str, str] | None = None) -> bool:
        return all(
            one is None or KINDS[kind](one)
            for name, kind in (self.schema if schema is None else schema).items()
            for one in _elements(attributes, name)
        )

    def matching(self, filter: Given | None) -> list[Id]:
        """Ids of the points that pass, in the order that scrolls have."""
        found = [
            one
            for one, point in self.points.items()
            if filter is None or filter.holds(one, point.attributes)
        ]
        return sorted(found, key=in_order)

    def worded(self, asked: Sequence[str]) -> dict[Id, float]:
        """BM25 of every point with any of the words, all different, of one language or none."""
        counts = {one: words_of(point) for one, point in self.points.items()}
        lengths = {one: sum(words.values()) for one, words in counts.items() if words}
        scores: dict[Id, float] = {}
        for word in asked:
            holding = [one for one, words in counts.items() if word in words]
            idf = math.log(1 + (len(lengths) - len(holding) + 0.5) / (len(holding) + 0.5))
            for one in holding:
                average = sum(lengths.values()) / len(lengths)
                norm = 1.2 * (0.25 + 0.75 * lengths[one] / average)
                found = counts[one][word]
                scores[one] = scores.get(one, 0.0) + idf * 2.2 * found / (found + norm)
        return scores

    def chosen(self, ids: Sequence[Id] | None, filter: Given | None) -> list[Id]:
        """Ids of the points that a write selects."""
        if ids is None:
            return self.matching(filter)
        return [one for one in dict.fromkeys(ids) if one in self.points]

    def ranked(
        self, using: str, query: Numbers, filter: Given | None, without: Id | None = None
    ) -> list[tuple[float, Id]]:
        """Every match with its score: best first, ties by id."""
        scored = [
            (self.fields[using].score(query, pooled(self.points[one].vectors[using])), one)
            for one in self.matching(filter)
            if using in self.points[one].vectors and (without is None or one != without)
        ]
        return sorted(scored, key=lambda pair: (-pair[0], in_order(pair[1])))

    def multiplied(
        self, using: str, query: Json, filter: Given | None, *, without: Id | None, shared: bool
    ) -> list[tuple[float, Id]]:
        """Every match with its inner product with a sparse query: best first, ties by id.

        shared   leave out points that share no index with the query
        """
        asked = dict(zip(query["indices"], query["values"], strict=True))
        scored: list[tuple[float, Id]] = []
        for one in self.matching(filter):
            vector = self.points[one].vectors.get(using)
            if vector is None or (without is not None and one == without):
                continue
            weights = dict(zip(vector["indices"], vector["values"], strict=True))
            both = asked.keys() & weights.keys()
            if both or not shared:
                scored.append((sum(asked[index] * weights[index] for index in both), one))
        return sorted(scored, key=lambda pair: (-pair[0], in_order(pair[1])))


def pooled(stored: Any) -> Numbers:
    """A vector itself; of tokens the mean of their directions, zeros if they cancel out."""
    if isinstance(stored[0], int | float):
        return tuple(stored)
    units = [[number / math.hypot(*token) for number in token] for token in stored]
    mean = tuple(math.fsum(numbers) / len(units) for numbers in zip(*units, strict=True))
    return mean if math.hypot(*mean) > 1e-6 else tuple(0.0 for _ in mean)


def in_order(one: Id) -> tuple[bool, Any]:
    """Integers before strings, then by value."""
    return (isinstance(one, str), one)
