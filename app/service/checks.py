"""Checks of single values. Each returns the value in the form the layers below take, or raises
the error that names its place. Plain functions of their arguments, safe on any thread.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.attributes.values import instant_us, json_type
from app.errors import (
    DimensionMismatch,
    DuplicateId,
    InvalidField,
    InvalidId,
    InvalidName,
    InvalidText,
    InvalidVector,
    LimitExceeded,
    VectorNotFinite,
    ZeroVector,
)
from app.types import F32, NAME, YEAR_10000_MS, Metric, PointId, VectorField

_ID_BYTES = 512
_NUMBERS = {float, int}

# A squared length must leave room for the squared distance of two such vectors, at most four
# times as large, in float32; and it must not vanish when the vector is divided by its length.
MOST_SQUARED = float(np.finfo(np.float32).max) / 4
LEAST_SQUARED = float(np.finfo(np.float32).tiny)


def place(at: str, *parts: str | int) -> str:
    """Extend an RFC 6901 pointer by members and indices."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "/".join((at, *escaped))


def placed_input(pointer: str | None, place_of: Callable[[int], str]) -> str | None:
    """Move an encoder's pointer, which counts the inputs that it was given: `/i…`.

    place_of  the pointer of such an input, for those who gave it
    """
    if pointer is None:
        return None
    number, slash, rest = pointer.removeprefix("/").partition("/")
    return place_of(int(number)) + slash + rest


def check_name(name: str, what: str, pointer: str | None = None) -> str:
    """Return a collection's, vector's or snapshot's name; raise InvalidName."""
    if NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"a {what} name is 1-64 characters of A-Z a-z 0-9 _ . - and starts with a letter or digit",
        pointer=pointer,
    )


def check_expiry(raw: object, pointer: str) -> int | None:
    """Return the time from which on a point is gone, in milliseconds since 1970; None: never.

    Raises InvalidField for anything but null and an RFC 3339 date-time with its zone. A number is
    none: too many count seconds, and as many milliseconds. The past is allowed.
    """
    if raw is None:
        return None
    at_us = instant_us(raw) if type(raw) is str and len(raw) > len("2030-01-01") else None
    if at_us is None or not 0 <= at_us < YEAR_10000_MS * 1000:
        raise InvalidField(
            'expected null or a date and time of 1970-9999 with a zone, as "2030-01-31T12:00:00Z"',
            pointer=pointer,
        )
    return at_us // 1000


def check_id(raw: object, pointer: str) -> PointId:
    """Return a point id; raise InvalidId. A bool is no integer, 1.0 neither."""
    if type(raw) is str:
        if raw and len(raw) <= _ID_BYTES and (raw.isascii() or _fits(raw)):
            return raw
        raise InvalidId(f"a string id has 1-{_ID_BYTES} bytes of UTF-8", pointer=pointer)
    if type(raw) is int:
        if 0 <= raw < 2**64:
            return raw
        raise InvalidId("an integer id is at least 0 and below 2^64", pointer=pointer)
    raise InvalidId("an id is a string or an integer", pointer=pointer)


def _fits(raw: str) -> bool:
    """Tell whether a string has few enough bytes; half a surrogate pair has none at all."""
    try:
        return len(raw.encode()) <= _ID_BYTES
    except UnicodeEncodeError:
        return False


def check_ids(raw: Sequence[object], *, limit: int, pointer: str) -> tuple[PointId, ...]:
    """Return the ids without repetitions, in order; raise if there are none or too many."""
    check_batch(len(raw), what="ids", limit=limit, pointer=pointer)
    return tuple(
        dict.fromkeys(check_id(one, place(pointer, index)) for index, one in enumerate(raw))
    )


def check_batch(length: int, *, what: str, limit: int, pointer: str) -> None:
    """Raise InvalidField for an empty list, LimitExceeded for one above `limit`."""
    if length == 0:
        raise InvalidField(f"expected at least one of {what}, received none", pointer=pointer)
    if length > limit:
        raise LimitExceeded(
            f"at most {limit} {what} in one request, received {length}",
            pointer=pointer,
            limit=limit,
            received=length,
        )


def check_unique(ids: Iterable[PointId], at: str) -> None:
    """Raise DuplicateId at the second point of the same id."""
    first: dict[PointId, int] = {}
    for index, point_id in enumerate(ids):
        earlier = first.setdefault(point_id, index)
        if earlier != index:
            raise DuplicateId(
                f"the same id as point {earlier} of this request",
                pointer=place(at, index, "id"),
            )


def check_text(text: object, *, limit: int, pointer: str) -> str:
    """Return a text that can be read; raise InvalidText if it is none, empty or too long."""
    if not isinstance(text, str):
        raise InvalidText(f"expected a text, received {json_type(text)}", pointer=pointer)
    if not text:
        raise InvalidText("a text has at least one character: leave it out", pointer=pointer)
    if len(text) > limit:
        raise InvalidText(
            f"a text has at most {limit} characters, received {len(text)}",
            pointer=pointer,
            limit=limit,
            received=len(text),
        )
    return text


def check_vector(raw: object, field: VectorField, pointer: str) -> F32:
    """Turn a list of numbers, or base64 of little-endian float32, into a vector of `field`.

    raw      what JSON held, or the list read already: float32[any], writable

    returns  float32[dimension], contiguous, finite, of a length between 1e-19 (for cosine) and
             9e18, so that no distance of two vectors leaves float32

    Raises InvalidVector, DimensionMismatch, VectorNotFinite or ZeroVector.
    """
    if isinstance(raw, np.ndarray):
        if raw.shape[0] != field.dimension:
            raise DimensionMismatch(
                expected=field.dimension, received=raw.shape[0], pointer=pointer
            )
        vector = raw
    elif type(raw) is list:
        vector = numbers_of(raw, field.dimension, pointer)
    elif type(raw) is str:
        vector = _from_base64(raw, field.dimension, pointer)
    else:
        raise InvalidVector(
            "a vector is a list of numbers or base64 of little-endian float32", pointer=pointer
        )
    # A NaN or an infinity anywhere makes the sum one: no second pass over the vector is needed.
    with np.errstate(over="ignore", invalid="ignore"):
        squared = float(vector @ vector)
    if not squared <= MOST_SQUARED:
        raise _not_finite(vector, raw, pointer)
    if squared < LEAST_SQUARED and field.metric is Metric.COSINE:
        raise ZeroVector(
            "a vector without length has no direction, so no cosine; leave the point out or use "
            "the metric ip or l2",
            pointer=pointer,
        )
    return vector


def numbers_of(raw: list[object], dimension: int, pointer: str) -> F32:
    """Turn a list of so many numbers into float32[dimension], which may hold infinities.

    Raises DimensionMismatch, InvalidVector or VectorNotFinite.
    """
    if len(raw) != dimension:
        raise DimensionMismatch(expected=dimension, received=len(raw), pointer=pointer)
    if not _NUMBERS.issuperset(map(type, raw)):
        index = next(i for i, number in enumerate(raw) if type(number) not in _NUMBERS)
        raise InvalidVector("expected a number", pointer=place(pointer, index))
    try:
        with np.errstate(over="ignore"):  # seen as infinity by the caller
            return np.array(raw, dtype=np.float32)
    except OverflowError:
        raise VectorNotFinite("a number is outside float32", pointer=pointer) from None


def _from_base64(raw: str, dimension: int, pointer: str) -> F32:
    numbers = octets_of(raw, "<f4", pointer)
    if numbers.size != dimension:
        raise DimensionMismatch(expected=dimension, received=numbers.size, pointer=pointer)
    # A copy: compiled kernels take writable arrays only.
    return numbers.astype(np.float32)


def octets_of(raw: object, dtype: Literal["<f4", "<u4"], pointer: str) -> NDArray[Any]:
    """Decode base64 of numbers of four bytes, read-only. Raises InvalidVector."""
    if type(raw) is not str:
        raise InvalidVector("expected base64 in a string", pointer=pointer)
    try:
        octets = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidVector("the string is not base64", pointer=pointer) from None
    if len(octets) % 4:
        what = "float32" if dtype == "<f4" else "uint32"
        raise InvalidVector(
            f"the base64 string does not hold whole {what} numbers of four bytes", pointer=pointer
        )
    return np.frombuffer(octets, dtype=dtype)


def _not_finite(vector: F32, raw: object, pointer: str) -> VectorNotFinite:
    bad = np.flatnonzero(~np.isfinite(vector))
    if not bad.size:
        return VectorNotFinite(
            "the vector is too long for arithmetic in float32: its length must stay below 9e18",
            pointer=pointer,
        )
    index = int(bad[0])
    return VectorNotFinite(
        f"number {index} is NaN, infinite or outside float32",
        pointer=place(pointer, index) if not isinstance(raw, str) else pointer,
        index=index,
    )
