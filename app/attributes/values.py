"""Attribute values: which ones are allowed, and what equality and order mean for them.

Filters, both indexes and the row-by-row `matches` all rest on the two functions `exact_number`
and `instant_us`; the tables in `docs/filters.md` say the same in words.
"""

from __future__ import annotations

import math
import re
from datetime import date

import orjson

from app.attributes.places import Problem, place_problem
from app.errors import InvalidAttributes
from app.types import AttributeElement, AttributeValue

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
MAX_NAME_BYTES = 256
MAX_ELEMENTS = 4096  # a list past this is data, not something to filter by; 64 KiB seldom hold more


def check_attributes(
    attributes: object, *, max_bytes: int = 65536, pointer: str = "/attributes"
) -> dict[str, AttributeValue]:
    """Return `attributes` if a point may carry them.

    max_bytes  most bytes of all of them together, as compact JSON in UTF-8
    pointer    where they stand in the request body

    Raises InvalidAttributes, pointing at the name, value or list element to blame.
    """
    if not isinstance(attributes, dict):
        raise InvalidAttributes(
            f"expected an object of attributes, received {json_type(attributes)}", pointer=pointer
        )
    for name, value in attributes.items():
        problem = name_problem(name)
        if problem is not None:
            raise InvalidAttributes(problem, pointer=pointer_to(pointer, name))
        if type(value) is list:
            if len(value) > MAX_ELEMENTS:
                raise InvalidAttributes(
                    f"expected at most {MAX_ELEMENTS} elements, received {len(value)}",
                    pointer=pointer_to(pointer, name),
                )
            for i, element in enumerate(value):
                wrong = _element_problem(element)
                if wrong is not None:
                    raise _refused(wrong, f"{pointer_to(pointer, name)}/{i}")
        else:
            wrong = _element_problem(
                value, "a string, number, bool, null, place or a list of these"
            )
            if wrong is not None:
                raise _refused(wrong, pointer_to(pointer, name))
    size = len(orjson.dumps(attributes))
    if size > max_bytes:
        raise InvalidAttributes(
            f"expected at most {max_bytes} bytes of attributes, received {size}", pointer=pointer
        )
    return attributes


def _element_problem(
    value: object, expected: str = "a string, number, bool, null or place"
) -> Problem | None:
    if type(value) is dict:
        return place_problem(value)
    detail = scalar_problem(value, expected)
    return None if detail is None else Problem(detail)


def _refused(problem: Problem, pointer: str) -> InvalidAttributes:
    for name in problem.path:
        pointer = pointer_to(pointer, name)
    return InvalidAttributes(problem.detail, pointer=pointer)


def check_grown(before: int, after: int, max_bytes: int | None, pointer: str = "/set") -> None:
    """Raise InvalidAttributes if a patch leaves a point with more bytes of attributes than it may.

    before, after   bytes of all of them together, as compact JSON in UTF-8
    max_bytes       the most; attributes that were longer already may still be made shorter
    """
    if max_bytes is not None and after > max_bytes and after > before:
        raise InvalidAttributes(
            f"expected at most {max_bytes} bytes of attributes, the patch makes {after} of a "
            f"point's {before}",
            pointer=pointer,
        )


def scalar_problem(value: object, expected: str = "a string, number, bool or null") -> str | None:
    """Say what keeps `value` from being an attribute scalar; None if nothing does."""
    if type(value) is str:
        return text_problem(value)
    if type(value) is int:
        if not INT64_MIN <= value <= INT64_MAX:
            return "expected an integer of 64 bits (−2⁶³ … 2⁶³−1); send larger ones as strings"
        return None
    if type(value) is float:
        return None if math.isfinite(value) else "expected a finite number"
    if value is None or type(value) is bool:
        return None
    return f"expected {expected}, received {json_type(value)}"


def text_problem(text: str) -> str | None:
    """Say that `text` is not Unicode text (it has half of a surrogate pair); None if it is."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "expected Unicode text, received a lone surrogate"
    return None


def name_problem(name: object) -> str | None:
    """Say what keeps `name` from being a field name; None if nothing does."""
    if type(name) is not str or not name:
        return "expected a field name of at least one character"
    if name[0] == "$":
        return "expected a field name that does not start with $: operators do"
    problem = text_problem(name)
    if problem is None and len(name.encode()) > MAX_NAME_BYTES:
        return f"expected a field name of at most {MAX_NAME_BYTES} bytes"
    return problem


def pointer_to(parent: str, name: object) -> str:
    """Extend a JSON pointer by one name.

    Lone surrogates become "?", so that the pointer can itself be sent.

    Source: RFC 6901, section 3 (~ is ~0, / is ~1).
    """
    token = str(name).replace("~", "~0").replace("/", "~1")
    return f"{parent}/{token.encode(errors='replace').decode()}"


def json_type(value: object) -> str:
    """Name the JSON type of `value`, with its article."""
    if value is None:
        return "null"
    names: tuple[tuple[type, str], ...] = (
        (bool, "a bool"),
        (int, "a number"),
        (float, "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "no JSON value")


def exact_number(value: int | float) -> int | float:
    """Give equal numbers one form: an int if the value is an integer of 64 bits, else a float.

    No integer of 64 bits is then equal to any float that is left, so ints and floats can be looked
    up apart, without rounding.
    """
    if isinstance(value, float) and value.is_integer() and INT64_MIN <= value < 2.0**63:
        return int(value)
    return value


_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d)))?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAYS_IN_400_YEARS = 146_097
_DAY_S = 86_400


def instant_us(text: str) -> int | None:
    """Read an RFC 3339 date-time, or a full-date as its midnight UTC; None for any other text.

    returns  microseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Digits past the
             sixth are cut off. Second 60 is read only as the last second of a month in UTC, and
             is the same instant as the first second of the next month.

    Years are 0000 … 9999 in the proleptic Gregorian calendar, as written (an offset may carry the
    instant a day beyond). No clock, locale or time zone of the machine has a say. The standard
    library's `fromisoformat` reads another language, and a different one in 3.10 and 3.11.

    Source: RFC 3339, sections 5.6 and 5.7.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_h, offset_m = match.groups()
    try:
        days = _days_since_epoch(int(year), int(month), int(day))
    except ValueError:
        return None
    if hour is None:
        return days * _DAY_S * 1_000_000
    if hour > "23" or minute > "59" or second > "60":
        return None
    seconds = days * _DAY_S + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign is not None:
        if offset_h > "23" or offset_m > "59":
            return None
        offset = int(offset_h) * 3600 + int(offset_m) * 60
        seconds += -offset if sign == "+" else offset
    if second == "60" and not _starts_a_month(seconds):
        return None
    return seconds * 1_000_000 + int((fraction or "0")[:6].ljust(6, "0"))


def _days_since_epoch(year: int, month: int, day: int) -> int:
    """Count days; raises ValueError if the calendar has no such day."""
    if year == 0:  # which `date` lacks; the calendar repeats every 400 years
        return date(400, month, day).toordinal() - _DAYS_IN_400_YEARS - _EPOCH_DAY
    return date(year, month, day).toordinal() - _EPOCH_DAY


def _starts_a_month(seconds: int) -> bool:
    days, rest = divmod(seconds, _DAY_S)
    if rest:
        return False
    # Any year of the same place in the 400-year cycle has the same days.
    ordinal = (days + _EPOCH_DAY - 1) % _DAYS_IN_400_YEARS + 1
    return date.fromordinal(ordinal).day == 1


def elements(value: AttributeValue) -> list[AttributeElement]:
    """See a value as the list it stands for: a single one is a list of one."""
    return value if isinstance(value, list) else [value]
