"""Declared kinds of fields. A schema only refuses points; it never changes what a filter means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from app.attributes.values import elements, instant_us, json_type, name_problem, pointer_to
from app.errors import InvalidDefinition, SchemaViolation
from app.types import AttributeElement, Attributes

_CHECKS: dict[str, tuple[str, Callable[[AttributeElement], bool]]] = {
    "keyword": ("strings", lambda element: isinstance(element, str)),
    # 3.0 is refused: a writer that sends it holds floats, and will send 3.5 one day.
    "integer": ("integers", lambda element: type(element) is int),
    "float": ("numbers", lambda element: type(element) in (int, float)),
    "bool": ("true or false", lambda element: isinstance(element, bool)),
    "datetime": (
        "RFC 3339 date-times with an offset, or dates",
        lambda element: isinstance(element, str) and instant_us(element) is not None,
    ),
    "geo": ("places", lambda element: isinstance(element, dict)),
}

KINDS = tuple(_CHECKS)
"""What a field can be declared as; lists of it and null are always allowed too."""


def check_schema(raw: object, pointer: str = "/schema") -> dict[str, str]:
    """Return a schema (field name → kind) if it is one.

    Raises InvalidDefinition, pointing at the name or kind to blame.
    """
    schema: dict[str, str] = {}
    for field, kind in _entries(raw, pointer):
        schema[field] = _kind(kind, pointer_to(pointer, field))
    return schema


def check_schema_change(raw: object, pointer: str = "/schema") -> dict[str, str | None]:
    """Return a change of a schema: kinds to declare, None to undeclare. Raises as above."""
    change: dict[str, str | None] = {}
    for field, kind in _entries(raw, pointer):
        change[field] = None if kind is None else _kind(kind, pointer_to(pointer, field))
    return change


def check_conforms(
    attributes: Attributes, schema: Mapping[str, str], pointer: str = "/attributes"
) -> None:
    """Check that declared fields, where present, hold elements of their kind or null.

    attributes  as `check_attributes` returned them

    Raises SchemaViolation, pointing at the value or list element.
    """
    for field, kind in schema.items():
        if field not in attributes:
            continue
        value = attributes[field]
        expected, fits = _CHECKS[kind]
        for i, element in enumerate(elements(value)):
            if element is not None and not fits(element):
                place = pointer_to(pointer, field)
                raise SchemaViolation(
                    f"expected {expected} ({kind}), received {_described(element)}",
                    pointer=f"{place}/{i}" if isinstance(value, list) else place,
                )


MAX_FIELDS = 1000
"""Most declared fields: a schema is read with every write and shown with every description."""


def _entries(raw: object, pointer: str) -> list[tuple[str, object]]:
    if not isinstance(raw, dict):
        raise InvalidDefinition(
            f"expected an object of fields and their kinds, received {json_type(raw)}",
            pointer=pointer,
        )
    if len(raw) > MAX_FIELDS:
        raise InvalidDefinition(f"at most {MAX_FIELDS} fields are declared", pointer=pointer)
    for field in raw:
        problem = name_problem(field)
        if problem is not None:
            raise InvalidDefinition(problem, pointer=pointer_to(pointer, field))
    return list(raw.items())


def _kind(raw: object, pointer: str) -> str:
    if isinstance(raw, str) and raw in _CHECKS:
        return raw
    close = difflib.get_close_matches(str(raw)[:20].lower(), KINDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise InvalidDefinition(f"expected one of {', '.join(KINDS)}{hint}", pointer=pointer)


def _described(element: AttributeElement) -> str:
    if isinstance(element, float):
        return "a number with a fraction or an exponent"
    if isinstance(element, dict):
        return "a place"
    return "another string" if isinstance(element, str) else json_type(element)
