"""Keys in groups, and the slots that hold each key: how one kind of value is looked up.

The layout is told in `app.attributes.index`. Single lookups go through memoryviews: they give
plain Python numbers, several times faster than numpy's scalars, and Python compares ints with
floats exactly. Many keys at once go through numpy.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Range
from app.types import I64, U8, U32

NO_SLOTS: U32 = np.empty(0, np.uint32)
NO_SLOTS.setflags(write=False)


class Filing:
    """Keys by group (one group a field), ascending within it, and the slots of each key.

    keys     [keys]             any dtype that sorts
    groups   int64[fields + 1]  field f has keys groups[f] … groups[f + 1] − 1
    offsets  [keys + 1]         uint32 or uint64; key i is held by slots[offsets[i]:offsets[i + 1]]
    slots    uint32[postings]   ascending within a key, each slot once

    A *place* is a position among the keys. Returned slots may be views.
    """

    __slots__ = ("_groups", "_key_view", "_keys", "_offset_view", "_offsets", "_slots")

    def __init__(self, keys: NDArray[Any], groups: I64, offsets: NDArray[Any], slots: U32) -> None:
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
        low, high = self.group(field)
        counts = np.diff(self._offsets[low : high + 1].astype(np.int64))
        return [
            (low + at, self.of_place(low + at)) for at in np.flatnonzero(counts >= least).tolist()
        ]

    def of_place(self, place: int) -> U32:
        """Give the slots of one key, ascending."""
        return self._slots[self._offset_view[place] : self._offset_view[place + 1]]

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

    def of_key(self, field: int, key: int | float) -> U32:
        """Give the slots of a key, ascending; none if the field has no such key."""
        low, high = self.group(field)
        place = bisect_left(self._key_view, key, low, high)
        if place < high and self._key_view[place] == key:
            return self.of_place(place)
        return NO_SLOTS

    def of_keys(self, field: int, keys: Sequence[int] | Sequence[float]) -> U32:
        """Give the slots of several distinct keys, none of NaN: any order, with repeats."""
        low, high = self.group(field)
        wanted = np.sort(np.array(keys, self._keys.dtype))
        places = low + np.searchsorted(self._keys[low:high], wanted)
        places = np.minimum(places, max(high - 1, low))
        return self.of_places(places[self._keys[places] == wanted] if high > low else places[:0])

    def of_range(self, field: int, range: Range) -> U32:
        """Give the slots of all keys inside a range: any order, with repeats."""
        first, last = self.group(field)
        if range.low is not None:
            search = bisect_right if range.low_open else bisect_left
            first = search(self._key_view, range.low, first, last)
        if range.high is not None:
            search = bisect_left if range.high_open else bisect_right
            last = search(self._key_view, range.high, first, last)
        return self._slots[self._offset_view[first] : self._offset_view[last]]


class TextFiling(Filing):
    """The filing of strings: its keys are CRC-32s, which the bytes confirm."""

    __slots__ = ("_bounds", "_bytes", "_bytes_view")

    def __init__(
        self,
        hashes: U32,
        groups: I64,
        offsets: NDArray[Any],
        slots: U32,
        text: U8,
        bounds: NDArray[Any],
    ) -> None:
        super().__init__(hashes, groups, offsets, slots)
        self._bytes = text
        self._bytes_view = text.data
        self._bounds = bounds

    def of_text(self, field: int, text: bytes) -> U32:
        """Give the slots of a string in UTF-8, ascending."""
        place = self._place(text, *self.group(field))
        return NO_SLOTS if place is None else self.of_place(place)

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

    def text(self, place: int) -> str:
        """Give a key as a string."""
        return self._text(place).decode()

    def _text(self, place: int) -> bytes:
        return bytes(self._bytes_view[int(self._bounds[place]) : int(self._bounds[place + 1])])

    def of_texts(self, field: int, texts: Sequence[bytes]) -> U32:
        """Give the slots of several distinct strings in UTF-8: any order, with repeats."""
        low, high = self.group(field)
        if low == high:
            return NO_SLOTS
        wanted = np.fromiter(map(zlib.crc32, texts), np.uint32, len(texts))
        order = np.argsort(wanted)  # a search in order walks through memory in order
        wanted = wanted[order]
        places = np.minimum(low + np.searchsorted(self._keys[low:high], wanted), high - 1)
        hit = self._keys[places] == wanted
        places, order = places[hit], order[hit]
        texts = [texts[i] for i in order.tolist()]
        right = self._confirmed(places, texts)
        # Where several keys have that hash, the first need not be the one. `_place` bisects.
        more = [self._place(texts[i], low, high) for i in np.flatnonzero(~right).tolist()]
        found = np.array([place for place in more if place is not None], np.int64)
        return self.of_places(np.concatenate((places[right], found)))

    def _confirmed(self, places: I64, texts: Sequence[bytes]) -> NDArray[np.bool_]:
        """Tell which keys at `places` are byte for byte the `texts` of the same number."""
        starts = self._bounds[places].astype(np.int64)
        sizes = self._bounds[places + 1] - starts
        right = sizes == np.fromiter(map(len, texts), np.int64, len(texts))
        # Compare all bytes of the texts as one array; those of keys of another size do not count.
        sizes = np.where(right, sizes, 0)
        ends = np.cumsum(sizes)
        counted = texts if right.all() else [texts[i] for i in np.flatnonzero(right).tolist()]
        given = b"".join(counted)
        positions = np.repeat(starts - (ends - sizes), sizes) + np.arange(len(given))
        wrong = self._bytes[positions] != np.frombuffer(given, np.uint8)
        before = np.concatenate(([0], np.cumsum(wrong)))
        return cast(NDArray[np.bool_], right & (before[ends] == before[ends - sizes]))
