"""From a filter and an index to the set of slots that pass.

Theory of operation
-------------------
A set on its way up the tree is *narrow* (an array of slots, any order, repeats allowed) while
that takes fewer bytes than bits would, else *wide* (`Bits`), and it may be *negated*: it then
stands for all other slots. So Not costs nothing, a condition that few points meet costs what it
finds and not what the segment holds, and And and Or are one function, by De Morgan:
a or b = not (not a and not b).

An And starts from its narrowest set and lets the others and the negated ones strike slots out; as
soon as a child finds nothing, the rest is not evaluated. Membership of one narrow set in another
goes through one scratch set of bits, empty between uses.

A growing index may show slots that are newer than the caller's count. They travel along, change
nothing about older ones, and are cut off at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from app.attributes.filing import NO_SLOTS
from app.attributes.filter import (
    And,
    AnyOf,
    Everything,
    Exists,
    Filter,
    Ids,
    Not,
    Or,
    Range,
    Values,
)
from app.kernels import bits as kernels
from app.types import U32, Bits, PointId


class AttributeReader(Protocol):
    """What an index can be asked. Slots come as uint32, in any order, perhaps repeated."""

    def slots_equal(self, field: str, values: Values) -> U32:
        """Find the slots with an element of `field` that equals one of the values."""
        ...

    def slots_in_range(self, range: Range) -> U32:
        """Find the slots with an element of the range's field inside it."""
        ...

    def slots_present(self, field: str) -> U32:
        """Find the slots that have `field`."""
        ...


def evaluate(
    filter: Filter,
    index: AttributeReader,
    slots: int,
    find_ids: Callable[[Sequence[PointId]], U32],
) -> Bits:
    """Find the slots that pass the filter; the answer agrees with `matches`, slot by slot.

    index     covers at least the slots 0 … slots − 1
    find_ids  maps ids to slots (uint32, unknown ids left out, any order)
    returns   a fresh `uint64[ceil(slots / 64)]`, the caller's to keep and change
    """
    evaluation = _Evaluation(index, slots, find_ids)
    found, negated = evaluation.set_of(filter)
    bits = evaluation.widened(found)
    if negated:
        np.invert(bits, out=bits)
    kernels.trim(bits, slots)
    return bits


_Array: TypeAlias = NDArray[Any]  # narrow: uint32 slots, perhaps borrowed; wide: uint64 bits, owned
_Set: TypeAlias = tuple[_Array, bool]  # the array, and whether it is negated


class _Evaluation:
    """One walk over one filter."""

    def __init__(
        self, index: AttributeReader, slots: int, find_ids: Callable[[Sequence[PointId]], U32]
    ) -> None:
        self._index = index
        self._slots = slots
        self._find_ids = find_ids
        self._scratch: Bits | None = None
        # More slots than this take more bytes as uint32 than as bits.
        self._narrow = slots // 32

    def set_of(self, filter: Filter) -> _Set:
        kind = type(filter)
        if kind is AnyOf:
            filter = cast(AnyOf, filter)
            return self._shaped(self._index.slots_equal(filter.field, filter.values)), False
        if kind is And:
            return self._all(cast(And, filter).children, negate=False)
        if kind is Or:
            found, negated = self._all(cast(Or, filter).children, negate=True)
            return found, not negated
        if kind is Not:
            found, negated = self.set_of(cast(Not, filter).child)
            return found, not negated
        if kind is Range:
            return self._shaped(self._index.slots_in_range(cast(Range, filter))), False
        if kind is Exists:
            return self._shaped(self._index.slots_present(cast(Exists, filter).field)), False
        if kind is Ids:
            return self._shaped(self._find_ids(tuple(cast(Ids, filter).ids))), False
        assert kind is Everything, kind
        return NO_SLOTS, True

    def widened(self, found: _Array) -> Bits:
        """Give a set as bits of its own."""
        if _is_wide(found):
            return found
        bits = kernels.empty(self._slots)
        kernels.set_slots(bits, found)
        return bits

    def _shaped(self, found: U32) -> _Array:
        return found if found.shape[0] <= self._narrow else self.widened(found)

    def _all(self, children: Iterable[Filter], negate: bool) -> _Set:
        """Intersect the children, or their complements."""
        narrow: list[_Array] = []
        wide: list[_Array] = []
        out: list[_Array] = []
        for child in children:
            found, negated = self.set_of(child)
            if negated != negate:
                out.append(found)
            elif _is_wide(found):
                wide.append(found)
            elif found.shape[0] == 0:
                return NO_SLOTS, False
            else:
                narrow.append(found)
        if not narrow and not wide:
            return self._union(out), True
        if not narrow:
            return self._common_bits(wide, out), False
        narrow.sort(key=len)
        kept: U32 = narrow[0]
        for other in narrow[1:]:
            kept = self._common_slots(kept, other)
        for other in wide:
            kept = kernels.keep(other, kept, True)
        if out and kept.shape[0]:
            kept = self._without(kept, self._union(out))
        return kept, False

    def _common_bits(self, wide: list[_Array], out: list[_Array]) -> Bits:
        bits = wide[0]
        for other in wide[1:]:
            bits &= other
        for other in out:
            if _is_wide(other):
                bits &= ~other
            else:
                kernels.clear_slots(bits, other)
        return bits

    def _union(self, sets: list[_Array]) -> _Array:
        if len(sets) == 1:
            return sets[0]
        if sum(map(len, sets)) <= self._narrow and not any(map(_is_wide, sets)):
            return np.concatenate(sets) if sets else NO_SLOTS
        bits = kernels.empty(self._slots)
        for other in sets:
            if _is_wide(other):
                bits |= other
            else:
                kernels.set_slots(bits, other)
        return bits

    def _common_slots(self, few: U32, more: U32) -> U32:
        scratch = self._borrowed()
        kernels.set_slots(scratch, few)
        kept: U32 = kernels.keep(scratch, more, True)
        kernels.clear_slots(scratch, few)
        return kept

    def _without(self, kept: U32, out: _Array) -> U32:
        if _is_wide(out):
            left: U32 = kernels.keep(out, kept, False)
            return left
        scratch = self._borrowed()
        kernels.set_slots(scratch, out)
        left = kernels.keep(scratch, kept, False)
        kernels.clear_slots(scratch, out)
        return left

    def _borrowed(self) -> Bits:
        """Lend the scratch set, empty; the borrower empties it again."""
        if self._scratch is None:
            self._scratch = kernels.empty(self._slots)
        return self._scratch


def _is_wide(found: _Array) -> bool:
    return found.itemsize == 8
