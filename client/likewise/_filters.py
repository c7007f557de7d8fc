"""Filters as expressions. Each one is a small wrapper around the plain dict that is sent.

    (F("year") >= 2015) & ~F("tags").contains("draft")

is the same filter as

    {"$and": [{"year": {"$gte": 2015}}, {"$not": {"tags": {"$contains": "draft"}}}]}

and both are accepted wherever the SDK takes a filter, also mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias


class Filter:
    """A condition on points. Combine with `&`, `|` and `~`; `to_dict()` is the wire form."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = dict(tree)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form.

        >>> (F("lang").is_in(["en", "de"]) | F("year").exists(False)).to_dict()
        {'$or': [{'lang': {'$in': ['en', 'de']}}, {'year': {'$exists': False}}]}
        """
        return dict(self._tree)

    def __and__(self, other: FilterLike) -> Filter:
        return _combined("$and", self, other)

    def __or__(self, other: FilterLike) -> Filter:
        return _combined("$or", self, other)

    def __rand__(self, other: Mapping[str, Any]) -> Filter:
        return _combined("$and", other, self)

    def __ror__(self, other: Mapping[str, Any]) -> Filter:
        return _combined("$or", other, self)

    def __invert__(self) -> Filter:
        return Filter({"$not": self._tree})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self._tree == other._tree

    __hash__ = None  # type: ignore[assignment]  # operands may be lists

    def __bool__(self) -> bool:
        # `a and b`, `not a` and `1 < F("x") < 3` would silently drop a condition.
        raise TypeError("a filter has no truth value: combine with &, | and ~, not and, or, not")

    def __repr__(self) -> str:
        return f"Filter({self._tree!r})"


FilterLike: TypeAlias = "Filter | Mapping[str, Any]"
"""What the SDK accepts as a filter: an expression, or the plain dict."""


class F:
    """A field of the points' attributes, to be compared. `F("$id")` stands for the point's id.

    >>> F("year") >= 2015
    Filter({'year': {'$gte': 2015}})
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]  # builds, as promised
        return self._where("$eq", value)

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]  # builds, as promised
        return self._where("$ne", value)

    __hash__ = None  # type: ignore[assignment]  # == does not compare fields

    def __gt__(self, value: object) -> Filter:
        return self._where("$gt", value)

    def __ge__(self, value: object) -> Filter:
        return self._where("$gte", value)

    def __lt__(self, value: object) -> Filter:
        return self._where("$lt", value)

    def __le__(self, value: object) -> Filter:
        return self._where("$lte", value)

    def is_in(self, values: Iterable[object]) -> Filter:
        """Keep points whose value is one of `values`: `F("lang").is_in(["en", "de"])`."""
        return self._where("$in", _members(values))

    def not_in(self, values: Iterable[object]) -> Filter:
        """Keep points whose value is none of `values`: `F("lang").not_in(["en"])`."""
        return self._where("$nin", _members(values))

    def contains(self, value: object) -> Filter:
        """Keep points whose list has `value`: `F("tags").contains("new")`."""
        return self._where("$contains", value)

    def contains_any(self, values: Iterable[object]) -> Filter:
        """Keep points whose list has at least one of `values`."""
        return self._where("$containsAny", _members(values))

    def contains_all(self, values: Iterable[object]) -> Filter:
        """Keep points whose list has every one of `values`."""
        return self._where("$containsAll", _members(values))

    def within_radius(self, lat: float, lon: float, radius: float) -> Filter:
        """Keep points with a place at most `radius` metres from this one, on a great circle."""
        return self._where("$geoRadius", {"lat": lat, "lon": lon, "radius": radius})

    def within_box(self, south: float, west: float, north: float, east: float) -> Filter:
        """Keep points with a place in a box of degrees; a `west` above `east` crosses ±180."""
        corners = {"min": {"lat": south, "lon": west}, "max": {"lat": north, "lon": east}}
        return self._where("$geoBox", corners)

    def within_polygon(self, corners: Iterable[tuple[float, float]]) -> Filter:
        """Keep points with a place inside a ring of corners, each `(lat, lon)`."""
        ring = [{"lat": lat, "lon": lon} for lat, lon in corners]
        return self._where("$geoPolygon", ring)

    def match(self, words: str, *, operator: Literal["and", "or"] = "and") -> Filter:
        """Keep points whose text has these words: `F("title").match('"neural net*" -image')`.

        words     words, "phrases in order", beginnings*, -left out
        operator  "and" if all of them must be there, "or" if one is enough

        `F("$text")` stands for the point's own text. The collection has a lexical index of it.
        """
        return self._where("$match", _words(words, operator))

    def exists(self, wanted: bool = True) -> Filter:
        """Keep points that have the field, or with False those that do not."""
        return self._where("$exists", wanted)

    def __repr__(self) -> str:
        return f"F({self._name!r})"

    def _where(self, operator: str, operand: object) -> Filter:
        return Filter({self._name: {operator: operand}})


def match(words: str, *, operator: Literal["and", "or"] = "and") -> Filter:
    """Keep points with these words in any field of the lexical index: `match("white whale")`.

    words, operator   as in `F.match`

    >>> match("white whale")
    Filter({'$match': 'white whale'})
    """
    return Filter({"$match": _words(words, operator)})


def _words(words: str, operator: str) -> object:
    return words if operator == "and" else {"query": words, "operator": operator}


def _members(values: Iterable[object]) -> list[object]:
    if isinstance(values, (str, bytes)):
        raise TypeError("expected several values; a string would be taken letter by letter")
    return list(values)


def _combined(operator: str, left: FilterLike, right: FilterLike) -> Filter:
    """Join two filters; a chain of one operator stays flat, which reads better in `explain`."""
    parts: list[Mapping[str, Any]] = []
    for side in (left, right):
        tree = side.to_dict() if isinstance(side, Filter) else side
        parts.extend(tree[operator] if list(tree) == [operator] else [tree])
    return Filter({operator: parts})
