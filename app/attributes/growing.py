"""The attribute index of points that still arrive: one writer appends, any number of readers read.

Theory of operation
-------------------
Nothing is ever changed or removed, only appended, and every step that a reader could see half
done is one operation under the interpreter's lock: appending to an array, copying an array,
putting a key into a dict, storing a count. So readers take no lock. They may see slots of points
appended after they noted `slots`; those are for them to drop (`app.attributes.evaluate` does).
Points they did note are complete: `slots` grows last.

A reader copies postings rather than look into them: an array that is looked into cannot grow.

Postings are arrays under Python keys: right for some ten thousand points that come one by
one, too big for a million. Numbers and instants stand in arrays besides, for ranges by one scan.
"""

from __future__ import annotations

import math
from array import array
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.attributes.filing import NO_SLOTS, Found, of_set
from app.attributes.filter import Range, Values, Within
from app.attributes.keyed import Keyed, KeyedKind, frozen, grouped, keyed_flags, keyed_numbers
from app.attributes.places import Area, Place, place_from
from app.attributes.values import INT64_MAX, INT64_MIN, elements, instant_us
from app.kernels import bits as kernels
from app.kernels import geo
from app.types import F64, I64, U32, AttributeElement, Attributes, Bits


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

    def sets_equal(self, field: str, values: Values) -> list[Found]:
        """Find the slots with an element of `field` among `values`: the union of the sets."""
        column = self._columns.get(field)
        if column is None:
            return []
        postings = [
            *map(column.strings.get, values.strings),
            *map(column.numbers.get, values.numbers),
            *(column.bools[value] for value in values.bools),
            column.nulls if values.null else None,
        ]
        held = [slots.tobytes() for slots in postings if slots is not None]
        return [np.frombuffer(b"".join(held), np.uint32)]

    def sets_in_range(self, range: Range) -> list[Found]:
        """Find the slots with an element inside the range: the union of the sets."""
        column = self._columns.get(range.field)
        if column is None:
            return []
        if range.over == "instants":
            return [column.instants.inside(*_int_bounds(range))]
        return [
            column.ints.inside(*_int_bounds(range)),
            column.floats.inside(*_float_bounds(range)),
        ]

    def sets_within(self, within: Within) -> list[Found]:
        """Find the slots with a place inside the area: the union of the sets."""
        column = self._columns.get(within.field)
        return [] if column is None else [column.places.within(within.area)]

    def set_present(self, field: str) -> tuple[Found, bool]:
        """Find the slots that have `field`."""
        column = self._columns.get(field)
        if column is None:
            return NO_SLOTS, False
        return np.frombuffer(column.present.tobytes(), np.uint32), False

    def keyed(self, field: str, kind: KeyedKind) -> Keyed | None:
        """List the values of one kind that a field has so far, and who holds each; None: none.

        This sorts them: the work of a head, which is small.
        """
        column = self._columns.get(field)
        if column is None:
            return None
        if kind == "strings":
            return _keyed_strings(list(column.strings.items()))
        if kind == "flags":
            lists = (column.nulls, *column.bools)
            return keyed_flags(
                *_filed([np.frombuffer(held.tobytes(), np.uint32) for held in lists])
            )
        if kind == "instants":
            return _keyed_numbers(*column.instants.pairs())
        floats, float_slots = column.floats.pairs()
        # As `exact_number`, for all at once: no integer of 64 bits may hide among the floats.
        integral = (floats == np.floor(floats)) & (floats >= INT64_MIN) & (floats < 2.0**63)
        if kind == "floats":
            return _keyed_numbers(floats[~integral], float_slots[~integral])
        ints, slots = column.ints.pairs()
        if integral.any():
            ints = np.concatenate((ints, floats[integral].astype(np.int64)))
            slots = np.concatenate((slots, float_slots[integral]))
            ascending = np.argsort(slots, kind="stable")
            ints, slots = ints[ascending], slots[ascending]
        return _keyed_numbers(ints, slots)

    def nearest_places(self, field: str, centre: Place, bits: Bits, most: int) -> tuple[U32, F64]:
        """List slots of a set by their nearest place; see `AttributeReader.nearest_places`."""
        column = self._columns.get(field)
        if column is None:
            return NO_SLOTS, np.empty(0)
        places, slots = column.places.pairs()
        return of_set(bits, slots, geo.metres_from(*centre, places))

    def is_single(self, field: str, over: str) -> bool:
        """Tell nothing: the next point may change it."""
        return False


class _Column:
    """The elements of one field so far."""

    __slots__ = (
        "bools",
        "floats",
        "instants",
        "ints",
        "nulls",
        "numbers",
        "places",
        "present",
        "strings",
    )

    def __init__(self) -> None:
        self.present = _postings()
        self.nulls = _postings()
        self.bools = (_postings(), _postings())
        self.strings: dict[str, array[int]] = {}
        self.numbers: dict[int | float, array[int]] = {}
        self.ints = _Pairs(np.int64)
        self.floats = _Pairs(np.float64)
        self.instants = _Pairs(np.int64)
        self.places = _Pairs(np.float64, 2)

    def add(self, element: AttributeElement, slot: int) -> None:
        if element is None:
            self.nulls.append(slot)
        elif isinstance(element, bool):
            self.bools[element].append(slot)
        elif isinstance(element, str):
            _append(self.strings, element, slot)
            instant = instant_us(element)
            if instant is not None:
                self.instants.add(instant, slot)
        elif isinstance(element, dict):
            self.places.add(place_from(element), slot)
        else:
            # Equal numbers are one key of a dict, 1 and 1.0 too, and no rounding is involved.
            _append(self.numbers, element, slot)
            (self.ints if isinstance(element, int) else self.floats).add(element, slot)


def _keyed_numbers(values: NDArray[Any], slots: U32) -> Keyed:
    keys, codes = np.unique(values, return_inverse=True)
    sizes, held = grouped(codes, slots, len(keys))
    return keyed_numbers(_bounds(sizes), held, keys)


def _keyed_strings(postings: list[tuple[str, array[int]]]) -> Keyed:
    texts = [text for text, _ in postings]
    offsets, slots = _filed([np.frombuffer(held.tobytes(), np.uint32) for _, held in postings])

    def order() -> I64:
        return np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)

    return Keyed(frozen(offsets), frozen(slots), texts.__getitem__, order=order)


def _filed(lists: list[U32]) -> tuple[NDArray[np.uint32], U32]:
    """Join lists of slots into offsets and slots, each slot once in a list."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    codes = np.repeat(np.arange(len(lists)), lengths)
    # Each list ascends, so a slot that stands twice stands beside itself.
    slots = np.concatenate([NO_SLOTS, *lists])
    first = np.ones(codes.shape[0], np.bool_)
    first[1:] = (codes[1:] != codes[:-1]) | (slots[1:] != slots[:-1])
    return _bounds(np.bincount(codes[first], minlength=len(lists))), slots[first]


def _bounds(sizes: NDArray[Any]) -> NDArray[np.uint32]:
    bounds = np.zeros(sizes.shape[0] + 1, np.uint32)
    np.cumsum(sizes, out=bounds[1:])
    return bounds


_Key = TypeVar("_Key")


def _postings(*slots: int) -> array[int]:
    return array("I", slots)


def _append(postings: dict[_Key, array[int]], key: _Key, slot: int) -> None:
    held = postings.get(key)
    if held is None:
        postings[key] = _postings(slot)
    else:
        held.append(slot)


class _Pairs:
    """Values, of one number each or several, and their slots in two arrays that double when full.

    Readers take the count first: whichever arrays they then meet hold at least so many pairs.
    """

    __slots__ = ("_arrays", "_count")

    def __init__(self, dtype: Any, *width: int) -> None:
        self._arrays: tuple[NDArray[Any], U32] = (
            np.empty((0, *width), dtype),
            np.empty(0, np.uint32),
        )
        self._count = 0

    def add(self, value: int | float | tuple[float, float], slot: int) -> None:
        values, slots = self._arrays
        count = self._count
        if count == len(values):
            grown = (
                np.empty((max(16, 2 * count), *values.shape[1:]), values.dtype),
                np.empty(max(16, 2 * count), np.uint32),
            )
            grown[0][:count] = values
            grown[1][:count] = slots
            self._arrays = values, slots = grown
        values[count] = value
        slots[count] = slot
        self._count = count + 1

    def pairs(self) -> tuple[NDArray[Any], U32]:
        """Give the values so far, and their slots, ascending."""
        count = self._count
        values, slots = self._arrays
        return values[:count], slots[:count]

    def inside(self, low: int | float, high: int | float) -> U32:
        """Find the slots of the values from `low` to `high`, both included."""
        if low > high:
            return NO_SLOTS
        found: U32 = kernels.slots_inside(*self.pairs(), low, high)
        return found

    def within(self, area: Area) -> U32:
        """Find the slots of the places inside an area."""
        found: U32 = geo.slots_inside(area.kind, area.shape, *self.pairs())
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
