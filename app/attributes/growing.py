"""The attribute index of points that still arrive: one writer appends, any number of readers read.

Theory of operation
-------------------
Nothing is ever changed or removed, only appended, and every step that a reader could see half
done is one operation under the interpreter's lock: appending to a list, putting a key into a dict,
storing a count. So readers take no lock. They may see slots of points appended after they noted
`slots`; those are for them to drop (`app.attributes.evaluate` does). Points they did note are
complete: `slots` grows last.

Postings are Python lists under Python keys: right for some ten thousand points that come one by
one, too big for a million. Numbers and instants stand in arrays besides, for ranges by one scan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.attributes.filing import NO_SLOTS
from app.attributes.filter import Range, Values
from app.attributes.values import INT64_MAX, INT64_MIN, elements, instant_us
from app.types import U32, Attributes, AttributeScalar


class GrowingIndex:
    """Which slots hold which values, of a segment that grows. See `AttributeIndex` for the reads.

    slots  points appended so far
    """

    def __init__(self) -> None:
        self.slots = 0
        self._columns: dict[str, _Column] = {}

    def append(self, attributes: Attributes) -> None:
        """Add the next point (attributes as `check_attributes` returned them). One writer only."""
        slot = self.slots
        for field, value in attributes.items():
            column = self._columns.get(field)
            if column is None:
                column = self._columns[field] = _Column()
            column.present.append(slot)
            for element in elements(value):
                column.add(element, slot)
        self.slots = slot + 1

    def slots_equal(self, field: str, values: Values) -> U32:
        """Find the slots with an element of `field` among `values`: any order, with repeats."""
        column = self._columns.get(field)
        if column is None:
            return NO_SLOTS
        found: list[int] = []
        for string in values.strings:
            found.extend(column.strings.get(string, ()))
        for number in values.numbers:
            found.extend(column.numbers.get(number, ()))
        for value in values.bools:
            found.extend(column.bools[value])
        if values.null:
            found.extend(column.nulls)
        return np.array(found, np.uint32)

    def slots_in_range(self, range: Range) -> U32:
        """Find the slots with an element inside the range: any order, with repeats."""
        column = self._columns.get(range.field)
        if column is None:
            return NO_SLOTS
        if range.over == "instants":
            return column.instants.inside(*_int_bounds(range))
        return np.concatenate(
            (
                column.ints.inside(*_int_bounds(range)),
                column.floats.inside(*_float_bounds(range)),
            )
        )

    def slots_present(self, field: str) -> U32:
        """Find the slots that have `field`, ascending."""
        column = self._columns.get(field)
        return NO_SLOTS if column is None else np.array(column.present[:], np.uint32)


class _Column:
    """The elements of one field so far."""

    __slots__ = (
        "bools",
        "floats",
        "instants",
        "ints",
        "nulls",
        "numbers",
        "present",
        "strings",
    )

    def __init__(self) -> None:
        self.present: list[int] = []
        self.nulls: list[int] = []
        self.bools: tuple[list[int], list[int]] = ([], [])
        self.strings: dict[str, list[int]] = {}
        self.numbers: dict[int | float, list[int]] = {}
        self.ints = _Pairs(np.int64)
        self.floats = _Pairs(np.float64)
        self.instants = _Pairs(np.int64)

    def add(self, element: AttributeScalar, slot: int) -> None:
        if element is None:
            self.nulls.append(slot)
        elif isinstance(element, bool):
            self.bools[element].append(slot)
        elif isinstance(element, str):
            self.strings.setdefault(element, []).append(slot)
            instant = instant_us(element)
            if instant is not None:
                self.instants.add(instant, slot)
        else:
            # Equal numbers are one key of a dict, 1 and 1.0 too, and no rounding is involved.
            self.numbers.setdefault(element, []).append(slot)
            (self.ints if isinstance(element, int) else self.floats).add(element, slot)


class _Pairs:
    """Values and their slots in two arrays that double when full.

    Readers take the count first: whichever arrays they then meet hold at least so many pairs.
    """

    __slots__ = ("_arrays", "_count")

    def __init__(self, dtype: Any) -> None:
        self._arrays: tuple[NDArray[Any], U32] = (np.empty(0, dtype), np.empty(0, np.uint32))
        self._count = 0

    def add(self, value: int | float, slot: int) -> None:
        values, slots = self._arrays
        count = self._count
        if count == len(values):
            grown = (
                np.empty(max(16, 2 * count), values.dtype),
                np.empty(max(16, 2 * count), np.uint32),
            )
            grown[0][:count] = values
            grown[1][:count] = slots
            self._arrays = values, slots = grown
        values[count] = value
        slots[count] = slot
        self._count = count + 1

    def inside(self, low: int | float, high: int | float) -> U32:
        """Find the slots of the values from `low` to `high`, both included."""
        count = self._count
        values, slots = self._arrays
        if low > high:
            return NO_SLOTS
        values = values[:count]
        found: U32 = slots[:count][(values >= low) & (values <= high)]
        return found


def _int_bounds(range: Range) -> tuple[int, int]:
    """Give the least and the greatest integer of 64 bits inside (least > greatest: none)."""
    low, high = INT64_MIN, INT64_MAX
    if range.low is not None:
        low = max(low, math.floor(range.low) + 1 if range.low_open else math.ceil(range.low))
    if range.high is not None:
        high = min(high, math.ceil(range.high) - 1 if range.high_open else math.floor(range.high))
    # Past the end of int64 numpy 1 would compare as floats, and find the end itself inside.
    return (low, high) if low <= INT64_MAX and high >= INT64_MIN else (1, 0)


def _float_bounds(range: Range) -> tuple[float, float]:
    """Give the least and the greatest float inside."""
    low, high = -math.inf, math.inf
    if range.low is not None:
        low = float(range.low)
        if low < range.low or (range.low_open and low == range.low):
            low = math.nextafter(low, math.inf)
    if range.high is not None:
        high = float(range.high)
        if high > range.high or (range.high_open and high == range.high):
            high = math.nextafter(high, -math.inf)
    return low, high
