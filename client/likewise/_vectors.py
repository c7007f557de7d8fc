"""Vectors on the wire: base64 of little-endian float32, with or without numpy.

    dense    "…"
    tokens   {"shape": [tokens, dimension], "data": "…"}
    sparse   {"indices": "…", "values": "…"}, the indices as little-endian uint32

The service computes in float32, so nothing is lost, and the text is a quarter of the length of
printed numbers. Answers come back as `array.array("f")`: compact, indexable, and shared with numpy
without a copy by `to_numpy`.
"""

from __future__ import annotations

import base64
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ._listed import Listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector: TypeAlias = "Sequence[float] | NDArray[Any]"
"""A vector to send: a list, a tuple, an `array.array` or a numpy array of one dimension."""


@dataclass(frozen=True, slots=True)
class TokenVectors(Listed["array[float]"]):
    """One vector for each token of a text; iterate or index it as a list."""

    vectors: tuple[array[float], ...]

    @property
    def _items(self) -> tuple[array[float], ...]:
        return self.vectors

    def to_numpy(self) -> NDArray[np.float32]:
        """Return the vectors as float32 `[token, dim]`. Raises ImportError without numpy."""
        return to_numpy(self.vectors)


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Weights of a vocabulary: the words' numbers, and what they weigh.

    What comes from the service ascends. To send one, lists and numpy arrays do as well:

    >>> SparseVector([3, 7], [0.5, 1.0]).indices
    [3, 7]
    """

    indices: Sequence[int]
    values: Sequence[float]

    def to_numpy(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return indices and values as int64 and float32 `[n]`. Raises ImportError without numpy.

        >>> SparseVector([3, 7], [0.5, 1.0]).to_numpy()[0].tolist()
        [3, 7]
        """
        values = to_numpy(self.values)
        return _int64(self.indices), values


AnyVector: TypeAlias = (
    "Vector | Sequence[Vector] | TokenVectors | SparseVector | Mapping[str, object]"
)
"""A vector to send, of any kind: one vector; a vector for each token, as a list of them or a numpy
array of two dimensions; a `SparseVector`, or a dict of its `indices` and `values`."""

StoredVector: TypeAlias = "array[float] | TokenVectors | SparseVector"
"""A vector of an answer: by the kind of its field."""


def vector_to_base64(vector: Vector) -> str:
    """Encode one vector for a request.

    Raises TypeError for what is not numbers, ValueError for an array of another shape than
    `[dim]`. Numbers outside float32 become infinities, which the service refuses with their place.

    >>> vector_to_base64([1.0, -2.0])
    'AACAPwAAAMA='
    """
    if hasattr(vector, "__array__"):
        return base64.b64encode(_bytes_of_array(vector)).decode()
    if isinstance(vector, (str, bytes, bytearray)):
        raise TypeError(f"expected a vector of numbers, received {type(vector).__name__}")
    return base64.b64encode(_little_endian(array("f", vector)).tobytes()).decode()


def vector_to_wire(vector: AnyVector) -> object:
    """Encode a vector of any kind for a request.

    Raises TypeError and ValueError as `vector_to_base64`, and ValueError for tokens of different
    lengths or a sparse vector with more indices than values.

    >>> vector_to_wire([[1.0, -2.0]])
    {'shape': [1, 2], 'data': 'AACAPwAAAMA='}
    """
    if isinstance(vector, Mapping):
        if vector.keys() != {"indices", "values"}:
            raise ValueError("a sparse vector is a dict of indices and values, two lists")
        vector = SparseVector(**vector)  # type: ignore[arg-type]  # checked as it is encoded
    if isinstance(vector, SparseVector):
        return _sparse_to_wire(vector)
    if getattr(vector, "ndim", 1) == 2 or _nested(vector):
        return _tokens_to_wire(vector)
    return vector_to_base64(vector)  # type: ignore[arg-type]  # the only kind that is left


def stored_from_json(body: Any) -> StoredVector:
    """Decode a vector of an answer, of any kind."""
    if isinstance(body, str):
        return vector_from_base64(body)
    return tokens_from_json(body) if "shape" in body else sparse_from_json(body)


def tokens_from_json(output: Mapping[str, Any]) -> TokenVectors:
    """Decode vectors of tokens: base64 with their shape."""
    count, dimension = output["shape"]
    numbers = vector_from_base64(output["data"])
    if len(numbers) != count * dimension:
        raise ValueError(f"expected {count} × {dimension} numbers, received {len(numbers)}")
    rows = range(0, len(numbers), dimension) if dimension else range(0)
    return TokenVectors(tuple(numbers[start : start + dimension] for start in rows))


def sparse_from_json(output: Mapping[str, Any]) -> SparseVector:
    """Decode a sparse vector: its two lists, each perhaps in base64."""
    indices, values = output["indices"], output["values"]
    if isinstance(indices, str):
        indices = _uint32_from_base64(indices)
    values = vector_from_base64(values) if isinstance(values, str) else array("f", values)
    return SparseVector(tuple(map(int, indices)), values)


def _nested(vector: Any) -> bool:
    if isinstance(vector, TokenVectors):
        return True
    if hasattr(vector, "__array__") or isinstance(vector, (str, bytes, bytearray)):
        return False
    return (
        len(vector) > 0
        and not isinstance(vector[0], (int, float))
        and hasattr(vector[0], "__len__")
    )


def _tokens_to_wire(tokens: Any) -> dict[str, object]:
    if hasattr(tokens, "__array__"):
        shape, octets = list(tokens.shape), _bytes_of_array(tokens.reshape(-1))
    else:
        rows = [base64.b64decode(vector_to_base64(token)) for token in tokens]
        if len({len(row) for row in rows}) > 1:
            raise ValueError("expected vectors of one length for all tokens")
        shape, octets = [len(rows), len(rows[0]) // 4 if rows else 0], b"".join(rows)
    return {"shape": shape, "data": base64.b64encode(octets).decode()}


def _sparse_to_wire(vector: SparseVector) -> dict[str, object]:
    indices = [int(index) for index in vector.indices]
    if len(indices) != len(vector.values):
        raise ValueError(
            f"expected as many values as indices, received {len(vector.values)} and {len(indices)}"
        )
    if indices and not 0 <= min(indices) <= max(indices) < 2**32:
        raise ValueError("expected indices of 0 to 2^32 - 1")
    packed = struct.pack(f"<{len(indices)}I", *indices)
    return {
        "indices": base64.b64encode(packed).decode(),
        "values": vector_to_base64(vector.values),
    }


def _uint32_from_base64(text: str) -> tuple[int, ...]:
    octets = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(octets) // 4}I", octets)


def _int64(numbers: Sequence[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(numbers, dtype=np.int64)


def vector_from_base64(text: str) -> array[float]:
    """Decode one vector of an answer: `array("f")` in the machine's byte order.

    >>> vector_from_base64("AACAPwAAAMA=")
    array('f', [1.0, -2.0])
    """
    numbers = array("f")
    numbers.frombytes(base64.b64decode(text, validate=True))
    return _little_endian(numbers)


def to_numpy(vectors: Sequence[float] | Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Turn one vector into float32 `[dim]`, or several into `[vector, dim]`.

    One `array("f")` is not copied: the result is a view of it. Raises ImportError without numpy.

    >>> to_numpy([array("f", [1, 2]), array("f", [3, 4])]).shape
    (2, 2)
    """
    try:
        import numpy as np
    except ImportError as exc:
        raise ImportError("to_numpy needs numpy: pip install 'likewise-client[numpy]'") from exc
    return np.asarray(vectors, dtype=np.float32)


def _bytes_of_array(vector: Any) -> bytes:
    import numpy as np

    with np.errstate(over="ignore"):
        numbers = np.asarray(vector, dtype="<f4")
    if numbers.ndim != 1:
        raise ValueError(f"expected one vector, received an array of shape {numbers.shape}")
    return numbers.tobytes()


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
