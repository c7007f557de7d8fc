"""Labels: the values of an attribute that say what a point is, or which group it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.attributes.filter import AnyOf, Exists, Filter, Values, both
from app.attributes.values import elements, exact_number, json_type, name_problem, scalar_problem
from app.backends.base import View
from app.errors import LimitExceeded
from app.query.limits import MOST_LABELS
from app.query.reading import refused

Label = str | int | float | bool
"""What a point is said to be. Null and places are none."""


def key_of(label: Label) -> tuple[int, Any]:
    """Give what tells labels apart, and sorts them: `True` is no 1; numbers before strings."""
    if isinstance(label, bool):
        return 0, label
    return (2, label) if isinstance(label, str) else (1, exact_number(label))


def labels_in(attributes: Mapping[str, Any], field: str) -> list[Label]:
    """Give the labels of a point, each once, in their order."""
    found = elements(attributes[field]) if field in attributes else ()
    return distinct(one for one in found if isinstance(one, str | int | float))


def distinct(labels: Iterable[Label]) -> list[Label]:
    """Drop what is there twice."""
    return list({key_of(label): label for label in labels}.values())


def in_order(labels: Iterable[Label]) -> list[Label]:
    """Sort labels, each once."""
    return sorted(distinct(labels), key=key_of)


def read_field(raw: object, at: str) -> str:
    """Read the name of the attribute that holds labels, or another one."""
    problem = name_problem(raw)
    if problem is not None:
        raise refused(problem, at)
    return str(raw)


def read_label(raw: object, at: str) -> Label:
    """Read one label."""
    problem = scalar_problem(raw)
    if problem is not None or raw is None:
        raise refused(problem or f"expected a label, received {json_type(raw)}", at)
    assert isinstance(raw, str | int | float)
    return raw


def holding(field: str, label: Label) -> Filter:
    """Make the filter of points that hold a label."""
    if isinstance(label, bool):
        return AnyOf(field, Values(bools=frozenset((label,))))
    if isinstance(label, str):
        return AnyOf(field, Values(strings=frozenset((label,))))
    return AnyOf(field, Values(numbers=frozenset((exact_number(label),))))


def labelled(filter: Filter | None, field: str) -> Filter:
    """Narrow a filter to points that say what they are."""
    return both(filter, Exists(field))


def remembered(
    view: View, filter: Filter | None, field: str, at: str, most: int = MOST_LABELS
) -> list[Label]:
    """List every label among some points, in order. Raises LimitExceeded if there are too many."""
    facet = view.subset(filter).facet(field, most + 1)
    found = [value for value, _ in facet.values if value is not None]
    if len(found) > most:
        raise LimitExceeded(
            f"attribute {field!r} has more than {most} different values here: narrow the filter",
            pointer=at,
            limit=most,
        )
    return in_order(found)


def columns(labels: Sequence[Label]) -> dict[tuple[int, Any], int]:
    """Number labels by their keys."""
    return {key_of(label): number for number, label in enumerate(labels)}
