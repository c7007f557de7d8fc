"""Whether the points of a snapshot are what this service could have stored.

Everything behind the store relies on what was checked when points came in: filters on attributes
of known types, compiled loops on vectors of one length without a NaN. A snapshot comes in by
another door, so the same is asked here of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from app.attributes.schema import check_conforms
from app.attributes.values import check_attributes, text_problem
from app.errors import InvalidAttributes, InvalidId, InvalidSnapshot, SchemaViolation
from app.keys import id_from_key, key_from_id
from app.storage.foreign import ForeignStore
from app.types import (
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_KEPT_BYTES_TOGETHER,
    MOST_TOKENS,
    MOST_WEIGHTS,
    NAME,
    YEAR_10000_MS,
    Definition,
    Metric,
    VectorField,
    VectorKind,
)

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
        columns = [_COLUMNS[field.kind](field) for field in fields]
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
        _check_artefacts(store)
    finally:
        store.close()


def _check_artefacts(store: ForeignStore) -> None:
    """Check the names and sizes of what is kept; what the bodies say is checked by who uses it."""
    together = 0
    for count, (kind, key, body, made_at) in enumerate(store.artefacts(), 1):
        named = all(isinstance(name, str) and NAME.fullmatch(name) for name in (kind, key))
        dated = type(made_at) is int and 0 <= made_at < YEAR_10000_MS
        together += len(body) if isinstance(body, bytes) else 0
        if (
            not (named and dated and isinstance(body, bytes) and len(body) <= MOST_KEPT_BYTES)
            or count > MOST_KEPT
            or together > MOST_KEPT_BYTES_TOGETHER
        ):
            raise InvalidSnapshot("what the snapshot keeps beside its points is wrong")


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


class _Column(Protocol):
    """The vectors of one field."""

    def take(self, vector: object) -> None:
        """Check a vector, now or later."""
        ...

    def check(self) -> None:
        """Check what waits."""
        ...


class _Rows:
    """Dense vectors, or those of tokens, checked some thousands at a time."""

    def __init__(self, field: VectorField) -> None:
        self._field = field
        self._bytes = 4 * field.dimension
        self._most = MOST_TOKENS if field.kind is VectorKind.TOKENS else 1
        self._waiting: list[bytes] = []
        self._held = 0

    def take(self, vector: object) -> None:
        """Check the length now, and the numbers when there are enough."""
        rows, rest = divmod(len(vector), self._bytes) if isinstance(vector, bytes) else (0, 0)
        if not isinstance(vector, bytes) or rest or not 1 <= rows <= self._most:
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot does not have "
                f"{self._field.dimension} numbers",
                expected=self._field.dimension,
            )
        self._waiting.append(vector)
        self._held += len(vector)
        if self._held >= _CHUNK_BYTES:
            self.check()

    def check(self) -> None:
        """Check the numbers of the vectors that wait."""
        if not self._waiting:
            return
        squared = _squared_lengths(b"".join(self._waiting), self._field.dimension)
        self._waiting, self._held = [], 0
        if not (squared <= _MOST_SQUARED).all():  # a NaN is in no order
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot is not finite, or too long"
            )
        if self._field.metric is Metric.COSINE and (squared < _LEAST_SQUARED).any():
            raise InvalidSnapshot(
                f"a vector {self._field.name!r} in the snapshot has no length, so no cosine"
            )


class _Weights:
    """Sparse vectors: one is as fast as many, and they are of many lengths."""

    def __init__(self, field: VectorField) -> None:
        self._name = field.name

    def take(self, vector: object) -> None:
        """Check one: indices that ascend, values that are finite and not zero."""
        count, rest = divmod(len(vector), 8) if isinstance(vector, bytes) else (0, 1)
        if not isinstance(vector, bytes) or rest or count > MOST_WEIGHTS:
            raise InvalidSnapshot(f"a sparse vector {self._name!r} in the snapshot is none")
        indices = np.frombuffer(vector, dtype="<u4", count=count)
        values = np.frombuffer(vector, dtype="<f4", offset=4 * count).astype(np.float64)
        if not (indices[1:] > indices[:-1]).all():
            raise InvalidSnapshot(
                f"indices of a sparse vector {self._name!r} in the snapshot do not ascend"
            )
        if not values @ values <= _MOST_SQUARED or not values.all():
            raise InvalidSnapshot(
                f"a sparse vector {self._name!r} in the snapshot has a zero, or is not finite, or "
                "too long"
            )

    def check(self) -> None:
        """Nothing waits."""


_COLUMNS: Mapping[VectorKind, Callable[[VectorField], _Column]] = {
    VectorKind.DENSE: _Rows,
    VectorKind.TOKENS: _Rows,
    VectorKind.SPARSE: _Weights,
}


def _squared_lengths(rows: bytes, dimension: int) -> Any:
    """Compute float64[rows]: a NaN or an infinity in a row makes its own one."""
    numbers = np.frombuffer(rows, dtype="<f4").reshape(-1, dimension)
    wide = numbers.astype(np.float64)
    return np.einsum("ij,ij->i", wide, wide)
