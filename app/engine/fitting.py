"""Whether a vector goes together with a field: compiled code would read past the rows otherwise."""

from __future__ import annotations

from app.errors import DimensionMismatch, InvalidVector
from app.types import Sparse, VectorField, VectorKind, VectorValue

_DIMENSIONS = {VectorKind.DENSE: 1, VectorKind.TOKENS: 2}  # of the array


def check_fits(vector: VectorValue, field: VectorField, pointer: str | None = None) -> None:
    """Raise DimensionMismatch, or InvalidVector where a vector is of another kind than the field.

    Its numbers are not looked at: who brings vectors has checked them.
    """
    if isinstance(vector, Sparse):
        if field.kind is not VectorKind.SPARSE:
            raise InvalidVector(f"vector {field.name!r} is not sparse", pointer=pointer)
        return
    if vector.ndim != _DIMENSIONS.get(field.kind):
        raise InvalidVector(
            f"vector {field.name!r} is of kind {field.kind.value}: another one came",
            pointer=pointer,
        )
    if vector.shape[-1] != field.dimension:
        raise DimensionMismatch(
            expected=field.dimension, received=vector.shape[-1], pointer=pointer
        )
    if vector.shape[0] == 0:
        raise InvalidVector(
            f"vector {field.name!r} wants one token at least: leave it out", pointer=pointer
        )
