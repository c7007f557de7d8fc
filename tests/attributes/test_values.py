"""What a point may carry, and how RFC 3339 is read."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attributes.values import MAX_ELEMENTS, check_attributes, exact_number, instant_us
from app.errors import InvalidAttributes
from tests.attributes.strategies import any_json, attributes


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (5, "/attributes"),
        (None, "/attributes"),
        ([], "/attributes"),
        ({"": 1}, "/attributes/"),
        ({"$a": 1}, "/attributes/$a"),
        ({"é" * 129: 1}, "/attributes/" + "é" * 129),
        ({"a\ud800": 1}, "/attributes/a?"),
        ({"a/b": {"c": 1}}, "/attributes/a~1b"),
        ({"a~b": [1, [2]]}, "/attributes/a~0b/1"),
        ({"a": [1, {}]}, "/attributes/a/1"),
        ({"a": 2**63}, "/attributes/a"),
        ({"a": [0, -(2**63) - 1]}, "/attributes/a/1"),
        ({"a": math.nan}, "/attributes/a"),
        ({"a": [math.inf]}, "/attributes/a/0"),
        ({"a": "\udfff"}, "/attributes/a"),
        ({"a": [0] * (MAX_ELEMENTS + 1)}, "/attributes/a"),
        ({"a": "x" * 65536}, "/attributes"),
    ],
)
def test_refused_attributes_name_the_place(raw: Any, pointer: str) -> None:
    with pytest.raises(InvalidAttributes) as refused:
        check_attributes(raw)
    assert refused.value.pointer == pointer


def test_the_edges_are_allowed() -> None:
    raw = {"é" * 128: 2**63 - 1, "a": [-(2**63), 1e308, None, True, ""], "b": [0] * MAX_ELEMENTS}
    assert check_attributes(raw) == raw


def test_the_size_limit_counts_bytes_of_compact_json() -> None:
    raw = {"a": "é", "b": [1, 2]}
    size = len('{"a":"é","b":[1,2]}'.encode())
    assert check_attributes(raw, max_bytes=size) == raw
    with pytest.raises(InvalidAttributes, match=str(size)):
        check_attributes(raw, max_bytes=size - 1)


@given(attributes)
def test_generated_attributes_are_allowed(raw: dict[str, Any]) -> None:
    assert check_attributes(raw) is raw


@given(any_json)
def test_checking_raises_nothing_but_invalid_attributes(raw: Any) -> None:
    refused = None
    try:
        check_attributes(raw)
    except InvalidAttributes as exc:
        refused = exc
    assert refused is None or f"{refused.detail} {refused.pointer}".encode()


moments = st.datetimes(
    min_value=datetime(1, 1, 3),  # the offset comes beside it
    max_value=datetime(9999, 12, 29),
)


@given(moments, st.integers(-1439, 1439))
def test_instants_agree_with_the_standard_library(moment: datetime, offset_min: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    assert instant_us(zoned.isoformat()) == expected


@given(st.text(alphabet="0123456789-+:.TtZz ", max_size=30))
def test_reading_an_instant_never_fails(text: str) -> None:
    assert instant_us(text) is None or text[4] == "-"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", 1),
        ("1970-01-01T00:00:00.5-00:00", 0.5),
        ("1970-01-01T00:00:00.0000009999999999999999999999Z", 0),
        ("1969-12-31T23:59:59.999999Z", -0.000001),
        ("1970-01-01T23:59:00+23:59", 0),
        ("1969-12-31T00:01:00-23:59", 0),
        ("1972-06-30T23:59:60Z", 78796800),
        ("1972-06-30T15:59:60.25-08:00", 78796800.25),
        ("2000-02-29", 951782400),
        ("0000-01-01", -62167219200),
        ("0000-02-29T00:00:00Z", -62167219200 + 59 * 86400),
        ("0001-01-01", -62135596800),
        ("9999-12-31T23:59:59Z", 253402300799),
        ("9999-12-31T23:59:59-23:59", 253402300799 + 86340),
        ("0000-01-01T00:00:00+00:01", -62167219200 - 60),
        ("9999-12-31T23:59:60Z", 253402300800),
    ],
)
def test_instants_that_are_read(text: str, seconds: float) -> None:
    assert instant_us(text) == round(seconds * 1_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "", "1970", "1970-1-1", "1970-01-32", "1970-00-01", "1970-13-01", "1900-02-29",
        "0001-02-29", "1970-01-01T00:00:00", "1970-01-01T00:00Z", "1970-01-01 00:00:00Z",
        "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:60Z", "1970-01-31T22:59:60Z", "1970-01-30T23:59:60Z",
        "1970-01-31T23:59:60+01:00", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+00:60", "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00Z\n", "1970-01-01Z", "+1970-01-01", "-1970-01-01", "19700101",
        "١٩٧٠-01-01", "1970-W01-1", "10000-01-01", " 1970-01-01", "1970-01-01T00:00:00ZZ",
    ],
)  # fmt: skip
def test_texts_that_are_no_instants(text: str) -> None:
    assert instant_us(text) is None


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_exact_numbers_keep_their_value_and_one_type(number: float) -> None:
    exact = exact_number(number)
    assert exact == number
    whole = number == math.floor(number) and -(2**63) <= number < 2**63
    assert type(exact) is (int if whole else float)
