"""Whether the points of a snapshot are what this service could have stored.

Everything behind the store relies on what was checked when points came in: filters on attributes
of known types, compiled loops on vectors of one length without a NaN. A snapshot comes in by
another door, so the same is asked here of every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.attributes.schema import check_conforms
from app.attributes.values import check_attributes, text_problem
from app.errors import InvalidAttributes, InvalidId, InvalidSnapshot, SchemaViolation
from app.keys import id_from_key, key_from_id
from app.storage.foreign import ForeignStore
from app.types import YEAR_10000_MS, Definition, Metric, VectorField

_CHUNK_BYTES = 4 << 20  # of vectors checked by one numpy operation

# The limits of `app.service.checks`, a little wider: sums are taken in another order here, and
# what was let in once must never be refused later. Distances stay within float32 with these too.
_MOST_SQUARED = float(np.finfo(np.float32).max) / 4 * 1.001
_LEAST_SQUARED = float(np.finfo(np.float32).tiny) / 2


def check_points(path: Path, definition: Definition, points: int) -> None:
    """Check a store that may come from anyone, down to the last number.

    points   how many there should be

    Raises InvalidSnapshot, naming what is wrong; never a value.
    """
    fields = list(definition.vectors.values())
    store = ForeignStore(path, fields=len(fields))
    try:
        found = store.check()
        if found != points:
            raise InvalidSnapshot(f"the snapshot says {points} points, its store has {found}")
        columns = [_Column(field) for field in fields]
        for key, attributes, text, expires_at, *vectors in store.rows():
            _check_key(key)
            _check_attributes(attributes, definition)
            if text is not None and (not isinstance(text, str) or text_problem(text)):
                raise InvalidSnapshot("a text in the snapshot is no text")
            if expires_at is not None and (
                type(expires_at) is not int or not 0 <= expires_at < YEAR_10000_MS
            ):
                raise InvalidSnapshot("the expiry of a point in the snapshot is none")
            for column, vector in zip(columns, vectors, strict=True):
                if vector is not None:
                    column.take(vector)
        for column in columns:
            column.check()
    finally:
        store.close()


def _check_key(key: object) -> None:
    try:
        sound = isinstance(key, bytes) and key_from_id(id_from_key(key)) == key
    except (InvalidId, IndexError, UnicodeDecodeError):
        sound = False
    if not sound:
        raise InvalidSnapshot("a point id in the snapshot is none")


def _check_attributes(stored: object, definition: Definition) -> None:
    # Stored attributes travel into answers as they are: a line break would end a line of NDJSON.
    if not isinstance(stored, bytes) or b"\n" in stored or b"\r" in stored:
        raise InvalidSnapshot("the attributes of a point in the snapshot are not compact JSON")
    try:
        attributes = check_attributes(orjson.loads(stored), max_bytes=len(stored))
        check_conforms(attributes, definition.schema)
    except orjson.JSONDecodeError:
        raise InvalidSnapshot("the attributes of a point in the snapshot are not JSON") from None
    except (InvalidAttributes, SchemaViolation) as exc:
        raise InvalidSnapshot(
            f"the attributes of a point in the snapshot are wrong: {exc.detail}"
        ) from None


class _Column:
    """The vectors of one field, checked some thousands at a time."""

    def __init__(self, field: VectorField) -> None:
        self._field = field
        self._bytes = 4 * field.dimension
        self._waiting: list[bytes] = []

    def take(self, vector: object) -> None:
        """Check the length now, and the numbers when there are enough."""
        if not isinstance(vector, bytes) or len(vector) != self._bytes:
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot does not have "
                f"{self._field.dimension} numbers",
                expected=self._field.dimension,
            )
        self._waiting.append(vector)
        if len(self._waiting) * self._bytes >= _CHUNK_BYTES:
            self.check()

    def check(self) -> None:
        """Check the numbers of the vectors that wait."""
        if not self._waiting:
            return
        squared = _squared_lengths(self._waiting)
        self._waiting = []
        if not (squared <= _MOST_SQUARED).all():  # a NaN is in no order
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot is not finite, or too long"
            )
        if self._field.metric is Metric.COSINE and (squared < _LEAST_SQUARED).any():
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot has no length, so no cosine"
            )


def _squared_lengths(vectors: Sequence[bytes]) -> Any:
    """Compute float64[vectors]: a NaN or an infinity in a vector makes its own one."""
    numbers = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
    wide = numbers.astype(np.float64)
    return np.einsum("ij,ij->i", wide, wide)
