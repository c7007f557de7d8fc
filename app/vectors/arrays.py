"""Arrays in `.npy` files: written once, mapped read-only ever after."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile

_Scalar = TypeVar("_Scalar", bound=np.generic)

# What numpy raises at headers that are no headers, which it reads as Python literals.
_UNREADABLE = (
    ValueError,
    EOFError,
    TypeError,
    OverflowError,
    SyntaxError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a new C-order `.npy` file. The caller syncs it."""
    with path.open("xb") as file:
        np.lib.format.write_array(
            file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
        )


def map_array(path: Path, dtypes: tuple[type[np.generic], ...], dimensions: int) -> NDArray[Any]:
    """Map a `.npy` file read-only, as a plain ndarray of one of the dtypes, of the expected rank.

    Raises CorruptFile (naming the file) if it is missing, short, or holds something else. Other
    OSErrors (no descriptors left, no permission) pass: they say nothing about the file.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError("not a version that we write")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            # In whole numbers: in numpy's the product of a made-up shape may be small again.
            if file.tell() + math.prod(shape) * dtype.itemsize != path.stat().st_size:
                raise ValueError("not as long as its header says")
        # Nothing can be mapped of an empty array.
        mode: Literal["r"] | None = "r" if 0 not in shape else None
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (FileNotFoundError, *_UNREADABLE) as exc:
        raise CorruptFile(f"{path.name} cannot be read as an array", path=str(path)) from exc
    flags = array.flags
    plain = flags.c_contiguous and flags.aligned  # compiled code knows no other arrays
    if array.dtype not in dtypes or array.ndim != dimensions or not plain:
        expected = " or ".join(dtype.__name__ for dtype in dtypes)
        raise CorruptFile(
            f"{path.name} holds {array.dtype}[{array.ndim}-d], expected {expected}[{dimensions}-d]",
            path=str(path),
        )
    return read_only(np.asarray(array))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """View an array so that it cannot be written: compiled code is specialised for such arrays."""
    view = array.view()
    view.flags.writeable = False
    return view


def doubled(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Copy an array to twice its rows, the new ones zero."""
    grown = np.zeros((2 * array.shape[0], *array.shape[1:]), dtype=array.dtype)
    grown[: array.shape[0]] = array
    return grown
