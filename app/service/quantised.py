"""Vectors in fewer bits, for callers who keep them elsewhere: each by itself, by fixed rules.

int8     x · 127 / max|x|, rounded to even: the largest number becomes 127 or −127. The scale is the
         vector's own, so compare by cosine, which it does not touch.
uint8    int8 + 128. Take 128 away before a cosine.
ubinary  one bit a number, 1 where it is above zero; eight in a byte, the first the highest; the
         last byte is filled up with zeros. Compare by Hamming distance.
binary   ubinary − 128, as int8: the same bits but for the highest of each byte, turned over.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.types import F32

Quantised: TypeAlias = Literal["int8", "uint8", "binary", "ubinary"]


def quantise(vectors: F32, to: Quantised) -> NDArray[np.int8] | NDArray[np.uint8]:
    """Turn vectors [row, dim] into int8 or uint8 [row, dim], or [row, ⌈dim / 8⌉] of bits."""
    if to in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=1)
        return bits if to == "ubinary" else _shifted(bits)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    # Divided first: the inverse of the smallest float32 numbers is none of them.
    scaled = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    whole = np.rint(scaled * 127).astype(np.int8)
    return whole if to == "int8" else _lifted(whole)


def _shifted(octets: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (octets ^ 0x80).view(np.int8)  # two's complement: less 128


def _lifted(whole: NDArray[np.int8]) -> NDArray[np.uint8]:
    return whole.view(np.uint8) ^ np.uint8(0x80)
