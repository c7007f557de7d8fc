"""Declared kinds of fields."""

from __future__ import annotations

from typing import Any

import pytest

from app.attributes.schema import KINDS, check_conforms, check_schema, check_schema_change
from app.errors import InvalidDefinition, SchemaViolation

FITTING: dict[str, list[Any]] = {
    "keyword": ["", "x"],
    "integer": [0, -(2**63)],
    "float": [0, 0.5, 3.0],
    "bool": [True, False],
    "datetime": ["2024-05-01", "2024-05-01T12:00:00Z"],
    "geo": [{"lat": 52.5, "lon": 13.4}, {"lat": -90, "lon": 180}],
}
ELEMENTS: list[Any] = ["", "x", 0, -(2**63), 0.5, 3.0, True, False, "2024-05-01",
                       "2024-05-01T12:00:00Z", {"lat": 52.5, "lon": 13.4}]  # fmt: skip


def fits(kind: str, element: Any) -> bool:
    if kind == "keyword":
        return isinstance(element, str)
    if kind == "float":
        return type(element) in (int, float)
    return any(type(e) is type(element) and e == element for e in FITTING[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_its_elements_lists_of_them_and_null(kind: str) -> None:
    schema = {"a": kind}
    for value in (*FITTING[kind], FITTING[kind], None, [], [None, *FITTING[kind]]):
        check_conforms({"a": value, "undeclared": [1, "x"]}, schema)
    check_conforms({}, schema)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("element", ELEMENTS, ids=repr)
def test_a_kind_refuses_all_other_elements_at_their_place(kind: str, element: Any) -> None:
    schema = {"a/b": kind}
    if fits(kind, element):
        check_conforms({"a/b": element}, schema)
        return
    with pytest.raises(SchemaViolation, match=kind) as refused:
        check_conforms({"a/b": element}, schema, "/points/2/attributes")
    assert refused.value.pointer == "/points/2/attributes/a~1b"
    with pytest.raises(SchemaViolation) as refused:
        check_conforms({"a/b": [None, element]}, schema)
    assert refused.value.pointer == "/attributes/a~1b/1"


def test_a_schema_is_returned_as_given() -> None:
    raw = {kind: kind for kind in KINDS}
    assert check_schema(raw) == raw
    assert check_schema({}) == {}
    assert check_schema_change({"a": None, "b": "bool"}) == {"a": None, "b": "bool"}


@pytest.mark.parametrize(
    ("raw", "pointer", "detail"),
    [
        ([], "/schema", "a list"),
        ({"a": "int"}, "/schema/a", "did you mean integer?"),
        ({"a": "Keyword"}, "/schema/a", "did you mean keyword?"),
        ({"a": None}, "/schema/a", "expected one of"),
        ({"a": ["bool"]}, "/schema/a", "expected one of"),
        ({"$a": "bool"}, "/schema/$a", "field name"),
        ({"": "bool"}, "/schema/", "field name"),
    ],
)
def test_refused_schemas_name_the_place(raw: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        check_schema(raw)
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail
