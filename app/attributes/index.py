"""The immutable attribute index of one segment: value → slots, sorted, in one file.

Theory of operation
-------------------
Elements are filed by what they compare as, because that is how filters ask for them:

    strings   distinct strings of a field, in order of (CRC-32, bytes)
    ints      distinct numbers that are integers of 64 bits (3.0 is filed as 3)
    floats    all other distinct numbers
    instants  microseconds of the strings that are RFC 3339 (which are under `strings` as well)
    places    distinct places, in order of (Morton code, latitude, longitude); `app.kernels.geo`
    flags     five lists a field: present, missing, null, false, true

Each of these is a *filing*: keys in groups, one group a field, ascending within the group, and the
slots that hold each key. All fields share the arrays, so a thousand fields cost no more than one:

    keys      [keys]             by field, then ascending
    groups    int64[fields + 1]  field f has keys groups[f] … groups[f + 1] − 1
    offsets   [keys + 1]         key i is held by slots[offsets[i] : offsets[i + 1]]
    slots     uint32[postings]   ascending within a key, each slot once

so equality is one binary search, and a range is two of them plus one slice. Strings are kept as
CRC-32s that are searched, and as UTF-8 bytes that decide. Equal CRCs are common enough (one pair
is expected among 93,000 strings) and easy to make on purpose: they are told apart by bisection on
the bytes, never by a walk. Nothing is a Python object per key.

Of `present` and `missing` only the shorter list is kept: present only if it is not empty.

Files of this part: `filing` looks keys up (with `prefixes` for wide ranges and `listed` for long
lists), `building` sorts attributes into the arrays, `index_file` writes and maps them; what
changes the arrays changes all three, and raises `index_file.FORMAT`. The builder runs in a small
worker process, so only what looks up may import the kernels, and only when it is asked: loading
them costs more than many a build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.attributes import index_file
from app.attributes.building import (
    FALSE,
    FLAGS,
    MISSING,
    NULL,
    PRESENT,
    TRUE,
    build_arrays,
)
from app.attributes.filing import (
    NO_SLOTS,
    Filing,
    Found,
    PlaceFiling,
    TextFiling,
    all_different,
    made_wide,
    most_narrow,
)
from app.attributes.filter import AnyOf, Range, Values, Within
from app.attributes.keyed import Keyed, KeyedKind, keyed_flags
from app.attributes.places import Place
from app.types import F64, I64, U32, Attributes, Bits

FILE_NAME = "attributes.bin"


class AttributeIndex:
    """Which slots of one segment hold which values. Immutable; any number of threads may read.

    Slots are 0 … `slots` − 1. What the lookups return may be views into the index, read-only,
    valid as long as the index is.
    """

    def __init__(
        self, slots: int, fields: Sequence[str], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        self.slots = slots
        self._names = tuple(fields)
        self._arrays = dict(arrays)
        self._fields = {name: i for i, name in enumerate(fields)}
        self._flag_slots: U32 = arrays["flags.slots"]
        self._flag_offsets = arrays["flags.offsets"].data
        self._texts = TextFiling(
            *_parts(arrays, "strings"), slots, arrays["strings.text"], arrays["strings.bounds"]
        )
        self._ints = Filing(*_parts(arrays, "ints"), slots)
        self._floats = Filing(*_parts(arrays, "floats"), slots)
        self._instants = Filing(*_parts(arrays, "instants"), slots)
        self._places = PlaceFiling(
            *_parts(arrays, "places"), slots, arrays["places.lats"], arrays["places.lons"]
        )
        self._most_narrow = most_narrow(slots)
        self._wide_flags: dict[int, Bits] = {}
        self._single: dict[tuple[int, str], bool] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def sets_equal(self, field: str, values: Values) -> list[Found]:
        """Find the slots with an element of `field` among `values`: the union of the sets."""
        f = self._fields.get(field)
        if f is None:
            return []
        listed = values.listed
        sets: list[Found]
        if listed is not None:
            sets = [
                self._texts.of_texts(f, listed),
                self._ints.of_keys(f, listed.ints),
                self._floats.of_keys(f, listed.floats),
            ]
        else:
            sets = [self._texts.set_of_text(f, string.encode()) for string in values.strings]
            for number in values.numbers:
                filing = self._ints if isinstance(number, int) else self._floats
                sets.append(filing.set_of_key(f, number))
        sets += [self._flagged_set(f, TRUE if value else FALSE) for value in values.bools]
        if values.null:
            sets.append(self._flagged_set(f, NULL))
        return sets

    def sets_in_range(self, range: Range) -> list[Found]:
        """Find the slots with an element inside the range: the union of the sets."""
        f = self._fields.get(range.field)
        if f is None:
            return []
        if range.over == "instants":
            return [self._instants.set_of_range(f, range)]
        return [self._ints.set_of_range(f, range), self._floats.set_of_range(f, range)]

    def sets_within(self, within: Within) -> list[Found]:
        """Find the slots with a place inside the area: the union of the sets."""
        f = self._fields.get(within.field)
        return [] if f is None else [self._places.set_within(f, within.area)]

    def set_present(self, field: str) -> tuple[Found, bool]:
        """Find the slots that have `field`, or (if true is given with them) those without it."""
        f = self._fields.get(field)
        if f is None:
            return NO_SLOTS, False
        present = self._flagged_set(f, PRESENT)
        if present.shape[0]:
            return present, False
        return self._flagged_set(f, MISSING), True

    def keyed(self, field: str, kind: KeyedKind) -> Keyed | None:
        """List the values of one kind that a field has, and who holds each; None: none."""
        f = self._fields.get(field)
        if f is None:
            return None
        if kind == "flags":
            place = f * FLAGS + NULL  # null, false and true follow each other
            return keyed_flags(self._arrays["flags.offsets"][place : place + 4], self._flag_slots)
        filings = {
            "strings": self._texts,
            "ints": self._ints,
            "floats": self._floats,
            "instants": self._instants,
        }
        return filings[kind].keyed(f)

    def nearest_places(self, field: str, centre: Place, bits: Bits, most: int) -> tuple[U32, F64]:
        """List slots of a set by their nearest place; see `AttributeReader.nearest_places`."""
        f = self._fields.get(field)
        if f is None:
            return NO_SLOTS, np.empty(0)
        return self._places.nearest(f, centre, bits, most)

    def is_single(self, field: str, over: str) -> bool:
        """Tell whether no slot has two different elements of `field` that ranges `over` compare."""
        f = self._fields.get(field)
        if f is None:
            return True
        single = self._single.get((f, over))
        if single is None:
            filings = (self._instants,) if over == "instants" else (self._ints, self._floats)
            slots = np.concatenate([filing.postings(f) for filing in filings])
            single = self._single[f, over] = all_different(slots, self.slots)
        return single

    def _flagged(self, field: int, flag: int) -> U32:
        place = field * FLAGS + flag
        return self._flag_slots[self._flag_offsets[place] : self._flag_offsets[place + 1]]

    def _flagged_set(self, field: int, flag: int) -> Found:
        slots = self._flagged(field, flag)
        if slots.shape[0] <= self._most_narrow:
            return slots
        place = field * FLAGS + flag
        wide = self._wide_flags.get(place)
        if wide is None:
            wide = self._wide_flags[place] = made_wide(slots, self.slots)
        return wide

    def frequent_values(self, field: str, least: int) -> list[tuple[AnyOf, U32]]:
        """List the single values that at least `least` slots hold, null left out.

        Each comes as the condition that names it and the slots that meet it, ascending.
        """
        f = self._fields.get(field)
        if f is None:
            return []
        found = [
            (Values(strings=frozenset([self._texts.text(place)])), slots)
            for place, slots in self._texts.frequent(f, least)
        ]
        for filing in (self._ints, self._floats):
            found += [
                (Values(numbers=frozenset([filing.key(place)])), slots)
                for place, slots in filing.frequent(f, least)
            ]
        for value in (False, True):
            slots = self._flagged(f, TRUE if value else FALSE)
            if slots.shape[0] >= least:
                found.append((Values(bools=frozenset([value])), slots))
        return [(AnyOf(field, values), slots) for values, slots in found]

    def windows(
        self, field: str, over: Literal["numbers", "instants"], spans: Sequence[tuple[float, float]]
    ) -> list[tuple[Range, U32]]:
        """Find ranges that hold given spans of a field's elements in ascending order.

        spans    (start, end) with 0 ≤ start < end ≤ 1: the elements from this share to that; a
                 range holds whole values, so it may hold more
        returns  ranges, each once and without a bound where it ends with the elements, and the
                 slots inside them, ascending
        """
        f = self._fields.get(field)
        filings = (self._instants,) if over == "instants" else (self._ints, self._floats)
        counted = [] if f is None else [filing.counts(f) for filing in filings]
        keys = [key for held, _ in counted for key in held.tolist()]
        if f is None or not keys:
            return []
        # Neighbours that a float64 cannot tell apart may swap: then a span is cut a little off.
        order = np.argsort(np.array(keys, dtype=np.float64), kind="stable")
        ends = np.cumsum(np.concatenate([counts for _, counts in counted])[order])
        last = len(keys) - 1
        found = {}
        for start, end in spans:
            low = int(np.searchsorted(ends, start * ends[-1], side="right"))
            high = min(int(np.searchsorted(ends, end * ends[-1], side="left")), last)
            range = Range(
                field,
                over,
                None if low == 0 else keys[order[low]],
                None if high == last else keys[order[high]],
            )
            parts = [filing.slots_in_range(f, range) for filing in filings]
            found[range] = np.unique(np.concatenate(parts))
        return list(found.items())

    # ── build, save, open ────────────────────────────────────────────────────────────────────

    @classmethod
    def build(cls, attributes: Iterable[Attributes]) -> AttributeIndex:
        """Index the attributes (as `check_attributes` returned them) of slots 0, 1, 2, …"""
        return cls(*build_arrays(attributes))

    def save(self, folder: Path) -> list[Path]:
        """Write the index into `folder`; return the new files. Syncing them is the caller's.

        Raises FileExistsError rather than replace a file.
        """
        path = folder / FILE_NAME
        index_file.write(path, self.slots, self._names, self._arrays)
        return [path]

    @classmethod
    def open(cls, folder: Path) -> AttributeIndex:
        """Map the index that `save` wrote into `folder`.

        Raises CorruptFile if the file is missing or contradicts itself, IncompatibleFormat if
        another version wrote it.
        """
        return cls(*index_file.read(folder / FILE_NAME))


def _parts(
    arrays: Mapping[str, NDArray[Any]], name: str
) -> tuple[NDArray[Any], I64, NDArray[Any], U32]:
    return (
        arrays[f"{name}.keys"],
        arrays[f"{name}.groups"],
        arrays[f"{name}.offsets"],
        arrays[f"{name}.slots"],
    )
