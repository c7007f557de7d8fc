"""Inputs with a structure: records and point sets, read of what callers send."""

from __future__ import annotations

import numpy as np

from app.encoders.inputs import Points, Record
from app.encoders.record import canonical
from app.errors import InvalidField
from app.service.checks import place

_COLUMNS = {2: (2, False), 3: (3, False), 4: (2, True), 6: (3, True)}
"""Numbers of a row → coordinates, and whether a normal follows them."""


MOST = 1e30
"""Largest coordinate: squares and products of three of these are finite."""


def record_of(raw: object, at: str, max_chars: int) -> Record:
    """Read a record: a JSON object of names and values.

    max_chars  most characters of it as JSON

    Raises InvalidField.
    """
    if not isinstance(raw, dict) or not raw:
        raise InvalidField("expected an object of names and values", pointer=at)
    try:
        written = canonical(raw)
    except ValueError as exc:
        raise InvalidField("expected numbers that JSON knows", pointer=at) from exc
    if len(written) > max_chars:
        raise InvalidField(
            f"a record has at most {max_chars} characters as JSON, received {len(written)}",
            pointer=at,
        )
    return Record(written)


def points_of(raw: object, at: str, max_chars: int) -> Points:
    """Read a point set: rows of 2 or 3 coordinates, or of 4 or 6 numbers with normals.

    max_chars  most numbers of it

    Raises InvalidField with the pointer of the first bad row.
    """
    if not isinstance(raw, list) or not raw or not isinstance(raw[0], list):
        raise InvalidField("expected a list of points, each a list of numbers", pointer=at)
    columns = len(raw[0])
    if columns not in _COLUMNS:
        raise InvalidField(
            "expected 2 or 3 coordinates, or 4 or 6 numbers with a normal",
            pointer=place(at, 0),
        )
    if len(raw) * columns > max_chars:
        raise InvalidField(f"a point set has at most {max_chars} numbers", pointer=at)
    for number, row in enumerate(raw):
        if not isinstance(row, list) or len(row) != columns:
            raise InvalidField(f"expected {columns} numbers", pointer=place(at, number))
        if not all(type(value) in (int, float) and abs(value) <= MOST for value in row):
            raise InvalidField(
                f"expected numbers from -{MOST:g} to {MOST:g}", pointer=place(at, number)
            )
    axes, normals = _COLUMNS[columns]
    return Points(axes, normals, np.array(raw, "<f8").tobytes())
