"""Vectors on the wire: base64 of little-endian float32, with or without numpy.

The service computes in float32, so nothing is lost, and the text is a quarter of the length of
printed numbers. Answers come back as `array.array("f")`: compact, indexable, and shared with numpy
without a copy by `to_numpy`.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector: TypeAlias = "Sequence[float] | NDArray[Any]"
"""A vector to send: a list, a tuple, an `array.array` or a numpy array of one dimension."""


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
