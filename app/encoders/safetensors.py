"""Read a safetensors file: 8 bytes of header length, a JSON header, raw little-endian arrays.

The header maps a tensor's name to `dtype`, `shape` and `data_offsets` (begin and end, counted from
the byte after the header). Format: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "|u1",
}
"""The dtypes that encoders are published in, as they lie in the file."""

LONGEST_HEADER = 100_000_000  # the limit that the format's own implementation sets


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Map the tensors of a file by name.

    returns  read-only views into the mapped file, which they keep open; bfloat16, which numpy
             lacks, as float32 of the same numbers, in memory

    Raises CorruptFile if the header is not what the format promises, a tensor leaves the file, or
    its dtype is not one of `DTYPES`.
    """
    size_bytes = path.stat().st_size
    if size_bytes < 8:
        raise _corrupt(path, f"{size_bytes} bytes are too few for a header")
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    header_bytes = int.from_bytes(raw[:8].tobytes(), "little")
    if header_bytes > min(LONGEST_HEADER, size_bytes - 8):
        raise _corrupt(path, f"a header of {header_bytes} bytes leaves the file")
    try:
        header = json.loads(raw[8 : 8 + header_bytes].tobytes())
    except ValueError as exc:
        raise _corrupt(path, "the header is not JSON") from exc
    if not isinstance(header, dict):
        raise _corrupt(path, "the header is not a JSON object")
    body = raw[8 + header_bytes :]
    return {
        name: _tensor(path, name, entry, body)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def safetensors_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Write tensors as a file of this format. Raises KeyError for a dtype that it does not have."""
    names = {code: name for name, code in DTYPES.items() if name != "BF16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    begin = 0
    for name, tensor in tensors.items():
        dtype = tensor.dtype.newbyteorder("<")
        parts.append(tensor.astype(dtype, copy=False).tobytes())
        end = begin + len(parts[-1])
        header[name] = {
            "dtype": names[dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # tensors begin on eight bytes, as readers may map them
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *parts])


def _tensor(path: Path, name: str, entry: Any, body: NDArray[np.uint8]) -> NDArray[Any]:
    try:
        dtype = np.dtype(DTYPES[entry["dtype"]])
        shape = tuple(int(axis) for axis in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as exc:
        raise _corrupt(path, f"tensor {name!r} has no known dtype, shape or offsets") from exc
    wanted = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(body) or end - begin != wanted:
        raise _corrupt(path, f"tensor {name!r} of shape {list(shape)} does not fit its offsets")
    values = body[begin:end].view(dtype)
    if entry["dtype"] == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def _corrupt(path: Path, reason: str) -> CorruptFile:
    return CorruptFile(f"{path} is not a safetensors file: {reason}", path=str(path))
