"""Reading what compositions have in common: terms, their short forms, backgrounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.attributes.filter import Filter, parse_filter
from app.attributes.values import json_type, name_problem
from app.errors import InvalidFilter
from app.query.expression import Expression, Leaf, Reading
from app.query.limits import MOST_LEAVES, RULED
from app.query.reading import Members, choice, items, refused


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression is read: what it needs to read those within it."""

    reading: Reading
    depth: int

    def term(self, raw: object, at: str, bare: str | None = None) -> Expression:
        """Read an expression, or its short form where there is one.

        bare   the kind of leaf that a plain value is: "id" or "text"
        """
        if isinstance(raw, Mapping) or bare is None:
            return self.reading.expression(raw, at, self.depth + 1)
        known: Any = (str, int) if bare == "id" else str
        if not isinstance(raw, known) or isinstance(raw, bool):
            what = "an id" if bare == "id" else "a text"
            raise refused(f"expected {what} or an object, received {json_type(raw)}", at)
        return self.reading.leaf(bare, raw, at, bare=True)

    def terms(
        self, raw: object, at: str, bare: str | None = None, *, least: int = 1
    ) -> tuple[Expression, ...]:
        """Read a list of expressions."""
        given = items(raw, at, least=least, most=MOST_LEAVES)
        return tuple(self.term(one, f"{at}/{number}", bare) for number, one in enumerate(given))

    def filter(self, raw: object, at: str) -> Filter:
        """Read a filter."""
        return parse_filter(raw, max_nodes=self.reading.max_filter_nodes, pointer=at)

    def depth_of(self, members: Members, default: int = RULED) -> int:
        """Read how many candidates of each probe a rule scores."""
        most = self.reading.max_k
        found: int = members.integer("candidates", min(default, most), low=1, high=most)
        return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """Points by a filter, and by what means of them are remembered.

    filter   None for all points
    """

    filter: Filter | None
    key: object
    named: Any


EVERYTHING = Chosen(None, None, "collection")


@dataclass(frozen=True, slots=True)
class Background:
    """What things are seen against: the mean of some points.

    chosen   None for those that pass the query's own filter
    """

    chosen: Chosen | None


COLLECTION = Background(EVERYTHING)


def background(
    place: Place, members: Members, default: Background | None, name: str = "background"
) -> Background | None:
    """Read `background`: "collection", "matches", "none", or a filter."""
    raw = members.raw(name)
    if raw is None:
        return default
    at = members.place(name)
    if isinstance(raw, Mapping):
        key = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        return Background(Chosen(place.filter(raw, at), key, "a filter"))
    word = choice(raw, ("collection", "matches", "none"), at)
    if word == "none":
        return None
    return COLLECTION if word == "collection" else Background(None)


def with_value(place: Place, field: object, value: object, at: str) -> Chosen:
    """Choose the points that hold a value of an attribute; `at` blames the value."""
    try:
        filter = place.filter({str(field): value}, at)
    except InvalidFilter as error:
        error.pointer = at  # the request has no filter here
        raise
    return Chosen(filter, orjson.dumps([field, value]), value)


def field_name(members: Members, name: str = "field") -> str:
    """Read the name of an attribute."""
    found: Any = members.required(name)
    problem = name_problem(found)
    if problem is not None:
        raise refused(problem, members.place(name))
    return str(found)


def value_of(members: Members, name: str = "value") -> Any:
    """Read a value of an attribute."""
    return scalar(members.required(name), members.place(name))


def scalar(value: object, at: str) -> Any:
    """Take a string, a number or a truth value."""
    if not isinstance(value, str | int | float | bool):
        raise refused(f"expected a value of an attribute, received {json_type(value)}", at)
    return value


def every_leaf(*groups: tuple[Expression, ...]) -> Iterator[Leaf]:
    """Give the leaves of expressions."""
    for group in groups:
        for one in group:
            yield from one.leaves()
