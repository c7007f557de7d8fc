"""Many values of one condition, in the order in which an index keeps its keys.

A `$in` of ten thousand values would be sorted and hashed for its canonical form, and again by
every segment that looks it up. It is done once, on arrays: texts by (CRC-32, bytes), as
`app.attributes.index` tells, and numbers by value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64, I64, U8, U32, U64

MANY = 32  # values from which arrays beat single steps: strings from 24, floats from 48


class Listed:
    """Distinct strings and numbers, ascending.

    text, bounds  string i in UTF-8 is text[bounds[i] : bounds[i + 1]]
    hashes        its CRC-32; equal ones stand side by side, in the order of their bytes
    ints, floats  the numbers, as `exact_number` gives them
    """

    __slots__ = ("bounds", "floats", "hashes", "ints", "text")

    def __init__(self, strings: Collection[str], numbers: Collection[int | float]) -> None:
        self.text, self.bounds, self.hashes = _sorted_texts(strings)
        kinds = set(map(type, numbers))
        whole: Collection[int | float] = numbers
        fractional: Collection[int | float] = ()
        if kinds == {float}:
            whole, fractional = (), numbers
        elif len(kinds) == 2:
            whole = [number for number in numbers if type(number) is int]
            fractional = [number for number in numbers if type(number) is float]
        self.ints: I64 = np.sort(np.fromiter(whole, np.int64, len(whole)))
        self.floats: F64 = np.sort(np.fromiter(fractional, np.float64, len(fractional)))

    def digest(self) -> str:
        """Name the values: 256 bits, in hexadecimal."""
        name = sha256()
        for array in (self.bounds, self.text, self.ints, self.floats):
            name.update(array.shape[0].to_bytes(8, "little"))
            name.update(array.data)
        return name.hexdigest()


def _sorted_texts(strings: Collection[str]) -> tuple[U8, U64, U32]:
    # Where this runs, kernels are loaded; the process that only builds indexes does without.
    from app.kernels import texts

    joined = "".join(strings)
    encoded = joined.encode()
    sizes = map(len, strings if joined.isascii() else map(str.encode, strings))
    bounds = _bounds(np.fromiter(sizes, np.int64, len(strings)))
    text: U8 = np.frombuffer(encoded, np.uint8)
    hashes = texts.crc32s(text, bounds)
    order = np.argsort(hashes)
    hashes = hashes[order]
    put_runs_in_order(
        hashes, order, lambda number: encoded[int(bounds[number]) : int(bounds[number + 1])]
    )
    return texts.reordered(text, bounds, order), _bounds(np.diff(bounds)[order]), hashes


def _bounds(sizes: NDArray[Any]) -> U64:
    bounds = np.zeros(sizes.shape[0] + 1, np.uint64)
    bounds[1:] = np.cumsum(sizes)
    return bounds


def put_runs_in_order(hashes: U32, order: I64, text: Callable[[int], bytes]) -> None:
    """Sort, in place, those stretches of `order` that share a hash, by their bytes.

    hashes  ascending; hashes[i] is that of `text(order[i])`
    """
    alike = np.flatnonzero(hashes[1:] == hashes[:-1])
    for run in np.split(alike, np.flatnonzero(np.diff(alike) > 1) + 1) if alike.size else []:
        among = slice(int(run[0]), int(run[-1]) + 2)
        order[among] = sorted(order[among].tolist(), key=text)
