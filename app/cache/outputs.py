"""What encoders make of one input, as bytes and back, to the last bit."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np

from app.types import Sparse

Kept = Literal["dense", "tokens", "sparse"]

_SHAPE = struct.Struct("<II")  # before the numbers of a matrix, which do not tell it


def octets_of(output: Any) -> bytes:
    """Write a vector float32[d], a matrix float32[token, d], or a `Sparse`."""
    if isinstance(output, Sparse):
        return output.indices.astype("<i8").tobytes() + output.values.astype("<f4").tobytes()
    numbers: bytes = np.asarray(output, dtype="<f4").tobytes()
    return numbers if output.ndim == 1 else _SHAPE.pack(*output.shape) + numbers


def output_of(octets: bytes, kind: Kept) -> Any:
    """Read what `octets_of` wrote of an output of that kind."""
    if kind == "sparse":
        count = len(octets) // 12
        indices = np.frombuffer(octets, "<i8", count).astype(np.int64)
        return Sparse(indices, np.frombuffer(octets, "<f4", offset=8 * count).astype(np.float32))
    if kind == "tokens":
        shape = _SHAPE.unpack_from(octets)
        return np.frombuffer(octets, "<f4", offset=_SHAPE.size).astype(np.float32).reshape(shape)
    return np.frombuffer(octets, "<f4").astype(np.float32)
