"""Keys in groups, and the slots that hold each key: how one kind of value is looked up.

The layout is told in `app.attributes.index`. Single lookups go through memoryviews: they give
plain Python numbers, several times faster than numpy's scalars, and Python compares ints with
floats exactly. Many keys at once go through numpy.

What is wide is given as bits. The bits of a frequent key are made once and kept, those of a range
come from `app.attributes.prefixes`; together they take no more than about twice the bytes of the
postings. Two threads may make the same at once: the last one stays, and both are right.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Range
from app.attributes.keyed import Keyed, frozen, keyed_numbers
from app.attributes.listed import Listed
from app.attributes.places import EARTH_RADIUS_M, Area, Place, Radius
from app.types import F64, I64, U8, U32, Bits

if TYPE_CHECKING:  # compiled code, which the process that builds indexes does without
    from app.attributes.prefixes import Prefixes

Found: TypeAlias = NDArray[Any]
"""A set of slots as a lookup gives it: *narrow*, uint32 slots in any order, perhaps repeated; or
*wide*, `Bits`. What cannot be written to is borrowed."""

NO_SLOTS: U32 = np.empty(0, np.uint32)
NO_SLOTS.setflags(write=False)


def most_narrow(slots: int) -> int:
    """Count the slots from a segment of `slots` that take no more bytes as uint32 than as bits."""
    return slots // 32


class Filing:
    """Keys by group (one group a field), ascending within it, and the slots of each key.

    keys     [keys]             any dtype that sorts
    groups   int64[fields + 1]  field f has keys groups[f] … groups[f + 1] − 1
    offsets  [keys + 1]         uint32 or uint64; key i is held by slots[offsets[i]:offsets[i + 1]]
    slots    uint32[postings]   ascending within a key, each slot once

    rows     slots of the segment

    A *place* is a position among the keys. Returned slots may be views.
    """

    __slots__ = (
        "_groups",
        "_key_view",
        "_keys",
        "_most_narrow",
        "_offset_view",
        "_offsets",
        "_prefixes",
        "_rows",
        "_slots",
        "_wide",
    )

    def __init__(
        self, keys: NDArray[Any], groups: I64, offsets: NDArray[Any], slots: U32, rows: int
    ) -> None:
        self._rows = rows
        self._most_narrow = most_narrow(rows)
        self._wide: dict[int, Bits] = {}  # by place
        self._prefixes: dict[int, Prefixes | None] = {}  # by field
        self._keys = keys
        self._offsets = offsets
        self._slots = slots
        self._groups = groups.data
        self._key_view = keys.data
        self._offset_view = offsets.data

    def group(self, field: int) -> tuple[int, int]:
        """Give the first place of a field and the one past its last."""
        return self._groups[field], self._groups[field + 1]

    def key(self, place: int) -> int | float:
        """Give a key as a Python number."""
        key: int | float = self._key_view[place]
        return key

    def frequent(self, field: int, least: int) -> list[tuple[int, U32]]:
        """List the places of a field's keys that `least` slots or more hold, and those slots."""
        low, _ = self.group(field)
        _, counts = self.counts(field)
        return [
            (low + at, self.of_place(low + at)) for at in np.flatnonzero(counts >= least).tolist()
        ]

    def of_place(self, place: int) -> U32:
        """Give the slots of one key, ascending."""
        return self._slots[self._offset_view[place] : self._offset_view[place + 1]]

    def set_of_place(self, place: int) -> Found:
        """Give the slots of one key as a set."""
        first, last = self._offset_view[place], self._offset_view[place + 1]
        if last - first <= self._most_narrow:
            return self._slots[first:last]
        wide = self._wide.get(place)
        if wide is None:
            wide = self._wide[place] = made_wide(self._slots[first:last], self._rows)
        return wide

    def of_places(self, places: I64) -> U32:
        """Give the slots of several keys, one key after the other."""
        starts = self._offsets[places].astype(np.int64)
        sizes = self._offsets[places + 1] - starts
        total = int(sizes.sum())
        if total == sizes.shape[0]:
            return self._slots[starts]
        # Position i of the answer is `i − (answers before its key) + (start of its key)`.
        shift = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        return self._slots[shift + np.arange(total)]

    def set_of_key(self, field: int, key: int | float) -> Found:
        """Give the slots of a key; none if the field has no such key."""
        low, high = self.group(field)
        place = bisect_left(self._key_view, key, low, high)
        if place < high and self._key_view[place] == key:
            return self.set_of_place(place)
        return NO_SLOTS

    def of_keys(self, field: int, keys: NDArray[Any]) -> U32:
        """Give the slots of distinct keys, ascending and none of NaN: any order, with repeats."""
        low, high = self.group(field)
        if low == high or keys.shape[0] == 0:
            return NO_SLOTS
        places = np.minimum(low + np.searchsorted(self._keys[low:high], keys), high - 1)
        return self.of_places(places[self._keys[places] == keys])

    def set_of_range(self, field: int, range: Range) -> Found:
        """Give the slots of all keys inside a range."""
        one, other = self._postings_in(field, range)
        if other - one > self._most_narrow:
            prefixes = self._prefixes_of(field)
            if prefixes is not None:
                before = self._offset_view[self._groups[field]]
                return prefixes.between(one - before, other - before)
        return self._slots[one:other]

    def slots_in_range(self, field: int, range: Range) -> U32:
        """Give the slots of all keys inside a range, one key after the other."""
        one, other = self._postings_in(field, range)
        return self._slots[one:other]

    def _postings_in(self, field: int, range: Range) -> tuple[int, int]:
        first, last = self.group(field)
        if range.low is not None:
            search = bisect_right if range.low_open else bisect_left
            first = search(self._key_view, range.low, first, last)
        if range.high is not None:
            search = bisect_left if range.high_open else bisect_right
            last = search(self._key_view, range.high, first, last)
        return self._offset_view[first], self._offset_view[last]

    def keyed(self, field: int) -> Keyed:
        """Give the keys of a field, ascending, and the slots of each."""
        low, high = self.group(field)
        return keyed_numbers(self._offsets[low : high + 1], self._slots, self._keys[low:high])

    def counts(self, field: int) -> tuple[NDArray[Any], I64]:
        """Give the keys of a field, ascending, and how many slots hold each: int64[keys]."""
        low, high = self.group(field)
        offsets = self._offsets[low : high + 1].astype(np.int64)
        return self._keys[low:high], offsets[1:] - offsets[:-1]

    def postings(self, field: int) -> U32:
        """Give the slots of all keys of a field, one key after the other."""
        low, high = self.group(field)
        return self._slots[self._offset_view[low] : self._offset_view[high]]

    def _prefixes_of(self, field: int) -> Prefixes | None:
        """Give the sets that make wide ranges cheap; None if a slot holds two keys of the field."""
        try:
            return self._prefixes[field]
        except KeyError:
            from app.attributes.prefixes import Prefixes

            low, high = self.group(field)
            offsets = self._offsets[low : high + 1]
            made = Prefixes.of(self.postings(field), offsets, self._rows)
            self._prefixes[field] = made
            return made


def made_wide(slots: U32, rows: int) -> Bits:
    """Make bits of slots, read-only."""
    from app.kernels import bits

    wide = bits.empty(rows)
    bits.set_slots(wide, slots)
    wide.flags.writeable = False
    return wide


def all_different(slots: U32, rows: int) -> bool:
    """Tell whether no slot stands twice."""
    from app.kernels import bits

    if slots.shape[0] > rows:
        return False
    different: bool = bits.count(made_wide(slots, rows)) == slots.shape[0]
    return different


class TextFiling(Filing):
    """The filing of strings: its keys are CRC-32s, which the bytes confirm."""

    __slots__ = ("_bounds", "_bytes", "_bytes_view", "_orders")

    def __init__(
        self,
        hashes: U32,
        groups: I64,
        offsets: NDArray[Any],
        slots: U32,
        rows: int,
        text: U8,
        bounds: NDArray[Any],
    ) -> None:
        super().__init__(hashes, groups, offsets, slots, rows)
        self._orders: dict[int, I64] = {}  # by field
        self._bytes = text
        self._bytes_view = text.data
        self._bounds = bounds

    def set_of_text(self, field: int, text: bytes) -> Found:
        """Give the slots of a string in UTF-8."""
        place = self._place(text, *self.group(field))
        return NO_SLOTS if place is None else self.set_of_place(place)

    def _place(self, text: bytes, low: int, high: int) -> int | None:
        """Find `text` among the keys `low` … `high − 1`."""
        wanted = zlib.crc32(text)
        place = bisect_left(self._key_view, wanted, low, high)
        if place == high or self._key_view[place] != wanted:
            return None
        if place + 1 < high and self._key_view[place + 1] == wanted:
            last = bisect_right(self._key_view, wanted, place, high)
            place += bisect_left(range(place, last), text, key=self._text)
            if place == last:
                return None
        return place if self._text(place) == text else None

    def keyed(self, field: int) -> Keyed:
        """Give the strings of a field, in the order of their hashes, and the slots of each."""
        low, high = self.group(field)
        return Keyed(
            frozen(self._offsets[low : high + 1]),
            frozen(self._slots),
            lambda number: self.text(low + number),
            order=lambda: self._order(field),
        )

    def _order(self, field: int) -> I64:
        """Sort the strings of a field by text: once, about a microsecond each, and kept."""
        order = self._orders.get(field)
        if order is None:
            low, high = self.group(field)
            texts = list(map(self._text, range(low, high)))
            order = np.array(sorted(range(high - low), key=texts.__getitem__), np.int64)
            self._orders[field] = order
        return order

    def text(self, place: int) -> str:
        """Give a key as a string."""
        return self._text(place).decode()

    def _text(self, place: int) -> bytes:
        return bytes(self._bytes_view[int(self._bounds[place]) : int(self._bounds[place + 1])])

    def of_texts(self, field: int, listed: Listed) -> U32:
        """Give the slots of many strings: any order, with repeats."""
        from app.kernels import texts

        low, high = self.group(field)
        if low == high or listed.hashes.shape[0] == 0:
            return NO_SLOTS
        places = np.minimum(low + np.searchsorted(self._keys[low:high], listed.hashes), high - 1)
        hit = np.flatnonzero(self._keys[places] == listed.hashes)
        places = places[hit]
        starts, ends = listed.bounds[hit], listed.bounds[hit + 1]
        right = texts.equal(
            self._bytes,
            self._bounds[places].astype(np.uint64),
            self._bounds[places + 1].astype(np.uint64),
            listed.text,
            starts,
            ends,
        )
        # Where several keys have that hash, the first need not be the one. `_place` bisects.
        wrong = zip(starts[~right].tolist(), ends[~right].tolist(), strict=True)
        more = [self._place(listed.text[start:end].tobytes(), low, high) for start, end in wrong]
        found = np.array([place for place in more if place is not None], np.int64)
        return self.of_places(np.concatenate((places[right], found)))


_FIRST_RADIUS_M = 100.0
_HALF_WAY_ROUND_M = math.pi * EARTH_RADIUS_M


def of_set(bits: Bits, slots: U32, metres: F64) -> tuple[U32, F64]:
    """Keep the slots that are in a set, each once with its least distance, nearest first."""
    words = slots >> 6
    known = words < bits.shape[0]  # a growing index may know newer slots than the set
    slots, metres, words = slots[known], metres[known], words[known]
    held = (bits[words] >> (slots & 63).astype(np.uint64) & np.uint64(1)).astype(np.bool_)
    slots, metres = slots[held], metres[held]
    order = np.argsort(metres, kind="stable")
    first = np.sort(np.unique(slots[order], return_index=True)[1])
    return slots[order][first], metres[order][first]


class PlaceFiling(Filing):
    """The filing of places: its keys are Morton codes, which latitudes and longitudes confirm."""

    __slots__ = ("_lats", "_lons")

    def __init__(
        self,
        codes: NDArray[Any],
        groups: I64,
        offsets: NDArray[Any],
        slots: U32,
        rows: int,
        lats: F64,
        lons: F64,
    ) -> None:
        for array in (codes, offsets, slots, lats, lons):
            array.flags.writeable = False  # as mapped ones are: one layout is compiled
        super().__init__(codes, groups, offsets, slots, rows)
        self._lats = lats
        self._lons = lons

    def set_within(self, field: int, area: Area) -> Found:
        """Give the slots of all places inside an area: any order, with repeats."""
        from app.kernels import geo

        first, last = self.group(field)
        if first == last:
            return NO_SLOTS
        found: Found = geo.slots_within(
            area.kind,
            area.shape,
            self._keys,
            self._lats,
            self._lons,
            first,
            last,
            self._offsets,
            self._slots,
            False,
        )[0]
        return found

    def nearest(self, field: int, centre: Place, bits: Bits, most: int) -> tuple[U32, F64]:
        """Give slots of a set by their nearest place; see `AttributeReader.nearest_places`."""
        radius_m = _FIRST_RADIUS_M
        while True:
            slots, metres = of_set(bits, *self._measured(field, Radius(centre, radius_m)))
            if slots.shape[0] >= most or radius_m > _HALF_WAY_ROUND_M:
                return slots, metres
            radius_m *= 3

    def _measured(self, field: int, area: Radius) -> tuple[U32, F64]:
        """Give the slots of all places in a radius, with repeats, and the metres to each place."""
        from app.kernels import geo

        first, last = self.group(field)
        found: tuple[U32, F64] = geo.slots_within(
            area.kind,
            area.shape,
            self._keys,
            self._lats,
            self._lons,
            first,
            last,
            self._offsets,
            self._slots,
            True,
        )
        return found
