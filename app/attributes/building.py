"""From attributes, point by point, to the sorted arrays of an index (told in `index`)."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.attributes.keyed import grouped
from app.attributes.listed import put_runs_in_order
from app.attributes.places import place_from
from app.attributes.values import INT64_MIN, instant_us
from app.types import F64, I64, U32, U64, AttributeElement, Attributes

FILINGS = ("strings", "ints", "floats", "instants", "places")
PRESENT, MISSING, NULL, FALSE, TRUE = range(5)
FLAGS = 5

_KEY_TYPES = {
    "strings": np.uint32,
    "ints": np.int64,
    "floats": np.float64,
    "instants": np.int64,
    "places": np.uint64,
}


def build_arrays(
    attributes: Iterable[Attributes],
) -> tuple[int, list[str], dict[str, NDArray[Any]]]:
    """Sort the attributes of slots 0, 1, 2, … into arrays.

    returns  the number of slots, the field names in order, and the arrays by name
    """
    columns: dict[str, _Column] = {}
    slots = 0
    for slot, point in enumerate(attributes):
        slots = slot + 1
        for name, value in point.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = _Column()
            column.present.append(slot)
            if isinstance(value, list):
                column.elements.extend(value)
                column.owners.extend([slot] * len(value))
            else:
                column.elements.append(value)
                column.owners.append(slot)

    fields = sorted(columns)
    filings = {name: _Sorted(_KEY_TYPES[name]) for name in FILINGS}
    flags = _Sorted(np.uint8)
    text: list[bytes] = []
    degrees: list[F64] = [np.empty((0, 2))]
    for name in fields:
        # Columns are let go one by one: all of them and all arrays never coexist.
        _file_column(columns.pop(name), slots, filings, flags, text, degrees)

    arrays: dict[str, NDArray[Any]] = {}
    for name, filing in filings.items():
        arrays[f"{name}.keys"] = np.concatenate(filing.keys)
        arrays[f"{name}.groups"] = _bounds([len(keys) for keys in filing.keys[1:]], np.int64)
        arrays[f"{name}.offsets"] = _bounds(np.concatenate(filing.sizes))
        arrays[f"{name}.slots"] = np.concatenate(filing.slots)
    arrays["flags.offsets"] = _bounds(np.concatenate(flags.sizes))
    arrays["flags.slots"] = np.concatenate(flags.slots)
    arrays["strings.bounds"] = _bounds([len(key) for key in text])
    arrays["strings.text"] = np.frombuffer(b"".join(text), np.uint8)
    arrays["places.lats"], arrays["places.lons"] = np.concatenate(degrees).T.copy()
    return slots, fields, arrays


class _Column:
    """All elements of one field, each with the slot that owns it, ascending."""

    __slots__ = ("elements", "owners", "present")

    def __init__(self) -> None:
        self.present = array("I")
        self.owners = array("I")
        self.elements: list[AttributeElement] = []


class _Sorted:
    """The parts of one filing, a field after the other; the first part is empty."""

    __slots__ = ("keys", "sizes", "slots")

    def __init__(self, key_type: Any) -> None:
        self.keys: list[NDArray[Any]] = [np.empty(0, key_type)]
        self.sizes: list[I64] = [np.empty(0, np.int64)]
        self.slots: list[U32] = [np.empty(0, np.uint32)]

    def add(self, keys: NDArray[Any], codes: NDArray[Any], owners: U32) -> None:
        """Add a field: element i is held by `owners[i]` (ascending) and equals `keys[codes[i]]`."""
        sizes, slots = grouped(codes, owners, len(keys))
        self.keys.append(keys)
        self.sizes.append(sizes)
        self.slots.append(slots)


def _file_column(
    column: _Column,
    slots: int,
    filings: dict[str, _Sorted],
    flags: _Sorted,
    text: list[bytes],
    degrees: list[F64],
) -> None:
    owners = np.frombuffer(column.owners, np.uint32)
    kinds = np.fromiter(map(_KIND_CODES.__getitem__, map(type, column.elements)), np.uint8)

    def of_kind(kind: type) -> tuple[list[Any], U32]:
        places = np.flatnonzero(kinds == _KIND_CODES[kind])
        if places.shape[0] == kinds.shape[0]:
            return column.elements, owners
        return [column.elements[i] for i in places.tolist()], owners[places]

    strings, string_owners = of_kind(str)
    _file_strings(strings, string_owners, filings, text)

    places, place_owners = of_kind(dict)
    degrees.append(_file_places(places, place_owners, filings))

    whole, whole_owners = of_kind(int)
    ints = np.array(whole, np.int64)
    fractional, float_owners = of_kind(float)
    floats: F64 = np.array(fractional, np.float64)
    # As `exact_number`, for all at once: no integer of 64 bits may hide among the floats.
    integral = (floats == np.floor(floats)) & (floats >= INT64_MIN) & (floats < 2.0**63)
    if integral.any():
        ints = np.concatenate((ints, floats[integral].astype(np.int64)))
        whole_owners = np.concatenate((whole_owners, float_owners[integral]))
        ascending = np.argsort(whole_owners, kind="stable")
        ints, whole_owners = ints[ascending], whole_owners[ascending]
    filings["ints"].add(*np.unique(ints, return_inverse=True), whole_owners)
    filings["floats"].add(
        *np.unique(floats[~integral], return_inverse=True), float_owners[~integral]
    )

    present = np.frombuffer(column.present, np.uint32)
    absent = np.ones(slots, np.bool_)
    absent[present] = False
    missing = np.flatnonzero(absent).astype(np.uint32)
    bools, bool_owners = of_kind(bool)
    truth = np.array(bools, np.bool_)
    listed = (
        present if present.shape[0] <= missing.shape[0] else missing[:0],
        missing if present.shape[0] > missing.shape[0] else missing[:0],
        of_kind(type(None))[1],
        bool_owners[~truth],
        bool_owners[truth],
    )
    flags.add(
        np.arange(FLAGS, dtype=np.uint8),
        np.repeat(np.arange(FLAGS), [part.shape[0] for part in listed]),
        np.concatenate(listed),
    )


_KIND_CODES: dict[type, int] = {type(None): 0, bool: 1, int: 2, float: 3, str: 4, dict: 5}


def _file_places(places: list[dict[str, float]], owners: U32, filings: dict[str, _Sorted]) -> F64:
    """File places by their Morton codes; return latitudes and longitudes in that order."""
    degrees: F64 = np.array([place_from(place) for place in places]).reshape(-1, 2)
    codes = morton_codes(degrees)
    # Two places may share a code: keys are distinct places, sorted by their codes.
    order = np.lexsort((degrees[:, 1], degrees[:, 0], codes))
    ordered = degrees[order]
    first = np.ones(order.shape[0], np.bool_)
    first[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    numbers = np.empty_like(order)
    numbers[order] = np.cumsum(first) - 1
    filings["places"].add(codes[order][first], numbers, owners)
    return ordered[first]


def morton_codes(degrees: F64) -> U64:
    """Interleave the bits of latitude and longitude, each as a share of its range in 32 bits.

    degrees   float64[n, 2]: latitude and longitude, which has the lower bits
    returns   uint64[n]. A step is 4.2e-8 degrees of latitude, 5 mm, and 9 mm of the equator.
    """
    steps = np.array([2.0**32 / 180.0, 2.0**32 / 360.0])
    shares = np.floor((degrees + np.array([90.0, 180.0])) * steps)
    spread = np.clip(shares, 0, 2**32 - 1).astype(np.uint64)
    for shift, mask in _SPREADING:
        spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
    codes: U64 = (spread[:, 0] << np.uint64(1)) | spread[:, 1]
    return codes


_SPREADING = (  # the bits of a half, then quarter, … of the word step apart until each stands alone
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def _file_strings(
    strings: list[str], owners: U32, filings: dict[str, _Sorted], text: list[bytes]
) -> None:
    numbers: dict[str, int] = {}
    codes = np.fromiter(
        (numbers.setdefault(string, len(numbers)) for string in strings), np.int64, len(strings)
    )
    encoded = [string.encode() for string in numbers]
    hashes = np.fromiter(map(zlib.crc32, encoded), np.uint32, len(encoded))
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    put_runs_in_order(hashes, order, encoded.__getitem__)
    text.extend(encoded[i] for i in order.tolist())
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.shape[0])
    filings["strings"].add(hashes, ranks[codes], owners)

    instants = [instant_us(string) for string in numbers]
    dated = np.fromiter((instant is not None for instant in instants), np.bool_, len(instants))
    given = np.array([instant for instant in instants if instant is not None], np.int64)
    keys, inverse = np.unique(given, return_inverse=True)
    instant_codes = np.zeros(len(instants), np.int64)
    instant_codes[dated] = inverse
    held = dated[codes]
    filings["instants"].add(keys, instant_codes[codes[held]], owners[held])


def _bounds(sizes: Any, dtype: Any = None) -> NDArray[Any]:
    """Turn sizes into where each part starts and the last one ends."""
    bounds = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=bounds[1:])
    return bounds.astype(dtype or (np.uint32 if bounds[-1] < 2**32 else np.uint64))
