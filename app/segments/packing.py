"""Booleans to bits and back in numpy alone: the build process does without compiled code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.types import Bits


def packed(marks: NDArray[np.bool_]) -> Bits:
    """Pack bool[slots] into bits."""
    padded = np.zeros((marks.shape[0] + 63) // 64 * 64, dtype=bool)
    padded[: marks.shape[0]] = marks
    bits: Bits = np.packbits(padded, bitorder="little").view(np.uint64)
    return bits


def unpacked(bits: Bits, slots: int) -> NDArray[np.bool_]:
    """Unpack bits into bool[slots]."""
    flat = np.unpackbits(bits.view(np.uint8), count=slots, bitorder="little")
    return flat.astype(bool)
