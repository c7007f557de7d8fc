"""Arrays that belong to a model: `.npy` files that its manifest lists."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from app.errors import CorruptFile
from app.types import F32, F64

Floats = TypeVar("Floats", F32, F64)


def read_array(path: Path, axes: str) -> F32:
    """Read an array of float32 or float64 as float32.

    axes  the names of its axes, separated by spaces: "word dim"

    Raises CorruptFile if it is no such array, or holds a number that is not finite. Pickled
    objects are never read: they would run as code.
    """
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise CorruptFile(f"{path} cannot be read as an array: {exc}", path=str(path)) from exc
    wanted = axes.split()
    if array.dtype.kind != "f" or array.ndim != len(wanted):
        raise CorruptFile(f"{path}: expected floats of axes [{', '.join(wanted)}]", path=str(path))
    if array.size == 0 or not np.isfinite(array).all():
        raise CorruptFile(f"{path}: expected finite numbers, and at least one", path=str(path))
    return np.ascontiguousarray(array, np.float32)


def unit(vectors: Floats, axis: int = -1) -> Floats:
    """Bring vectors to length one along an axis; zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=axis, keepdims=True)
    lengths[lengths == 0.0] = 1.0
    scaled: Floats = vectors / lengths
    return scaled
