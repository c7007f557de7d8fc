"""The filter language: JSON → a small frozen tree. What the tree means is `app.attributes.matches`.

The language has more operators than the tree has nodes; the rest is spelled with these:

    $eq x  $contains x       AnyOf of one value         $ne x          Not(AnyOf)
    $in xs  $containsAny xs  AnyOf                      $nin xs        Not(AnyOf)
    $containsAll xs          And of AnyOf, or Exists    $not           Not
    $gt $gte $lt $lte        one Range for all of them  {}             Everything
    $exists                  Exists, or Not(Exists)     $id            Ids, or Not(Ids)

A filter is read without the collection's schema, so it means the same with and without one.
Nesting is bounded while reading, which lets everything that walks a tree recurse.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from app.attributes.values import (
    exact_number,
    instant_us,
    json_type,
    name_problem,
    pointer_to,
    scalar_problem,
)
from app.errors import InvalidFilter, InvalidId
from app.keys import key_from_id
from app.types import PointId

MAX_DEPTH = 32  # levels of $and, $or, $not; far above what people write, far below the stack


@dataclass(frozen=True, slots=True)
class Values:
    """Scalars to compare with, kept apart by JSON type because in Python `True == 1`.

    numbers  as `exact_number` gives them, finite
    """

    strings: frozenset[str] = frozenset()
    numbers: frozenset[int | float] = frozenset()
    bools: frozenset[bool] = frozenset()
    null: bool = False


@dataclass(frozen=True, slots=True)
class Everything:
    """Every point."""


@dataclass(frozen=True, slots=True)
class And:
    """Points that pass all children."""

    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Points that pass at least one child."""

    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Points that do not pass the child, those without its field included."""

    child: Filter


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Points with an element of `field` that equals one of the values; none, if there are none."""

    field: str
    values: Values


@dataclass(frozen=True, slots=True)
class Range:
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
class Exists:
    """Points that have `field` at all: null and the empty list count."""

    field: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Points with one of these ids."""

    ids: frozenset[PointId]


Filter: TypeAlias = Everything | And | Or | Not | AnyOf | Range | Exists | Ids


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

    Equal texts mean equal filters, so it can key a cache (together with what the filter ran on).
    It looks like a filter but is not meant to be read back: instants appear as microseconds.
    """
    return _written(_normal(filter))


_Normal: TypeAlias = "str | tuple[str, frozenset[_Normal]]"


def _normal(filter: Filter) -> _Normal:
    """Reduce to written leaves under $and and $or of two or more distinct members, and $not."""
    if isinstance(filter, And | Or):
        operator = "$and" if isinstance(filter, And) else "$or"
        members: set[_Normal] = set()
        for member in map(_normal, filter.children):
            if isinstance(member, tuple) and member[0] == operator:
                members |= member[1]
            else:
                members.add(member)
        return members.pop() if len(members) == 1 else (operator, frozenset(members))
    if isinstance(filter, Not):
        child = _normal(filter.child)
        if isinstance(child, tuple) and child[0] == "$not":
            return next(iter(child[1]))
        return "$not", frozenset((child,))
    return _leaf(filter)


def _written(normal: _Normal) -> str:
    if isinstance(normal, str):
        return normal
    operator, members = normal
    return f'{{"{operator}":[{",".join(sorted(map(_written, members)))}]}}'


def _leaf(filter: Everything | AnyOf | Range | Exists | Ids) -> str:
    if isinstance(filter, Everything):
        return "{}"
    if isinstance(filter, AnyOf):
        values = filter.values
        # The kinds follow each other in fixed order, each sorted: no two types are ever compared.
        listed = [*sorted(values.strings), *sorted(values.numbers), *sorted(values.bools)]
        return _text({filter.field: {"$in": [*listed, None] if values.null else listed}})
    if isinstance(filter, Range):
        bounds: dict[str, object] = {"$over": filter.over}
        if filter.low is not None:
            bounds["$gt" if filter.low_open else "$gte"] = filter.low
        if filter.high is not None:
            bounds["$lt" if filter.high_open else "$lte"] = filter.high
        return _text({filter.field: bounds})
    if isinstance(filter, Exists):
        return _text({filter.field: {"$exists": True}})
    integers = sorted(i for i in filter.ids if isinstance(i, int))
    return _text({"$id": [*integers, *sorted(i for i in filter.ids if isinstance(i, str))]})


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_RANGES = ("$gt", "$gte", "$lt", "$lte")
_GROUPS = ("$and", "$or", "$not", "$id")
_ID_OPERATORS = ("$eq", "$ne", "$in", "$nin")
_RANGE_OPERAND = (
    "a number, or an RFC 3339 date-time with an offset such as "
    '"2024-05-01T12:00:00Z" or a date such as "2024-05-01"'
)


class _Parser:
    """One reading of one filter: counts nodes on the way."""

    def __init__(self, max_nodes: int) -> None:
        self._max_nodes = max_nodes
        self._nodes = 0

    def filter(self, raw: object, pointer: str, depth: int) -> Filter:
        """Read a whole filter object."""
        self._check_depth(depth, pointer)
        if not isinstance(raw, dict):
            raise InvalidFilter(
                f"expected a filter object, received {json_type(raw)}", pointer=pointer
            )
        if not raw:
            self._count(pointer)
            return Everything()
        return _all([self._entry(k, v, pointer_to(pointer, k), depth) for k, v in raw.items()])

    def _entry(self, key: object, raw: object, pointer: str, depth: int) -> Filter:
        if key == "$and" or key == "$or":
            self._count(pointer)
            if not isinstance(raw, list) or not raw:
                raise InvalidFilter("expected a non-empty list of filters", pointer=pointer)
            children = [self.filter(c, f"{pointer}/{i}", depth + 1) for i, c in enumerate(raw)]
            return _all(children) if key == "$and" else _any(children)
        if key == "$not":
            self._count(pointer)
            return Not(self.filter(raw, pointer, depth + 1))
        if key == "$id":
            return self._id(raw, pointer)
        if isinstance(key, str) and key.startswith("$"):
            if key in _OPERATORS or key in _RANGES:
                raise InvalidFilter(
                    f'{key} belongs inside a field: {{"field": {{"{key}": …}}}}', pointer=pointer
                )
            _refuse_operator(key, _GROUPS, pointer)
        problem = name_problem(key)
        if problem is not None:
            raise InvalidFilter(problem, pointer=pointer)
        assert isinstance(key, str)
        if isinstance(raw, dict):
            return self._condition(key, raw, pointer, depth)
        self._count(pointer)
        return _equal(self, key, raw, pointer)

    def _condition(self, field: str, raw: dict[object, object], pointer: str, depth: int) -> Filter:
        """Read the operators under one field; they must all hold."""
        if not raw:
            raise InvalidFilter(
                'expected at least one operator; {"$exists": true} takes any value',
                pointer=pointer,
            )
        parts: list[Filter] = []
        ranges: dict[str, object] = {}
        for operator, operand in raw.items():
            place = pointer_to(pointer, operator)
            self._count(place)
            if operator in _RANGES:
                assert isinstance(operator, str)
                ranges[operator] = operand
            elif operator == "$not":
                self._check_depth(depth + 1, place)
                if not isinstance(operand, dict):
                    raise InvalidFilter(
                        "expected an object of operators; $ne takes a value", pointer=place
                    )
                parts.append(Not(self._condition(field, operand, place, depth + 1)))
            elif isinstance(operator, str) and operator in _OPERATORS:
                parts.append(_OPERATORS[operator](self, field, operand, place))
            elif operator in _GROUPS:
                raise InvalidFilter(
                    f'{operator} stands around fields, not inside one: {{"{operator}": …}}',
                    pointer=place,
                )
            else:
                _refuse_operator(operator, (*_OPERATORS, *_RANGES, "$not"), place)
        if ranges:
            parts.append(_range(field, ranges, pointer))
        return _all(parts)

    def values(self, raw: object, pointer: str) -> Values:
        """Read a list of scalars."""
        if not isinstance(raw, list):
            raise InvalidFilter(
                f"expected a list of values, received {json_type(raw)}", pointer=pointer
            )
        strings: set[str] = set()
        numbers: set[int | float] = set()
        bools: set[bool] = set()
        null = False
        for i, value in enumerate(raw):
            problem = scalar_problem(value)
            if problem is not None:
                raise InvalidFilter(problem, pointer=f"{pointer}/{i}")
            if isinstance(value, str):
                strings.add(value)
            elif isinstance(value, bool):
                bools.add(value)
            elif value is None:
                null = True
            else:
                numbers.add(exact_number(value))
        return Values(frozenset(strings), frozenset(numbers), frozenset(bools), null)

    def each(self, raw: object, pointer: str) -> list[Values]:
        """Read a list of scalars that must all be contained: one node for each."""
        if not isinstance(raw, list):
            raise InvalidFilter(
                f"expected a list of values, received {json_type(raw)}", pointer=pointer
            )
        found = []
        for i, value in enumerate(raw):
            self._count(f"{pointer}/{i}")
            found.append(_one(value, f"{pointer}/{i}"))
        return found

    def _id(self, raw: object, pointer: str) -> Filter:
        if isinstance(raw, list):
            self._count(pointer)
            return _ids(raw, pointer)
        if not isinstance(raw, dict):
            self._count(pointer)
            return Ids(frozenset((_id(raw, pointer),)))
        if not raw:
            raise InvalidFilter(
                f"expected at least one of {' '.join(_ID_OPERATORS)}", pointer=pointer
            )
        parts: list[Filter] = []
        for operator, operand in raw.items():
            place = pointer_to(pointer, operator)
            self._count(place)
            if operator in ("$in", "$nin"):
                found = _ids(operand, place)
            elif operator in ("$eq", "$ne"):
                found = Ids(frozenset((_id(operand, place),)))
            else:
                _refuse_operator(operator, _ID_OPERATORS, place)
            parts.append(found if operator in ("$eq", "$in") else Not(found))
        return _all(parts)

    def _count(self, pointer: str) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise InvalidFilter(
                f"expected at most {self._max_nodes} conditions; many values of one field fit in "
                "one $in",
                pointer=pointer,
            )

    def _check_depth(self, depth: int, pointer: str) -> None:
        if depth > MAX_DEPTH:
            raise InvalidFilter(f"expected at most {MAX_DEPTH} levels of nesting", pointer=pointer)


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _any(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _refuse_operator(operator: object, known: Iterable[str], pointer: str) -> NoReturn:
    known = tuple(known)
    wanted = str(operator)[:20].lower()  # none is longer, and comparing costs length squared
    close = difflib.get_close_matches(wanted if wanted[:1] == "$" else "$" + wanted, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {' '.join(known)}"
    raise InvalidFilter(f"unknown operator; {hint}", pointer=pointer)


def _one(value: object, pointer: str) -> Values:
    if isinstance(value, list):
        raise InvalidFilter(
            "expected one value, received a list; $in and $containsAll take lists",
            pointer=pointer,
        )
    problem = scalar_problem(value)
    if problem is not None:
        raise InvalidFilter(problem, pointer=pointer)
    if isinstance(value, str):
        return Values(strings=frozenset((value,)))
    if isinstance(value, bool):
        return Values(bools=frozenset((value,)))
    if value is None:
        return Values(null=True)
    assert isinstance(value, int | float)
    return Values(numbers=frozenset((exact_number(value),)))


def _equal(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    return AnyOf(field, _one(operand, pointer))


def _not_equal(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    return Not(AnyOf(field, _one(operand, pointer)))


def _in(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    return AnyOf(field, parser.values(operand, pointer))


def _not_in(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    return Not(AnyOf(field, parser.values(operand, pointer)))


def _contains_all(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    every = parser.each(operand, pointer)
    return _all([AnyOf(field, one) for one in every]) if every else Exists(field)


def _exists(parser: _Parser, field: str, operand: object, pointer: str) -> Filter:
    if not isinstance(operand, bool):
        raise InvalidFilter(
            f"expected true or false, received {json_type(operand)}", pointer=pointer
        )
    return Exists(field) if operand else Not(Exists(field))


_OPERATORS: dict[str, Callable[[_Parser, str, object, str], Filter]] = {
    "$eq": _equal,
    "$ne": _not_equal,
    "$in": _in,
    "$nin": _not_in,
    "$exists": _exists,
    "$contains": _equal,
    "$containsAny": _in,
    "$containsAll": _contains_all,
}


def _range(field: str, operands: dict[str, object], pointer: str) -> Range:
    """Join the range operators of one condition: of two lower or upper bounds the tighter."""
    bounds: dict[str, int | float] = {}
    over: Literal["numbers", "instants"] | None = None
    for operator, operand in operands.items():
        place = pointer_to(pointer, operator)
        kind: Literal["numbers", "instants"] = "numbers"
        if isinstance(operand, str):
            kind = "instants"
            instant = instant_us(operand)
            if instant is None:
                raise InvalidFilter(
                    f"expected {_RANGE_OPERAND}, received another string", pointer=place
                )
            bounds[operator] = instant
        elif isinstance(operand, int | float) and not isinstance(operand, bool):
            problem = scalar_problem(operand)
            if problem is not None:
                raise InvalidFilter(problem, pointer=place)
            bounds[operator] = exact_number(operand)
        else:
            raise InvalidFilter(
                f"expected {_RANGE_OPERAND}, received {json_type(operand)}", pointer=place
            )
        if over not in (None, kind):
            raise InvalidFilter(
                "expected bounds of one kind, received a number and a date", pointer=place
            )
        over = kind
    assert over is not None
    # An exclusive bound is the tighter of two equal ones: hence the second part of the keys.
    low = max(
        ((bounds[op], op == "$gt") for op in ("$gt", "$gte") if op in bounds), default=(None, False)
    )
    high = min(
        ((bounds[op], op == "$lte") for op in ("$lt", "$lte") if op in bounds),
        default=(None, True),
    )
    return Range(field, over, low[0], high[0], low[1], not high[1])


def _ids(operands: object, pointer: str) -> Ids:
    if not isinstance(operands, list):
        raise InvalidFilter(
            f"expected a list of point ids, received {json_type(operands)}", pointer=pointer
        )
    return Ids(frozenset(_id(operand, f"{pointer}/{i}") for i, operand in enumerate(operands)))


def _id(operand: object, pointer: str) -> PointId:
    try:
        key_from_id(operand)
    except InvalidId as exc:
        raise InvalidFilter(f"not a point id: {exc.detail}", pointer=pointer) from exc
    assert isinstance(operand, str | int)
    return operand
