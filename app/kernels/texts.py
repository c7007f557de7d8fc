"""Many short texts as one array: their checksums, their order, their equality.

Text i is `text[bounds[i] : bounds[i + 1]]`, bytes.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from app.types import I64, U8, U32, U64

_POLYNOMIAL = 0xEDB88320


def _tables() -> NDArray[np.uint32]:
    """Tabulate the CRC-32 of each byte followed by 0 … 7 zero bytes."""
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        tables[0, byte] = crc
    for zeros in range(1, 8):
        shorter = tables[zeros - 1]
        tables[zeros] = shorter >> 8 ^ tables[0][shorter & 255]
    return tables


_TABLES = _tables()
_BYTE = np.uint32(255)
_BYTES = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_BOUNDS = nb.types.Array(nb.uint64, 1, "C", readonly=True)  # unsigned: no test for negative ones
_NUMBERS = nb.types.Array(nb.int64, 1, "C", readonly=True)


@nb.njit([nb.uint32[::1](_BYTES, _BOUNDS)], cache=True, nogil=True, boundscheck=False)
def crc32s(text: U8, bounds: U64) -> U32:
    """Compute the CRC-32 of every text, as `zlib.crc32` does.

    Source: eight tables, eight bytes a step ("slicing by 8"), Kounavis and Berry, 2005.
    """
    count = bounds.shape[0] - 1
    out = np.empty(count, np.uint32)
    for i in range(count):
        at, end = bounds[i], bounds[i + 1]
        crc = np.uint32(0xFFFFFFFF)
        while at + np.uint64(8) <= end:
            low = crc ^ (
                np.uint32(text[at])
                | np.uint32(text[at + np.uint64(1)]) << np.uint32(8)
                | np.uint32(text[at + np.uint64(2)]) << np.uint32(16)
                | np.uint32(text[at + np.uint64(3)]) << np.uint32(24)
            )
            crc = (
                _TABLES[7, low & _BYTE]
                ^ _TABLES[6, low >> np.uint32(8) & _BYTE]
                ^ _TABLES[5, low >> np.uint32(16) & _BYTE]
                ^ _TABLES[4, low >> np.uint32(24)]
                ^ _TABLES[3, text[at + np.uint64(4)]]
                ^ _TABLES[2, text[at + np.uint64(5)]]
                ^ _TABLES[1, text[at + np.uint64(6)]]
                ^ _TABLES[0, text[at + np.uint64(7)]]
            )
            at += np.uint64(8)
        while at < end:
            crc = crc >> np.uint32(8) ^ _TABLES[0, (crc ^ np.uint32(text[at])) & _BYTE]
            at += np.uint64(1)
        out[i] = ~crc
    return out


@nb.njit([nb.uint8[::1](_BYTES, _BOUNDS, _NUMBERS)], cache=True, nogil=True, boundscheck=False)
def reordered(text: U8, bounds: U64, order: I64) -> U8:
    """Copy all texts, in the order given: a permutation of their numbers."""
    out = np.empty(text.shape[0], np.uint8)
    filled = np.uint64(0)
    for i in range(order.shape[0]):
        number = np.uint64(order[i])
        start = bounds[number]
        size = bounds[number + np.uint64(1)] - start
        for j in range(size):
            out[filled + j] = text[start + j]
        filled += size
    return out


@nb.njit(
    [nb.boolean[::1](_BYTES, _BOUNDS, _BOUNDS, _BYTES, _BOUNDS, _BOUNDS)],
    cache=True,
    nogil=True,
    boundscheck=False,
)
def equal(
    text: U8, starts: U64, ends: U64, other: U8, other_starts: U64, other_ends: U64
) -> NDArray[np.bool_]:
    """Tell which `text[starts[i] : ends[i]]` are byte for byte the `other` text of that number."""
    out = np.empty(starts.shape[0], np.bool_)
    for i in range(starts.shape[0]):
        start, other_start = starts[i], other_starts[i]
        size = ends[i] - start
        same = size == other_ends[i] - other_start
        if same:
            differing = np.uint8(0)
            for j in range(size):
                differing |= text[start + j] ^ other[other_start + j]
            same = differing == np.uint8(0)
        out[i] = same
    return out
