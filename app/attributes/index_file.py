"""The file of an attribute index: named arrays behind a header, mapped read-only.

    8 bytes   magic
    uint32    format
    uint32    length of the header
    uint32    CRC-32 of the header
    header    JSON: "slots"; "fields", in order; "arrays": name → [dtype, start, length], starts
              counted from the first multiple of 64 bytes after the header
    arrays    each at a multiple of 64 bytes, little-endian

`read` checks all that memory safety rests on, because lookups and kernels go where offsets and
slots say. It does not look for flipped bits elsewhere: the checksums of the segment do.
"""

from __future__ import annotations

import json
import mmap
import operator
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.attributes.building import FILINGS, FLAGS
from app.errors import CorruptFile, IncompatibleFormat

FORMAT = 2

_MAGIC = b"LIKEATTR"
_PREFIX = struct.Struct("<8sIII")
_ALIGNMENT = 64  # a cache line, and more than any dtype asks for
_DTYPES = {
    "strings.keys": ("<u4",),
    "strings.text": ("|u1",),
    "strings.bounds": ("<u4", "<u8"),
    "ints.keys": ("<i8",),
    "floats.keys": ("<f8",),
    "instants.keys": ("<i8",),
    "places.keys": ("<u8",),
    "places.lats": ("<f8",),
    "places.lons": ("<f8",),
    "flags.offsets": ("<u4", "<u8"),
    "flags.slots": ("<u4",),
    **{f"{name}.groups": ("<i8",) for name in FILINGS},
    **{f"{name}.offsets": ("<u4", "<u8") for name in FILINGS},
    **{f"{name}.slots": ("<u4",) for name in FILINGS},
}


def write(
    path: Path, slots: int, fields: Sequence[str], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write a new file. Raises FileExistsError rather than replace one."""
    places: dict[str, list[object]] = {}
    end = 0
    for name, values in arrays.items():
        places[name] = [values.dtype.str, end, values.shape[0]]
        end = _aligned(end + values.nbytes)
    header = json.dumps({"slots": slots, "fields": list(fields), "arrays": places}).encode()
    with path.open("xb") as file:
        file.write(_PREFIX.pack(_MAGIC, FORMAT, len(header), zlib.crc32(header)))
        file.write(header)
        for values in arrays.values():
            _pad(file)
            file.write(values.data)
        _pad(file)


def read(path: Path) -> tuple[int, list[str], dict[str, NDArray[Any]]]:
    """Map a file; return slots, fields and arrays, which are read-only.

    Raises CorruptFile if it is missing or contradicts itself, IncompatibleFormat if another
    version wrote it.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as exc:  # ValueError: nothing to map in an empty file
        raise CorruptFile(f"{path.name} cannot be read", path=str(path)) from exc
    if len(data) < _PREFIX.size:
        raise _corrupt(path, "is too short for a header")
    magic, format, length, checksum = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise _corrupt(path, "is not an attribute index")
    if format != FORMAT:
        raise IncompatibleFormat(
            f"{path.name} has format {format}, expected {FORMAT}",
            path=str(path),
            found=format,
            expected=FORMAT,
        )
    header = data[_PREFIX.size : _PREFIX.size + length]
    if zlib.crc32(header) != checksum:
        raise _corrupt(path, "has a header that does not match its checksum")
    start = _aligned(_PREFIX.size + length)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        described = json.loads(header)
        slots, fields = operator.index(described["slots"]), [str(f) for f in described["fields"]]
        for name, dtypes in _DTYPES.items():
            dtype, place, count = described["arrays"][name]
            if dtype not in dtypes:
                raise _corrupt(path, f"holds {name} as {dtype}")
            if place < 0 or place % _ALIGNMENT or count < 0:
                raise _corrupt(path, f"holds {name} where nothing can be")
            if start + place + count * np.dtype(dtype).itemsize > len(data):
                raise _corrupt(path, f"ends inside {name}")
            arrays[name] = np.frombuffer(data, dtype, count, start + place)
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise _corrupt(path, "has a header that describes nothing") from exc
    for name in (*FILINGS, "flags"):
        problem = _problem(name, slots, len(fields), arrays)
        if problem is not None:
            raise _corrupt(path, problem)
    return slots, fields, arrays


def _problem(name: str, slots: int, fields: int, arrays: Mapping[str, NDArray[Any]]) -> str | None:
    keys = fields * FLAGS
    if name != "flags":
        keys = arrays[f"{name}.keys"].shape[0]
        if not _are_bounds(arrays[f"{name}.groups"], fields, keys):
            return f"has {name} whose groups do not cover the keys"
    held = arrays[f"{name}.slots"]
    if not _are_bounds(arrays[f"{name}.offsets"], keys, held.shape[0]):
        return f"has {name} whose offsets do not cover the slots"
    if held.shape[0] and int(held.max()) >= slots:
        return f"has {name} held by slots past the last"
    if name == "strings":
        text = arrays["strings.text"]
        if not _are_bounds(arrays["strings.bounds"], keys, text.shape[0]):
            return "has strings whose bounds do not cover the text"
    if name == "places":
        degrees = (arrays["places.lats"].shape[0], arrays["places.lons"].shape[0])
        if degrees != (keys, keys):
            return "has places without coordinates"
    return None


def _are_bounds(bounds: NDArray[Any], parts: int, end: int) -> bool:
    return (
        bounds.shape[0] == parts + 1
        and bounds[0] == 0
        and bounds[-1] == end
        and bool((bounds[1:] >= bounds[:-1]).all())
    )


def _corrupt(path: Path, problem: str) -> CorruptFile:
    return CorruptFile(f"{path.name} {problem}", path=str(path))


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _pad(file: Any) -> None:
    file.write(bytes(_aligned(file.tell()) - file.tell()))
