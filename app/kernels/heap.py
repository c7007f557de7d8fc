"""Binary heaps of uint64 keys, and the order-preserving keys that are kept in them.

A key is the distance's bits, made order-preserving, above a number of 32 bits: one comparison
orders by distance and breaks ties by number, so results are reproducible.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.types import U64


@nb.njit
def ordered(value: np.float32) -> np.uint64:
    """Map a float32 to a uint32 (as uint64) of the same order, negative numbers included."""
    word = np.int64(np.float32(value).view(np.int32))
    if word < 0:
        return np.uint64(~word & 0xFFFFFFFF)
    return np.uint64(word | 0x80000000)


@nb.njit
def unordered(key: np.uint64) -> np.float32:
    """Invert `ordered`."""
    word = np.int64(key)
    if word & 0x80000000:
        return np.int32(word & 0x7FFFFFFF).view(np.float32)
    return np.int32(~word).view(np.float32)


@nb.njit
def key_of(value: np.float32, number: int) -> np.uint64:
    """Join a distance and a number below 2³²."""
    key: np.uint64 = (ordered(value) << np.uint64(32)) | np.uint64(number)
    return key


@nb.njit
def value_of(key: np.uint64) -> np.float32:
    """Give the distance of a key."""
    value: np.float32 = unordered(key >> np.uint64(32))
    return value


@nb.njit
def number_of(key: np.uint64) -> np.int64:
    """Give the number of a key."""
    return np.int64(key & np.uint64(0xFFFFFFFF))


@nb.njit
def push_min(heap: U64, size: int, key: np.uint64) -> None:
    """Sift `key` into the min-heap `heap[:size]`, which grows to `size + 1`."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@nb.njit
def pop_min(heap: U64, size: int) -> np.uint64:
    """Take the least key out of the min-heap `heap[:size]`, which shrinks to `size − 1`."""
    top: np.uint64 = heap[0]
    last = heap[size - 1]
    size -= 1
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return top


@nb.njit
def push_max(heap: U64, size: int, key: np.uint64) -> None:
    """Sift `key` into the max-heap `heap[:size]`, which grows to `size + 1`."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] >= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@nb.njit
def replace_max(heap: U64, size: int, key: np.uint64) -> None:
    """Replace the greatest key of the max-heap `heap[:size]` by `key`."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = key
