"""One field of tokens of a part: the vectors of all tokens in one array, and where each slot's are.

The same for a head, whose arrays grow (`GrowingTokens`), and for a segment, whose arrays are mapped
files (`TokenFile` writes them row by row: all tokens of a segment may be more than fits in memory).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile
from app.types import F16, F32, I64, U32
from app.vectors.arrays import map_array, read_only
from app.vectors.tokens import widened

_COPIED = 65_536  # tokens copied from another segment at a time
_HEADER = 128  # bytes before the numbers of a `.npy` file of ours
_FIRST_TOKENS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class TokenColumn:
    """Tokens float16[total, d] of unit length; those of slot s are offsets[s] … offsets[s + 1].

    offsets   int64[slots + 1], ascending; equal where a slot has none
    """

    tokens: F16
    offsets: I64

    def counts(self, slots: U32) -> I64:
        """Count the tokens of slots: int64[slots]."""
        counts: I64 = self.offsets[slots.astype(np.int64) + 1] - self.offsets[slots]
        return counts

    def rows(self, slots: U32) -> tuple[F32, I64]:
        """Copy tokens out, in the order of `slots`.

        returns  float32[total, d], and int64[slots + 1], where those of each begin
        """
        counts = self.counts(slots)
        begins = begins_of(counts)
        # Of each token its place here: as far behind its slot's first as it comes behind that one.
        places = np.arange(begins[-1]) + np.repeat(self.offsets[slots] - begins[:-1], counts)
        return widened(self.tokens.take(places, axis=0)), begins

    @classmethod
    def open(cls, folder: Path, prefix: str, *, slots: int, dimension: int) -> TokenColumn:
        """Map the files of a segment. Raises CorruptFile."""
        offsets: I64 = map_array(folder / f"{prefix}.offsets.npy", (np.int64,), 1)
        path = folder / f"{prefix}.tokens.npy"
        tokens: F16 = map_array(path, (np.float16,), 2)
        if (
            offsets.shape != (slots + 1,)
            or offsets[0] != 0
            or (offsets[1:] < offsets[:-1]).any()
            or tokens.shape != (offsets[-1], dimension)
        ):
            raise CorruptFile(f"{path.name} does not fit its offsets", path=str(path))
        return cls(tokens, offsets)


class GrowingTokens:
    """The tokens of a head. `append` is for one thread at a time; `view` for any.

    As everywhere in a head: what a view shows is never written again.
    """

    def __init__(self, dimension: int) -> None:
        self._tokens: F16 = np.empty((_FIRST_TOKENS, dimension), dtype=np.float16)
        self._offsets: I64 = np.zeros(_FIRST_TOKENS, dtype=np.int64)
        self._slots = 0
        self._total = 0

    def append(self, tokens: F16 | None) -> None:
        """Add the tokens of the next slot; None if it has none."""
        total = self._total + (0 if tokens is None else tokens.shape[0])
        if self._slots + 2 > self._offsets.shape[0]:
            self._offsets = _grown(self._offsets, self._slots + 2)
        if total > self._tokens.shape[0]:
            self._tokens = _grown(self._tokens, total)
        if tokens is not None:
            self._tokens[self._total : total] = tokens
        self._offsets[self._slots + 1] = total
        self._slots += 1
        self._total = total

    def view(self) -> TokenColumn:
        """Take what has been appended so far."""
        return TokenColumn(
            read_only(self._tokens[: self._total]), read_only(self._offsets[: self._slots + 1])
        )


class TokenFile:
    """Writes a column of tokens, slot after slot: a context that ends with two whole files."""

    def __init__(self, folder: Path, prefix: str, dimension: int) -> None:
        self._prefix = prefix
        self._folder = folder
        self._dimension = dimension
        self._counts: list[int] = []
        self._file = self.paths[0].open("xb")
        self._file.write(bytes(_HEADER))

    @property
    def paths(self) -> list[Path]:
        """The files: tokens and offsets."""
        return [self._folder / f"{self._prefix}.{name}.npy" for name in ("tokens", "offsets")]

    def append(self, tokens: F16 | None) -> None:
        """Write the tokens of the next slot; None if it has none."""
        if tokens is not None:
            self._file.write(tokens.astype("<f2", copy=False).tobytes())
        self._counts.append(0 if tokens is None else tokens.shape[0])

    def copy(self, column: TokenColumn) -> None:
        """Write all slots of another column."""
        for start in range(0, column.tokens.shape[0], _COPIED):
            self._file.write(column.tokens[start : start + _COPIED].tobytes())
        self._counts += np.diff(column.offsets).tolist()

    def __enter__(self) -> TokenFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            if error is not None:
                return
            offsets = begins_of(np.array(self._counts, dtype=np.int64))
            self._file.seek(0)
            self._file.write(_header((int(offsets[-1]), self._dimension)))
        np.save(self.paths[1], offsets, allow_pickle=False)


def begins_of(counts: I64) -> I64:
    """Turn counts int64[n] into where each begins, and the end: int64[n + 1]."""
    begins = np.zeros(counts.shape[0] + 1, dtype=np.int64)
    np.cumsum(counts, out=begins[1:])
    return begins


def _grown(array: NDArray[Any], least: int) -> NDArray[Any]:
    grown = np.zeros((max(least, 2 * array.shape[0]), *array.shape[1:]), dtype=array.dtype)
    grown[: array.shape[0]] = array
    return grown


def _header(shape: Sequence[int]) -> bytes:
    """Write the header of a `.npy` file (version 1.0) of float16, in `_HEADER` bytes.

    Source: NEP 1, a simple file format for NumPy arrays.
    """
    said = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({shape[0]}, {shape[1]}), }}"
    magic = b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little")
    return magic + said.encode("ascii").ljust(_HEADER - 11) + b"\n"
