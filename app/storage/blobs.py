"""Vectors as the store keeps them, little-endian:

dense    float32[dimension]
tokens   float32[tokens, dimension], row by row
sparse   uint32[n], the indices, ascending; then float32[n], their values
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from app.errors import CorruptFile
from app.types import F32, Sparse, VectorField, VectorKind, VectorValue

Read = Callable[[bytes], VectorValue]
"""Makes a vector of its bytes. Raises ValueError or CorruptFile for bytes that are none."""


def blob_of(vector: VectorValue) -> bytes:
    """Write a vector of any kind."""
    if isinstance(vector, Sparse):
        return vector.indices.astype("<u4").tobytes() + vector.values.astype("<f4").tobytes()
    return np.asarray(vector, dtype="<f4").tobytes()


def reader_of(field: VectorField) -> Read:
    """Choose what reads the vectors of a field; their numbers are not the caller's to change."""
    if field.kind is VectorKind.SPARSE:
        return _sparse
    if field.kind is VectorKind.TOKENS:
        return partial(_tokens, dimension=field.dimension)
    return _dense


def _dense(blob: bytes) -> F32:
    numbers: F32 = np.frombuffer(blob, dtype="<f4")
    return numbers


def _sparse(blob: bytes) -> Sparse:
    count, rest = divmod(len(blob), 8)
    if rest:
        raise CorruptFile("a stored sparse vector is damaged")
    indices = np.frombuffer(blob, dtype="<u4", count=count).astype(np.int64)
    return Sparse(indices, np.frombuffer(blob, dtype="<f4", offset=4 * count))


def _tokens(blob: bytes, *, dimension: int) -> F32:
    if not blob or len(blob) % (4 * dimension):
        raise CorruptFile("the stored vectors of a point's tokens are damaged")
    return _dense(blob).reshape(-1, dimension)
