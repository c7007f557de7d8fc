"""Vectors of any kind, as callers write them:

    dense    [0.1, 0.2]           numbers, or base64 of little-endian float32
    tokens   [[0.1, 0.2], …]      a vector for each token, or {"shape": [tokens, dimension],
                                  "data": base64 of little-endian float32, token by token}
    sparse   {"indices": [7, 42], "values": [0.5, 1.5]}     indices of 0 … 2³²−1, all different,
                                  in any order; each list may be base64 instead: of little-endian
                                  uint32, and of float32

Plain functions of their arguments, safe on any thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import (
    DimensionMismatch,
    InvalidVector,
    LikewiseError,
    LimitExceeded,
    VectorNotFinite,
    ZeroVector,
)
from app.service.checks import (
    LEAST_SQUARED,
    MOST_SQUARED,
    check_vector,
    numbers_of,
    octets_of,
    place,
)
from app.types import (
    F32,
    I64,
    MOST_INDEX,
    MOST_TOKENS,
    MOST_WEIGHTS,
    Sparse,
    VectorField,
    VectorKind,
    VectorValue,
)


def check_value(raw: object, field: VectorField, pointer: str) -> VectorValue:
    """Turn what JSON held into a vector of `field`, whatever its kind.

    returns  for a dense field as `check_vector`; float32[tokens, dimension], finite, no row without
             length; or a `Sparse`, ascending, zeros dropped, perhaps empty

    Raises InvalidVector, DimensionMismatch, VectorNotFinite, ZeroVector or LimitExceeded.
    """
    if field.kind is VectorKind.DENSE:
        return check_vector(raw, field, pointer)
    if field.kind is VectorKind.TOKENS:
        return check_tokens(raw, field, pointer)
    return check_sparse(raw, pointer)


def check_tokens(raw: object, field: VectorField, pointer: str) -> F32:
    """Turn what JSON held into float32[tokens, dimension]; raises as `check_value`."""
    if isinstance(raw, dict):
        tokens, row_at = _packed_tokens(raw, field.dimension, pointer), None
    elif type(raw) is list:
        _check_count(len(raw), pointer)
        tokens, row_at = _listed_tokens(raw, field.dimension, pointer), pointer
    else:
        raise InvalidVector(
            "vectors of tokens are a list of lists of numbers, or an object of shape and data in "
            "base64",
            pointer=pointer,
        )
    # As for one vector: a NaN or an infinity anywhere in a row makes its sum one.
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.einsum("ij,ij->i", tokens, tokens)
    bad = np.flatnonzero(~((squared >= LEAST_SQUARED) & (squared <= MOST_SQUARED)))
    if bad.size:
        raise _bad_token(int(bad[0]), float(squared[bad[0]]), pointer, row_at)
    return tokens


def check_sparse(raw: object, pointer: str) -> Sparse:
    """Turn what JSON held into a sparse vector; raises as `check_value`."""
    if not isinstance(raw, dict) or raw.keys() != {"indices", "values"}:
        raise InvalidVector(
            "a sparse vector is an object of two lists, indices and values", pointer=pointer
        )
    indices = _indices(raw["indices"], place(pointer, "indices"))
    values = _values(raw["values"], indices.size, place(pointer, "values"))
    order = np.argsort(indices, kind="stable")
    indices, values = indices[order], values[order]
    twice = np.flatnonzero(indices[1:] == indices[:-1])
    if twice.size:
        again = int(order[twice[0] + 1])
        raise InvalidVector(
            "an index that stands in the list already: each has one value",
            pointer=place(pointer, "indices", again),
        )
    kept = values != 0
    return Sparse(indices[kept], values[kept])


def _check_count(tokens: int, pointer: str) -> None:
    if tokens == 0:
        raise InvalidVector(
            "expected the vector of at least one token: leave the field out instead",
            pointer=pointer,
        )
    if tokens > MOST_TOKENS:
        raise LimitExceeded(
            f"a point has at most {MOST_TOKENS} tokens, received {tokens}",
            pointer=pointer,
            limit=MOST_TOKENS,
            received=tokens,
        )


def _listed_tokens(raw: list[object], dimension: int, pointer: str) -> F32:
    tokens = np.empty((len(raw), dimension), dtype=np.float32)
    for number, row in enumerate(raw):
        at = place(pointer, number)
        if type(row) is not list:
            raise InvalidVector("expected a list of numbers for each token", pointer=at)
        tokens[number] = numbers_of(row, dimension, at)
    return tokens


def _packed_tokens(raw: dict[Any, Any], dimension: int, pointer: str) -> F32:
    if raw.keys() != {"shape", "data"}:
        raise InvalidVector("expected an object of shape and data", pointer=pointer)
    shape, at = raw["shape"], place(pointer, "shape")
    if type(shape) is not list or len(shape) != 2 or any(type(n) is not int for n in shape):
        raise InvalidVector("expected two whole numbers: tokens and dimension", pointer=at)
    if shape[1] != dimension:
        raise DimensionMismatch(expected=dimension, received=shape[1], pointer=place(at, 1))
    if shape[0] < 0:
        raise InvalidVector("a count of tokens is not negative", pointer=place(at, 0))
    _check_count(shape[0], place(at, 0))
    numbers = octets_of(raw["data"], "<f4", place(pointer, "data"))
    if numbers.size != shape[0] * dimension:
        raise InvalidVector(
            f"expected {shape[0]} × {dimension} numbers as the shape says, received {numbers.size}",
            pointer=place(pointer, "data"),
        )
    return numbers.astype(np.float32).reshape(shape[0], dimension)


def _bad_token(row: int, squared: float, pointer: str, row_at: str | None) -> LikewiseError:
    """What is wrong with a row; `row_at` is the list's pointer, None where there is no list."""
    at = pointer if row_at is None else place(row_at, row)
    if squared < LEAST_SQUARED:
        return ZeroVector(
            f"token {row} has a vector without length, so no direction to compare: leave it out",
            pointer=at,
        )
    return VectorNotFinite(
        f"the vector of token {row} is NaN, infinite, or too long for arithmetic in float32",
        pointer=at,
        index=row,
    )


def _indices(raw: object, at: str) -> I64:
    if type(raw) is str:
        indices: I64 = octets_of(raw, "<u4", at).astype(np.int64)
    elif type(raw) is list:
        _check_weights(len(raw), at)
        for number, index in enumerate(raw):
            if type(index) is not int or not 0 <= index <= MOST_INDEX:
                raise InvalidVector(
                    "an index is a whole number of 0 to 2^32 - 1", pointer=place(at, number)
                )
        indices = np.array(raw, dtype=np.int64)
    else:
        raise InvalidVector("expected a list of indices, or base64 of uint32", pointer=at)
    _check_weights(indices.size, at)
    return indices


def _values(raw: object, count: int, at: str) -> F32:
    if type(raw) is not str and type(raw) is not list:
        raise InvalidVector("expected a list of numbers, or base64 of float32", pointer=at)
    octets = octets_of(raw, "<f4", at) if type(raw) is str else None
    received = len(raw) if octets is None else octets.size
    if received != count:
        raise InvalidVector(
            f"expected as many values as indices, {count}, received {received}", pointer=at
        )
    if octets is None:
        assert isinstance(raw, list)
        values = numbers_of(raw, count, at)
    else:
        values = octets.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = float(values @ values)
    if not squared <= MOST_SQUARED:
        raise _bad_value(values, at, listed=octets is None)
    return values


def _bad_value(values: F32, at: str, *, listed: bool) -> VectorNotFinite:
    bad: NDArray[np.intp] = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return VectorNotFinite(
            "the vector is too long for arithmetic in float32: its length must stay below 9e18",
            pointer=at,
        )
    index = int(bad[0])
    return VectorNotFinite(
        f"value {index} is NaN, infinite or outside float32",
        pointer=place(at, index) if listed else at,
        index=index,
    )


def _check_weights(count: int, at: str) -> None:
    if count > MOST_WEIGHTS:
        raise LimitExceeded(
            f"a sparse vector has at most {MOST_WEIGHTS} indices, received {count}",
            pointer=at,
            limit=MOST_WEIGHTS,
            received=count,
        )
