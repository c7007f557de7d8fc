"""A configuration: how a question is asked. Applied to a judged question it makes a query.

A configuration has the members of a query, less what is searched for: `using`, `rescore`, `hybrid`,
… The question brings that: `text`, `vector`, `id`, …, and perhaps a filter of its own. Where a
configuration says itself what is searched for, as a prefetch does, it names the question's members
by a dollar: {"prefetch": [{"text": "$text"}, {"lexical": "$text"}], "fuse": "rrf"}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import InvalidQuery


def applied(configuration: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any]:
    """Make the members of a query from a configuration and what a question gives.

    A configuration that names a member of the question by a dollar gets no member but its filter in
    any other way. Filters of both must hold.

    Raises InvalidQuery, with a place in the configuration, for a name that the question lacks.
    """
    filters = [one["filter"] for one in (configuration, question) if one.get("filter")]
    rest = {name: value for name, value in configuration.items() if name != "filter"}
    given = {name: value for name, value in question.items() if name != "filter"}
    if names_members(rest):
        query: dict[str, Any] = _filled(rest, question, "")
    else:
        query = {**rest, **given}
    if filters:
        query["filter"] = filters[0] if len(filters) == 1 else {"$and": filters}
    return query


def names_members(value: object) -> bool:
    """Tell whether a value, or one inside of it, is `$` and a name."""
    if isinstance(value, Mapping):
        return any(names_members(inner) for inner in value.values())
    if isinstance(value, list):
        return any(names_members(inner) for inner in value)
    return isinstance(value, str) and value[:1] == "$" and value[1:].isidentifier()


def _filled(value: Any, question: Mapping[str, Any], at: str) -> Any:
    if isinstance(value, Mapping):
        return {
            name: inner if name == "filter" else _filled(inner, question, f"{at}/{name}")
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_filled(inner, question, f"{at}/{place}") for place, inner in enumerate(value)]
    if not names_members(value):
        return value
    found = question.get(value[1:])
    if found is None:
        raise InvalidQuery(f"{value} is in the configuration, and not in the question", pointer=at)
    return found
