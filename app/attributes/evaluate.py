"""From a filter and an index to the set of slots that pass.

Theory of operation
-------------------
A set on its way up the tree is *narrow* (an array of slots, any order, repeats allowed) while
that takes fewer bytes than bits would, else *wide* (`Bits`), and it may be *negated*: it then
stands for all other slots. So Not costs nothing, a condition that few points meet costs what it
finds and not what the segment holds, and And and Or are one function, by De Morgan:
a or b = not (not a and not b).

Before anything is looked up, conditions on one field are joined: of `x = 1 or x = 2` one list of
values is made, of overlapping ranges under Or one range, and of ranges under And too where no slot
has two values (with two, one may meet the one condition and the other the other).

An And lets its narrowest set be struck out by the others and the negated ones, or merges wide ones
as they come; as soon as nothing is left, the rest is not evaluated. Membership of one narrow set in
another goes through one scratch set of bits, empty between uses. Arrays that cannot be written to
belong to the index, which keeps the sets of frequent values.

A growing index may show slots that are newer than the caller's count. They travel along, change
nothing about older ones, and are cut off at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, cast

import numpy as np

from app.attributes.filing import NO_SLOTS, Found, most_narrow
from app.attributes.filter import (
    And,
    AnyOf,
    Everything,
    Exists,
    Filter,
    Ids,
    Match,
    Not,
    Or,
    Range,
    Values,
    Within,
)
from app.attributes.keyed import Keyed, KeyedKind
from app.attributes.places import Place
from app.attributes.ranges import intersected, united
from app.kernels import bits as kernels
from app.types import F64, U32, Bits, PointId


class AttributeReader(Protocol):
    """What an index can be asked. It answers in sets, `app.attributes.filing.Found`."""

    def sets_equal(self, field: str, values: Values) -> list[Found]:
        """Find the slots with an element of `field` among the values: the union of the sets."""
        ...

    def sets_in_range(self, range: Range) -> list[Found]:
        """Find the slots with an element of the range's field inside it: the union of the sets."""
        ...

    def sets_within(self, within: Within) -> list[Found]:
        """Find the slots with a place of the field inside the area: the union of the sets."""
        ...

    def set_present(self, field: str) -> tuple[Found, bool]:
        """Find the slots that have `field`, or (if true is given with them) those without it."""
        ...

    def keyed(self, field: str, kind: KeyedKind) -> Keyed | None:
        """List the values of one kind that a field has, and who holds each; None: none."""
        ...

    def nearest_places(self, field: str, centre: Place, bits: Bits, most: int) -> tuple[U32, F64]:
        """List slots of a set, each once, by the metres from a place to their nearest one.

        returns  the nearest `most` slots and perhaps more, nearest first, and their metres; all
                 that have a place, if they are fewer
        """
        ...

    def is_single(self, field: str, over: str) -> bool:
        """Tell that no slot has two different elements of `field` that ranges `over` compare.

        False says nothing.
        """
        ...


def evaluate(
    filter: Filter,
    index: AttributeReader,
    slots: int,
    find_ids: Callable[[Sequence[PointId]], U32],
    match: Callable[[Match], Bits] | None = None,
) -> Bits:
    """Find the slots that pass the filter; the answer agrees with `matches`, slot by slot.

    index     covers the slots 0 … slots − 1; one that grows may know newer ones
    find_ids  maps ids to slots (uint32, unknown ids left out, any order)
    match     answers `$match`, with bits of its own; needed where the filter has such a condition
    returns   a fresh `uint64[ceil(slots / 64)]`, the caller's to keep and change
    """
    evaluation = _Evaluation(index, slots, find_ids, match)
    found, negated = evaluation.set_of(filter)
    bits = evaluation.owned(found)
    if negated:
        np.invert(bits, out=bits)
    kernels.trim(bits, slots)
    return bits


_Set: TypeAlias = tuple[Found, bool]  # the slots, and whether the set is negated


class _Evaluation:
    """One walk over one filter."""

    __slots__ = ("_find_ids", "_index", "_match", "_most_narrow", "_scratch", "_slots")

    def __init__(
        self,
        index: AttributeReader,
        slots: int,
        find_ids: Callable[[Sequence[PointId]], U32],
        match: Callable[[Match], Bits] | None,
    ) -> None:
        self._match = match
        self._index = index
        self._slots = slots
        self._find_ids = find_ids
        self._scratch: Bits | None = None
        self._most_narrow = most_narrow(slots)

    def set_of(self, filter: Filter) -> _Set:
        kind = type(filter)
        if kind is AnyOf:
            filter = cast(AnyOf, filter)
            return self._union(self._index.sets_equal(filter.field, filter.values)), False
        if kind is Range:
            return self._union(self._index.sets_in_range(cast(Range, filter))), False
        if kind is Within:
            return self._union(self._index.sets_within(cast(Within, filter))), False
        if kind is And:
            return self._all(cast(And, filter).children, negate=False)
        if kind is Or:
            found, negated = self._all(cast(Or, filter).children, negate=True)
            return found, not negated
        if kind is Not:
            found, negated = self.set_of(cast(Not, filter).child)
            return found, not negated
        if kind is Exists:
            found, negated = self._index.set_present(cast(Exists, filter).field)
            return self._union([found]), negated
        if kind is Ids:
            return self._union([self._find_ids(tuple(cast(Ids, filter).ids))]), False
        if kind is Match:
            assert self._match is not None
            return self._match(cast(Match, filter)), False
        assert kind is Everything, kind
        return NO_SLOTS, True

    def owned(self, found: Found) -> Bits:
        """Give a set as bits that may be changed."""
        if _is_wide(found):
            return found if found.flags.writeable else found.copy()
        bits = kernels.empty(self._slots)
        kernels.set_slots(bits, found)
        return bits

    def _all(self, children: Iterable[Filter], negate: bool) -> _Set:
        """Intersect the children, or their complements."""
        needed: list[Filter] = []
        excluded: list[Filter] = []
        for child in children:
            exclude = negate
            while isinstance(child, Not):
                child, exclude = child.child, not exclude
            (excluded if exclude else needed).append(child)
        narrow: list[U32] = []
        wide: Bits | None = None
        out: list[U32] = []
        wide_out: Bits | None = None
        members = [(child, False) for child in self._joined(needed, any_of=False)]
        members += [(child, True) for child in self._joined(excluded, any_of=True)]
        for child, exclude in members:
            found, negated = self.set_of(child)
            # Wide sets are merged as they come, while they are in the processor's caches.
            if negated != exclude:
                if _is_wide(found):
                    wide_out = _merged(np.bitwise_or, wide_out, found)
                else:
                    out.append(found)
            elif not _is_wide(found):
                narrow.append(found)
            elif narrow:
                narrow[0] = kernels.keep(found, narrow[0], True)
            else:
                wide = _merged(np.bitwise_and, wide, found)
            if narrow and not (narrow[0].shape[0] and narrow[-1].shape[0]):
                return NO_SLOTS, False
        outside = self._union(out if wide_out is None else [*out, wide_out])
        if narrow:
            return self._common_slots(narrow, wide, outside), False
        if wide is None:
            return outside, True
        if not outside.shape[0]:
            return wide, False
        bits = self.owned(wide)
        if _is_wide(outside):
            bits &= ~outside
        else:
            kernels.clear_slots(bits, outside)
        return bits, False

    def _common_slots(self, narrow: list[U32], wide: Bits | None, outside: Found) -> U32:
        """Intersect narrow sets, at least one, and what is not outside."""
        narrow.sort(key=len)
        kept: U32 = narrow[0]
        if wide is not None:
            kept = kernels.keep(wide, kept, True)
        for other in narrow[1:]:
            scratch = self._borrowed()
            kernels.set_slots(scratch, kept)
            fewer = kernels.keep(scratch, other, True)
            kernels.clear_slots(scratch, kept)
            kept = fewer
        if not kept.shape[0] or not outside.shape[0]:
            return kept
        if _is_wide(outside):
            kept = kernels.keep(outside, kept, False)
            return kept
        scratch = self._borrowed()
        kernels.set_slots(scratch, outside)
        kept = kernels.keep(scratch, kept, False)
        kernels.clear_slots(scratch, outside)
        return kept

    def _union(self, sets: list[Found]) -> Found:
        if len(sets) != 1:
            sets = [found for found in sets if found.shape[0]]
            if not sets:
                return NO_SLOTS
        if len(sets) == 1:
            found = sets[0]
            is_done = _is_wide(found) or found.shape[0] <= self._most_narrow
            return found if is_done else self.owned(found)
        wide = [found for found in sets if _is_wide(found)]
        if not wide and sum(map(len, sets)) <= self._most_narrow:
            return np.concatenate(sets)
        bits = self.owned(wide[0]) if wide else kernels.empty(self._slots)
        for other in wide[1:]:
            bits |= other
        for other in sets:
            if not _is_wide(other):
                kernels.set_slots(bits, other)
        return bits

    def _borrowed(self) -> Bits:
        """Lend the scratch set, empty; the borrower empties it again."""
        if self._scratch is None:
            self._scratch = kernels.empty(self._slots)
        return self._scratch

    def _joined(self, filters: list[Filter], any_of: bool) -> list[Filter]:
        """Join conditions on one field, of which any has to hold, or all."""
        if len(filters) < 2:
            return filters
        joined: list[Filter] = []
        values: dict[str, list[Values]] = {}
        ranges: dict[tuple[str, str], list[Range]] = {}
        for filter in filters:
            if isinstance(filter, Range):
                ranges.setdefault((filter.field, filter.over), []).append(filter)
            elif any_of and isinstance(filter, AnyOf):
                values.setdefault(filter.field, []).append(filter.values)
            else:
                joined.append(filter)
        for field, listed in values.items():
            joined.append(AnyOf(field, listed[0] if len(listed) == 1 else _of_any(listed)))
        for (field, over), alike in ranges.items():
            if len(alike) == 1:
                joined += alike
            elif any_of:
                joined += united(alike)
            elif self._index.is_single(field, over):
                joined.append(intersected(alike))
            else:
                joined += alike
        return joined


def _of_any(listed: list[Values]) -> Values:
    return Values(
        frozenset().union(*[values.strings for values in listed]),
        frozenset().union(*[values.numbers for values in listed]),
        frozenset().union(*[values.bools for values in listed]),
        any(values.null for values in listed),
    )


def _merged(operation: np.ufunc, bits: Bits | None, other: Bits) -> Bits:
    """Merge wide sets, in place where the first may be changed."""
    if bits is None:
        return other
    merged: Bits = operation(bits, other, out=bits if bits.flags.writeable else None)
    return merged


def _is_wide(found: Found) -> bool:
    return found.itemsize == 8
