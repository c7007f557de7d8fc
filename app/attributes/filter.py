"""The filter language: JSON → a small frozen tree. What the tree means is `app.attributes.matches`.

The language has more operators than the tree has nodes; the rest is spelled with these:

    $eq x  $contains x       AnyOf of one value         $ne x          Not(AnyOf)
    $in xs  $containsAny xs  AnyOf                      $nin xs        Not(AnyOf)
    $containsAll xs          And of AnyOf, or Exists    $not           Not
    $gt $gte $lt $lte        one Range for all of them  {}             Everything
    $exists                  Exists, or Not(Exists)     $id            Ids, or Not(Ids)
    $geoRadius $geoBox $geoPolygon  Within
    $match                   Match

A filter is read without the collection's schema, so it means the same with and without one.
Nesting is bounded while reading, which lets everything that walks a tree recurse.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import field as kept
from hashlib import sha256
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar, overload

import orjson

from app.attributes.listed import MANY, Listed
from app.attributes.places import Area, Problem, read_box, read_polygon, read_radius
from app.attributes.values import (
    INT64_MAX,
    INT64_MIN,
    exact_number,
    instant_us,
    json_type,
    name_problem,
    pointer_to,
    scalar_problem,
    text_problem,
)
from app.errors import InvalidFilter, InvalidId
from app.keys import key_from_id
from app.text.clauses import Clause, read_clauses
from app.types import TEXT_FIELD, PointId

MAX_DEPTH = 32  # levels of $and, $or, $not; far above what people write, far below the stack


class _Remembering:
    """Something frozen that works out one thing about itself at most once."""

    __slots__ = ("_known",)


_Known = TypeVar("_Known")


def _known(about: _Remembering, find: Callable[[Any], _Known]) -> _Known:
    try:
        known: _Known = about._known  # type: ignore[attr-defined]  # set below, past the freezing
    except AttributeError:
        known = find(about)
        object.__setattr__(about, "_known", known)
    return known


@dataclass(frozen=True, slots=True)
class Values(_Remembering):
    """Scalars to compare with, kept apart by JSON type because in Python `True == 1`.

    numbers  as `exact_number` gives them, finite
    """

    strings: frozenset[str] = frozenset()
    numbers: frozenset[int | float] = frozenset()
    bools: frozenset[bool] = frozenset()
    null: bool = False

    @property
    def listed(self) -> Listed | None:
        """Give the strings and numbers in an index's order, if they are many."""
        if len(self.strings) + len(self.numbers) < MANY:
            return None
        return _known(self, _listed)


def _listed(values: Values) -> Listed:
    return Listed(values.strings, values.numbers)


@dataclass(frozen=True, slots=True)
class Everything(_Remembering):
    """Every point."""


@dataclass(frozen=True, slots=True)
class And(_Remembering):
    """Points that pass all children."""

    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or(_Remembering):
    """Points that pass at least one child."""

    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not(_Remembering):
    """Points that do not pass the child, those without its field included."""

    child: Filter


@dataclass(frozen=True, slots=True)
class AnyOf(_Remembering):
    """Points with an element of `field` that equals one of the values; none, if there are none."""

    field: str
    values: Values


@dataclass(frozen=True, slots=True)
class Range(_Remembering):
    """Points with one element of `field` inside both bounds.

    over       which elements are compared: numbers, or strings that are RFC 3339 instants
    low, high  numbers, or microseconds since 1970 UTC; None is unbounded
    low_open, high_open  whether the bound itself is outside
    """

    field: str
    over: Literal["numbers", "instants"]
    low: int | float | None = None
    high: int | float | None = None
    low_open: bool = False
    high_open: bool = False


@dataclass(frozen=True, slots=True)
class Within(_Remembering):
    """Points with an element of `field` that is a place inside an area."""

    field: str
    area: Area


@dataclass(frozen=True, slots=True)
class Exists(_Remembering):
    """Points that have `field` at all: null and the empty list count."""

    field: str


@dataclass(frozen=True, slots=True)
class Ids(_Remembering):
    """Points with one of these ids."""

    ids: frozenset[PointId]


@dataclass(frozen=True, slots=True)
class Match(_Remembering):
    """Points whose words meet the clauses: none that is excluded, and all others, or any of them.

    field     one of the lexical index; None takes them all, each clause in any of them
    every     whether all clauses must be met
    pointer   where it stood in the request: only the collection knows its lexical index
    """

    field: str | None
    clauses: tuple[Clause, ...]
    every: bool = True
    pointer: str = kept(default="", compare=False)


Filter: TypeAlias = Everything | And | Or | Not | AnyOf | Range | Within | Exists | Ids | Match


@overload
def both(outer: Filter | None, inner: Filter) -> Filter: ...
@overload
def both(outer: Filter | None, inner: None) -> Filter | None: ...
@overload
def both(outer: Filter | None, inner: Filter | None) -> Filter | None: ...
def both(outer: Filter | None, inner: Filter | None) -> Filter | None:
    """Join two filters that must both hold; None lets everything pass."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    return And((outer, inner))


def parse_filter(raw: object, *, max_nodes: int = 1000, pointer: str = "/filter") -> Filter:
    """Read a filter from decoded JSON.

    max_nodes  most conditions: each operator, each `field: value`, each empty object and each
               value of $containsAll is one; the values of $in and $nin are not counted
    pointer    where the filter stands in the request body

    Raises InvalidFilter, pointing at the exact place, and nothing else for anything JSON can hold.
    """
    return _Parser(max_nodes).filter(raw, pointer, depth=1)


def canonical(filter: Filter) -> str:
    """Write a filter so that order, repetition, double negation and grouping leave no trace.

    Equal texts mean equal filters. It looks like a filter but is not meant to be read back:
    instants appear as microseconds, and many values as a digest of 256 bits.
    """
    return _written(_normal(filter)).decode()


def matches_in(filter: Filter) -> tuple[Match, ...]:
    """List the `$match` conditions of a filter."""
    kind = type(filter)
    if kind is AnyOf or kind is Range:
        return ()
    if isinstance(filter, And | Or):
        return tuple(found for child in filter.children for found in matches_in(child))
    if isinstance(filter, Not):
        return matches_in(filter.child)
    return (filter,) if isinstance(filter, Match) else ()


def digest(filter: Filter) -> bytes:
    """Shorten the canonical form to 32 bytes that can key a cache (with what the filter ran on).

    It is remembered by the filter: only the first call costs anything.
    """
    return _known(filter, _digest)


def _digest(filter: Filter) -> bytes:
    return sha256(_written(_normal(filter))).digest()


_Normal: TypeAlias = "bytes | tuple[bytes, frozenset[_Normal]]"


def _normal(filter: Filter) -> _Normal:
    """Reduce to written leaves under $and and $or of two or more distinct members, and $not."""
    kind = type(filter)
    if kind is AnyOf or kind is Range:
        return _leaf(filter)
    if isinstance(filter, And | Or):
        operator = b"$and" if kind is And else b"$or"
        members: set[_Normal] = set()
        for member in map(_normal, filter.children):
            if isinstance(member, tuple) and member[0] == operator:
                members |= member[1]
            else:
                members.add(member)
        return members.pop() if len(members) == 1 else (operator, frozenset(members))
    if isinstance(filter, Not):
        child = _normal(filter.child)
        if isinstance(child, tuple) and child[0] == b"$not":
            return next(iter(child[1]))
        return b"$not", frozenset((child,))
    return _leaf(filter)


def _written(normal: _Normal) -> bytes:
    if isinstance(normal, bytes):
        return normal
    operator, members = normal
    return b'{"%b":[%b]}' % (operator, b",".join(sorted(map(_written, members))))


def _leaf(filter: Filter) -> bytes:
    if isinstance(filter, AnyOf):
        return orjson.dumps({filter.field: {"$in": _listing(filter.values)}})
    if isinstance(filter, Range):
        bounds: dict[str, object] = {"$over": filter.over}
        if filter.low is not None:
            bounds["$gt" if filter.low_open else "$gte"] = filter.low
        if filter.high is not None:
            bounds["$lt" if filter.high_open else "$lte"] = filter.high
        return orjson.dumps({filter.field: bounds})
    if isinstance(filter, Within):
        shape = filter.area.shape.tolist()
        return orjson.dumps({filter.field: {"$within": [filter.area.kind, *shape]}})
    if isinstance(filter, Everything):
        return b"{}"
    if isinstance(filter, Exists):
        return orjson.dumps({filter.field: {"$exists": True}})
    if isinstance(filter, Match):
        asked = {
            "$match": sorted([list(words), *how] for words, *how in set(filter.clauses)),
            "$every": filter.every,
        }
        return orjson.dumps(asked if filter.field is None else {filter.field: asked})
    assert isinstance(filter, Ids)
    integers = sorted(i for i in filter.ids if isinstance(i, int))
    return orjson.dumps({"$id": [*integers, *sorted(i for i in filter.ids if isinstance(i, str))]})


def _listing(values: Values) -> list[object]:
    """List values so that no other values give the same list: a digest of many is an object."""
    listed = values.listed
    # The kinds follow each other in fixed order, each sorted: no two types are ever compared.
    many = (
        (*sorted(values.strings), *sorted(values.numbers))
        if listed is None
        else ({"$sha256": listed.digest()},)
    )
    return [*many, *sorted(values.bools), *((None,) if values.null else ())]


_RANGES = ("$gt", "$gte", "$lt", "$lte")
_GROUPS = ("$and", "$or", "$not", "$id", "$match", TEXT_FIELD)
_ID_OPERATORS = ("$eq", "$ne", "$in", "$nin")
_RANGE_OPERAND = (
    "a number, or an RFC 3339 date-time with an offset such as "
    '"2024-05-01T12:00:00Z" or a date such as "2024-05-01"'
)


_Place: TypeAlias = "str | tuple[_Place, object]"
"""A JSON pointer, or the place around and the name or number in it: written only for a refusal."""


def _refusal(detail: str, place: _Place) -> InvalidFilter:
    return InvalidFilter(detail, pointer=_pointer(place))


def _pointer(place: _Place) -> str:
    return place if isinstance(place, str) else pointer_to(_pointer(place[0]), place[1])


class _Parser:
    """One reading of one filter: counts nodes on the way."""

    __slots__ = ("_max_nodes", "_nodes")

    def __init__(self, max_nodes: int) -> None:
        self._max_nodes = max_nodes
        self._nodes = 0

    def filter(self, raw: object, place: _Place, depth: int) -> Filter:
        """Read a whole filter object."""
        if depth > MAX_DEPTH:
            raise _too_deep(place)
        if not isinstance(raw, dict):
            raise _refusal(f"expected a filter object, received {json_type(raw)}", place)
        if not raw:
            self._count(place)
            return Everything()
        return _all([self._entry(key, inner, (place, key), depth) for key, inner in raw.items()])

    def _entry(self, key: object, raw: object, place: _Place, depth: int) -> Filter:
        if isinstance(key, str) and key[:1] == "$":
            return self._group(key, raw, place, depth)
        problem = name_problem(key)
        if problem is not None:
            raise _refusal(problem, place)
        assert isinstance(key, str)
        if isinstance(raw, dict):
            return self._condition(key, raw, place, depth)
        self._count(place)
        return _equal(self, key, raw, place)

    def _group(self, key: str, raw: object, place: _Place, depth: int) -> Filter:
        if key == "$and" or key == "$or":
            self._count(place)
            if not isinstance(raw, list) or not raw:
                raise _refusal("expected a non-empty list of filters", place)
            children = [self.filter(c, (place, i), depth + 1) for i, c in enumerate(raw)]
            return _all(children) if key == "$and" else _any(children)
        if key == "$not":
            self._count(place)
            return Not(self.filter(raw, place, depth + 1))
        if key == "$id":
            return self._id(raw, place)
        if key == "$match":
            return self.match(None, raw, place)
        if key == TEXT_FIELD:
            if not isinstance(raw, dict) or list(raw) != ["$match"]:
                raise _refusal(
                    f'a text is looked into by its words: {{"{TEXT_FIELD}": {{"$match": …}}}}',
                    place,
                )
            return self.match(TEXT_FIELD, raw["$match"], (place, "$match"))
        if key in _OPERATORS or key in _RANGES:
            raise _refusal(f'{key} belongs inside a field: {{"field": {{"{key}": …}}}}', place)
        _refuse_operator(key, _GROUPS, place)

    def _condition(
        self, field: str, raw: dict[object, object], place: _Place, depth: int
    ) -> Filter:
        """Read the operators under one field; they must all hold."""
        if not raw:
            raise _refusal(
                'expected at least one operator; {"$exists": true} takes any value', place
            )
        parts: list[Filter] = []
        ranges: dict[str, object] = {}
        for operator, operand in raw.items():
            inner = (place, operator)
            self._count(inner)
            if operator in _RANGES:
                assert isinstance(operator, str)
                ranges[operator] = operand
            elif operator == "$not":
                if depth >= MAX_DEPTH:
                    raise _too_deep(inner)
                if not isinstance(operand, dict):
                    raise _refusal("expected an object of operators; $ne takes a value", inner)
                parts.append(Not(self._condition(field, operand, inner, depth + 1)))
            elif isinstance(operator, str) and operator in _OPERATORS:
                parts.append(_OPERATORS[operator](self, field, operand, inner))
            elif operator in _GROUPS:
                raise _refusal(
                    f'{operator} stands around fields, not inside one: {{"{operator}": …}}', inner
                )
            else:
                _refuse_operator(operator, (*_OPERATORS, *_RANGES, "$not"), inner)
        if ranges:
            parts.append(_range(field, ranges, place))
        return _all(parts)

    def each(self, raw: object, place: _Place) -> list[Values]:
        """Read a list of scalars that must all be contained: one node for each."""
        if not isinstance(raw, list):
            raise _refusal(f"expected a list of values, received {json_type(raw)}", place)
        found = []
        for i, value in enumerate(raw):
            self._count((place, i))
            found.append(_one(value, (place, i)))
        return found

    def match(self, field: str | None, raw: object, place: _Place) -> Match:
        """Read what the words of a field must be: each clause is a node."""
        operator: object = "and"
        query, at = raw, place
        if isinstance(raw, dict):
            if "query" not in raw or set(raw) - {"query", "operator"}:
                raise _refusal("expected an object of query and, perhaps, operator", place)
            query, at = raw["query"], (place, "query")
            operator = raw.get("operator", "and")
        if not isinstance(query, str):
            raise _refusal(f"expected the words to look for, received {json_type(query)}", at)
        if operator not in ("and", "or"):
            raise _refusal('expected "and" or "or"', (place, "operator"))
        problem = text_problem(query)
        if problem is not None:
            raise _refusal(problem, at)
        try:
            clauses = read_clauses(query)
        except ValueError as exc:
            raise _refusal(str(exc), at) from None
        for _ in clauses:
            self._count(at)
        return Match(field, clauses, operator == "and", _pointer(place))

    def _id(self, raw: object, place: _Place) -> Filter:
        if isinstance(raw, list):
            self._count(place)
            return _ids(raw, place)
        if not isinstance(raw, dict):
            self._count(place)
            return Ids(frozenset((_id(raw, place),)))
        if not raw:
            raise _refusal(f"expected at least one of {' '.join(_ID_OPERATORS)}", place)
        parts: list[Filter] = []
        for operator, operand in raw.items():
            inner = (place, operator)
            self._count(inner)
            if operator in ("$in", "$nin"):
                found = _ids(operand, inner)
            elif operator in ("$eq", "$ne"):
                found = Ids(frozenset((_id(operand, inner),)))
            else:
                _refuse_operator(operator, _ID_OPERATORS, inner)
            parts.append(found if operator in ("$eq", "$in") else Not(found))
        return _all(parts)

    def _count(self, place: _Place) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise _refusal(
                f"expected at most {self._max_nodes} conditions; many values of one field fit in "
                "one $in",
                place,
            )


def _too_deep(place: _Place) -> InvalidFilter:
    return _refusal(f"expected at most {MAX_DEPTH} levels of nesting", place)


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _any(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _refuse_operator(operator: object, known: Iterable[str], place: _Place) -> NoReturn:
    known = tuple(known)
    wanted = str(operator)[:20].lower()  # none is longer, and comparing costs length squared
    close = difflib.get_close_matches(wanted if wanted[:1] == "$" else "$" + wanted, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {' '.join(known)}"
    raise _refusal(f"unknown operator; {hint}", place)


def _values(raw: object, place: _Place) -> Values:
    """Read a list of scalars: all of one type at a time, since there may be many."""
    if not isinstance(raw, list):
        raise _refusal(f"expected a list of values, received {json_type(raw)}", place)
    kinds = set(map(type, raw))
    by_kind: dict[type, list[Any]] = dict.fromkeys(kinds, raw)
    if len(kinds) > 1:
        by_kind = {kind: [value for value in raw if type(value) is kind] for kind in kinds}
    strings: list[str] = by_kind.pop(str, [])
    ints: list[int] = by_kind.pop(int, [])
    floats: list[float] = by_kind.pop(float, [])
    bools: list[bool] = by_kind.pop(bool, [])
    null = bool(by_kind.pop(type(None), []))
    if (
        by_kind
        or text_problem("".join(strings)) is not None
        or (ints and (min(ints) < INT64_MIN or max(ints) > INT64_MAX))
        or not all(map(math.isfinite, floats))
    ):
        for i, value in enumerate(raw):
            problem = scalar_problem(value)
            if problem is not None:
                raise _refusal(problem, (place, i))
    numbers: set[int | float] = {*ints, *floats}
    whole = list(filter(float.is_integer, floats))
    if whole:
        numbers.difference_update(whole)
        numbers.update(map(exact_number, whole))
    return Values(frozenset(strings), frozenset(numbers), frozenset(bools), null)


def _one(value: object, place: _Place) -> Values:
    if isinstance(value, list):
        raise _refusal(
            "expected one value, received a list; $in and $containsAll take lists", place
        )
    problem = scalar_problem(value)
    if problem is not None:
        raise _refusal(problem, place)
    if isinstance(value, str):
        return Values(strings=frozenset((value,)))
    if isinstance(value, bool):
        return Values(bools=frozenset((value,)))
    if value is None:
        return Values(null=True)
    assert isinstance(value, int | float)
    return Values(numbers=frozenset((exact_number(value),)))


def _equal(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    return AnyOf(field, _one(operand, place))


def _not_equal(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    return Not(AnyOf(field, _one(operand, place)))


def _in(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    return AnyOf(field, _values(operand, place))


def _not_in(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    return Not(AnyOf(field, _values(operand, place)))


def _contains_all(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    every = parser.each(operand, place)
    return _all([AnyOf(field, one) for one in every]) if every else Exists(field)


def _exists(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    if not isinstance(operand, bool):
        raise _refusal(f"expected true or false, received {json_type(operand)}", place)
    return Exists(field) if operand else Not(Exists(field))


def _match(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
    return parser.match(field, operand, place)


def _reading(read: Callable[[object], Area | Problem]) -> _Reader:
    def within(parser: _Parser, field: str, operand: object, place: _Place) -> Filter:
        found = read(operand)
        if isinstance(found, Problem):
            for name in found.path:
                place = (place, name)
            raise _refusal(found.detail, place)
        return Within(field, found)

    return within


_Reader: TypeAlias = Callable[[_Parser, str, object, _Place], Filter]

_OPERATORS: dict[str, _Reader] = {
    "$eq": _equal,
    "$ne": _not_equal,
    "$in": _in,
    "$nin": _not_in,
    "$exists": _exists,
    "$contains": _equal,
    "$containsAny": _in,
    "$containsAll": _contains_all,
    "$geoRadius": _reading(read_radius),
    "$geoBox": _reading(read_box),
    "$geoPolygon": _reading(read_polygon),
    "$match": _match,
}


def _range(field: str, operands: dict[str, object], place: _Place) -> Range:
    """Join the range operators of one condition: of two lower or upper bounds the tighter."""
    over: Literal["numbers", "instants"] | None = None
    low: int | float | None = None
    high: int | float | None = None
    low_open = high_open = False
    for operator, operand in operands.items():
        bound, kind = _bound(operand, (place, operator))
        if over not in (None, kind):
            raise _refusal(
                "expected bounds of one kind, received a number and a date", (place, operator)
            )
        over = kind
        # An exclusive bound is the tighter of two equal ones.
        open = operator == "$gt" or operator == "$lt"
        if operator == "$gt" or operator == "$gte":
            if low is None or bound > low or (open and bound == low):
                low, low_open = bound, open
        elif high is None or bound < high or (open and bound == high):
            high, high_open = bound, open
    assert over is not None
    return Range(field, over, low, high, low_open, high_open)


def _bound(operand: object, place: _Place) -> tuple[int | float, Literal["numbers", "instants"]]:
    if isinstance(operand, str):
        instant = instant_us(operand)
        if instant is None:
            raise _refusal(f"expected {_RANGE_OPERAND}, received another string", place)
        return instant, "instants"
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        problem = scalar_problem(operand)
        if problem is not None:
            raise _refusal(problem, place)
        return exact_number(operand), "numbers"
    raise _refusal(f"expected {_RANGE_OPERAND}, received {json_type(operand)}", place)


def _ids(operands: object, place: _Place) -> Ids:
    if not isinstance(operands, list):
        raise _refusal(f"expected a list of point ids, received {json_type(operands)}", place)
    return Ids(frozenset([_id(operand, (place, i)) for i, operand in enumerate(operands)]))


def _id(operand: object, place: _Place) -> PointId:
    try:
        key_from_id(operand)
    except InvalidId as exc:
        raise _refusal(f"not a point id: {exc.detail}", place) from exc
    assert isinstance(operand, str | int)
    return operand
