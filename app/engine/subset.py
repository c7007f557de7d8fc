"""Some points of a snapshot, counted and ordered by their attributes: from the index alone.

Theory of operation
-------------------
A subset is a set of slots for each part. Each part's index lists the values of a field with the
slots that hold them; what a value has in common with the set is its count. Counts of all parts are
added value by value, so the answer does not depend on how the points are spread over parts.

An order walks the values of each part from one end and takes out of the set whatever holds them,
until enough is found and a value has ended; then the parts' beginnings are merged. It looks at as
many postings as it takes to find that many, which are few unless the set is small among them. Ties
at the cut are settled by id, as in `app.engine.search`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.attributes.keyed import FLAG_VALUES, Keyed, KeyedKind, frozen
from app.attributes.places import EARTH_RADIUS_M, Place
from app.engine.snapshot import LivePart
from app.exchange import Facet, Numbers, Order, Ordered
from app.kernels import bits as bitset
from app.kernels import groups
from app.types import I64, AttributeScalar, Bits

Value = int | float | str


class SnapshotSubset:
    """A `Subset` over the parts of one snapshot. For one thread at a time."""

    def __init__(self, parts: Sequence[tuple[LivePart, Bits]]) -> None:
        self._parts = [(live, frozen(bits)) for live, bits in parts if live.count]

    @property
    def points(self) -> int:
        """Count the points."""
        return sum(bitset.count(bits) for _, bits in self._parts)

    def facet(self, field: str, most: int) -> Facet:
        """Count values; see `Subset.facet`."""
        counted = {kind: self._counted(field, kind) for kind in _VALUES}
        flags = sum((counts for _, counts in counted["flags"]), _NO_FLAGS).tolist()
        found: list[tuple[AttributeScalar, int]] = [
            (value, count) for value, count in zip(FLAG_VALUES, flags, strict=True) if count
        ]
        distinct = len(found)
        for numbers, dtype in ((counted["ints"], np.int64), (counted["floats"], np.float64)):
            keys, counts = _added(numbers, dtype)
            distinct += keys.shape[0]
            first = np.lexsort((keys, -counts))[:most]
            found += zip(keys[first].tolist(), counts[first].tolist(), strict=True)
        texts, different = _frequent_texts(counted["strings"], most)
        found += texts
        found.sort(key=lambda pair: (-pair[1], _place_among_ties(pair[0])))
        return Facet(found[:most], distinct + different, self._missing(field, _VALUES))

    def numbers(self, field: str, over: Literal["numbers", "instants"]) -> Numbers:
        """Count numbers or instants; see `Subset.numbers`."""
        if over == "instants":
            instants = _added(self._counted(field, "instants"), np.int64)
            nothing = _added([], np.float64)
            return Numbers(*instants, *nothing, self._missing(field, ("instants",)))
        return Numbers(
            *_added(self._counted(field, "ints"), np.int64),
            *_added(self._counted(field, "floats"), np.float64),
            self._missing(field, ("ints", "floats")),
        )

    def in_order(self, order: Order, most: int) -> Ordered:
        """List points in an order; see `Subset.in_order`."""
        found: list[_Placed] = []
        missing: list[_Placed] = []
        for live, bits in self._parts:
            walk = _Walk(live, bits.copy(), most)
            walk.run(order)
            found += walk.found()
            missing += walk.missing()
        found.sort(key=lambda one: one.key)
        # Stable, also in reverse: of equal values the ids still ascend.
        found.sort(key=lambda one: _comparable(one.value), reverse=order.descending)
        missing.sort(key=lambda one: one.key)
        page = (found + missing)[:most]
        return Ordered(
            np.array([one.row for one in page], dtype=np.int64),
            [one.key for one in page],
            [one.value for one in page],
        )

    def _counted(self, field: str, kind: KeyedKind) -> list[tuple[Keyed, I64]]:
        """List the values of each part and how many points of the set hold each."""
        counted = []
        for live, bits in self._parts:
            keyed = live.part.attributes.keyed(field, kind)
            if keyed is not None and len(keyed):
                counted.append((keyed, groups.count_each(bits, keyed.offsets, keyed.slots)))
        return counted

    def _missing(self, field: str, kinds: Sequence[KeyedKind]) -> int:
        """Count the points of the set that hold no value of these kinds."""
        missing = 0
        for live, bits in self._parts:
            left = bits.copy()
            for kind in kinds:
                keyed = live.part.attributes.keyed(field, kind)
                if keyed is not None:
                    bitset.clear_slots(left, keyed.slots[keyed.offsets[0] : keyed.offsets[-1]])
            missing += bitset.count(left)
        return missing


_VALUES: tuple[KeyedKind, ...] = ("flags", "ints", "floats", "strings")
_NO_FLAGS: I64 = np.zeros(len(FLAG_VALUES), dtype=np.int64)


def _added(counted: Sequence[tuple[Keyed, I64]], dtype: Any) -> tuple[NDArray[Any], I64]:
    """Add up the counts of equal numbers: keys, ascending, and counts, none zero."""
    keys = [
        np.empty(0, dtype),
        *[keyed.keys[c > 0] for keyed, c in counted if keyed.keys is not None],
    ]
    counts = [np.empty(0, np.int64), *[c[c > 0] for keyed, c in counted]]
    if len(counted) == 1:
        return keys[1], counts[1]
    different, codes = np.unique(np.concatenate(keys), return_inverse=True)
    summed = np.zeros(different.shape[0], np.int64)
    np.add.at(summed, codes, np.concatenate(counts))
    return different, summed


def _frequent_texts(
    counted: Sequence[tuple[Keyed, I64]], most: int
) -> tuple[list[tuple[AttributeScalar, int]], int]:
    """Find the most frequent strings, ties by text, and how many different ones there are."""
    held = [(keyed, counts) for keyed, counts in counted if counts.any()]
    if len(held) == 1:
        (keyed, counts) = held[0]
        assert keyed.order is not None
        order = keyed.order()
        first = order[np.argsort(-counts[order], kind="stable")[:most]]
        found = [(keyed.value(number), int(counts[number])) for number in first.tolist()]
        return [pair for pair in found if pair[1]], int(np.count_nonzero(counts))
    added: Counter[Any] = Counter()
    for keyed, counts in held:
        numbers = np.flatnonzero(counts)
        texts = map(keyed.value, numbers.tolist())
        for text, count in zip(texts, counts[numbers].tolist(), strict=True):
            added[text] += count
    ranked = sorted(added.items(), key=lambda pair: (-pair[1], pair[0]))
    return ranked[:most], len(added)


def _place_among_ties(value: AttributeScalar) -> tuple[int, Any]:
    """Sort null, false, true, numbers, strings."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    return (3, value) if isinstance(value, str) else (2, value)


def _antipode(place: Place) -> Place:
    return Place(-place.lat, place.lon - 180 if place.lon >= 0 else place.lon + 180)


class _Placed(NamedTuple):
    """A point and what it is ordered by."""

    value: Value | None
    key: bytes
    row: int


def _comparable(value: Value | None) -> tuple[bool, Any]:
    return isinstance(value, str), value


class _Walk:
    """The first points of one part in an order.

    left   of the set: what has not been found
    """

    def __init__(self, live: LivePart, left: Bits, most: int) -> None:
        self._live = live
        self._left = left
        self._most = most
        self._slots: list[int] = []
        self._values: list[Value] = []

    def run(self, order: Order) -> None:
        if order.over == "distance":
            self._by_distance(order)
            return
        steps: list[tuple[KeyedKind, ...]] = [("ints", "floats"), ("strings",)]
        if order.over == "instants":
            steps = [("instants",)]
        for kinds in reversed(steps) if order.descending else steps:
            if len(self._slots) < self._most:
                self._by_values(order, kinds)

    def _by_values(self, order: Order, kinds: Sequence[KeyedKind]) -> None:
        """Find what holds values of these kinds, which are compared with each other."""
        wanted = self._most - len(self._slots)
        first: dict[int, Value] = {}
        before = self._left.copy() if len(kinds) > 1 else self._left
        for kind in kinds:
            keyed = self._live.part.attributes.keyed(order.field, kind)
            if keyed is None or not len(keyed):
                continue
            left = before.copy() if len(kinds) > 1 else self._left
            step = -1 if order.descending else 1
            by_text = _ANY_ORDER if keyed.order is None else keyed.order()
            slots, numbers = groups.take_in_order(
                left, keyed.offsets, keyed.slots, by_text, step, wanted
            )
            self._left &= left
            slots, numbers = self._trimmed(slots, numbers, wanted)
            for slot, number in zip(slots.tolist(), numbers.tolist(), strict=True):
                value: Any = keyed.value(number)
                other: Any = first.get(slot)
                if other is None or (value > other if order.descending else value < other):
                    first[slot] = value
        self._slots += first.keys()
        self._values += first.values()

    def _by_distance(self, order: Order) -> None:
        assert order.origin is not None
        # The farthest from a place are the nearest to its antipode.
        centre = _antipode(order.origin) if order.descending else order.origin
        slots, metres = self._live.part.attributes.nearest_places(
            order.field, centre, self._left, self._most
        )
        bitset.clear_slots(self._left, slots)
        different, ranks = np.unique(metres, return_inverse=True)
        kept, ranks = self._trimmed(slots.astype(np.int64), ranks, self._most)
        metres = different[ranks]
        self._slots = kept.tolist()
        self._values = (math.pi * EARTH_RADIUS_M - metres if order.descending else metres).tolist()

    def _trimmed(self, slots: I64, ranks: I64, most: int) -> tuple[I64, I64]:
        """Cut, of slots in order with ranks, what comes after the first `most`, ties by id."""
        if slots.shape[0] <= most:
            return slots, ranks
        last = ranks[most - 1]
        end = most + int(np.count_nonzero(ranks[most:] == last))
        slots, ranks = slots[:end], ranks[:end]
        tied = ranks == last
        bits = bitset.empty(self._live.part.slots)
        bitset.set_slots(bits, slots[tied].astype(np.uint32))
        ahead = slots[~tied]
        first = self._live.first_by_key(bits, most - ahead.shape[0])
        kept = np.concatenate([ahead, np.array(first, dtype=np.int64)])
        return kept, np.concatenate([ranks[~tied], np.full(len(first), last)])

    def found(self) -> list[_Placed]:
        """Give what holds a value."""
        slots = np.array(self._slots, dtype=np.uint32)
        return self._placed(slots, self._values)

    def missing(self) -> list[_Placed]:
        """Give, as far as they are needed, those that hold none."""
        wanted = self._most - len(self._slots)
        if wanted <= 0:
            return []
        slots = np.array(self._live.first_by_key(self._left, wanted), dtype=np.uint32)
        return self._placed(slots, [None] * slots.shape[0])

    def _placed(self, slots: NDArray[np.uint32], values: Sequence[Value | None]) -> list[_Placed]:
        part = self._live.part
        rows: list[int] = part.rows[slots].tolist()
        return [
            _Placed(value, key, row)
            for value, key, row in zip(values, part.keys(slots), rows, strict=True)
        ]


_ANY_ORDER: I64 = np.empty(0, dtype=np.int64)
