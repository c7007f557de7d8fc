"""JSON as the service reads it: compact UTF-8, no NaN, and a few Python values spelled out."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ._filters import Filter


def to_json(value: object) -> bytes:
    """Encode for a request body.

    Filters become their dicts, dates and times RFC 3339 text, numpy scalars and arrays (as
    attributes or operands) plain numbers and lists.

    Raises TypeError for other objects, ValueError for NaN, infinities, lone surrogates, and times
    without a zone: the service compares instants, and would take such a text for a mere keyword.

    >>> to_json({"since": datetime.date(2020, 1, 31)})
    b'{"since":"2020-01-31"}'
    """
    text = json.dumps(
        value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _plain(value: Any) -> object:
    if isinstance(value, Filter):
        return value.to_dict()
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        raise ValueError("expected a datetime with a time zone, as datetime.now(timezone.utc)")
    if isinstance(value, datetime.date):  # datetime.datetime is one too
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, and array.array
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form here")
