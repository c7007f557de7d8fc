"""One kind of values of one field, and the slots that hold each: for counting and ordering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32, AttributeScalar

KeyedKind: TypeAlias = Literal["strings", "ints", "floats", "instants", "flags"]
"""Of which an index keeps values apart; `flags` are null, false and true."""

FLAG_VALUES = (None, False, True)


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """Values 0 … n − 1, each once, and who holds them. All arrays are read-only.

    offsets  [n + 1] uint32 or uint64; value i is held by slots[offsets[i] : offsets[i + 1]]
    slots    uint32, ascending within a value, each once; those of a growing index may be newer
             than the caller's count
    value    gives a value by its number
    keys     int64 or float64 [n], ascending, where values are numbers or instants
    order    gives int64[n], the numbers of strings in order of their text
    """

    offsets: NDArray[Any]
    slots: U32
    value: Callable[[int], AttributeScalar]
    keys: NDArray[Any] | None = None
    order: Callable[[], I64] | None = None

    def __len__(self) -> int:
        values: int = self.offsets.shape[0] - 1
        return values


def keyed_numbers(offsets: NDArray[Any], slots: U32, keys: NDArray[Any]) -> Keyed:
    """Make one of numbers."""
    return Keyed(frozen(offsets), frozen(slots), keys.data.__getitem__, keys)


def keyed_flags(offsets: NDArray[Any], slots: U32) -> Keyed:
    """Make one of null, false and true."""
    return Keyed(frozen(offsets), frozen(slots), FLAG_VALUES.__getitem__)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Give a read-only view: kernels are compiled for these."""
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def grouped(codes: I64, owners: U32, groups: int) -> tuple[I64, U32]:
    """Group slots by the number, below `groups`, of the value that they hold.

    codes    int64[n]
    owners   uint32[n], ascending
    returns  int64[groups] sizes, and the slots, ascending within a group, each once
    """
    order = np.argsort(codes, kind="stable")
    codes, owners = codes[order], owners[order]
    # A list may repeat an element: its slot then stands beside itself.
    first = np.ones(codes.shape[0], np.bool_)
    first[1:] = (codes[1:] != codes[:-1]) | (owners[1:] != owners[:-1])
    return np.bincount(codes[first], minlength=groups).astype(np.int64), owners[first]
