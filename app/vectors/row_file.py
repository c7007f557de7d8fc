"""Vectors that stay on disk: rows are read when they are to be compared."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np

from app.errors import CorruptFile
from app.types import F32, U32
from app.vectors.arrays import map_array


class RowFile:
    """A `.npy` file of float32[rows, d], read row by row. Safe for any number of threads.

    Reading keeps nothing in this process: what stays in memory is the system's page cache, which
    gives way to whoever needs the memory.
    """

    def __init__(self, path: Path) -> None:
        """Open a file. Raises CorruptFile if it does not hold such an array."""
        self.rows, self.dimension = map_array(path, (np.float32,), 2).shape
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)  # with the last search that reads it
        self._row_bytes = 4 * self.dimension
        self._start = os.fstat(self._file).st_size - self.rows * self._row_bytes

    def read(self, slots: U32) -> F32:
        """Read rows: float32[slots, d]. Raises CorruptFile where the file ends early."""
        block = np.empty((slots.shape[0], self.dimension), dtype=np.float32)
        row_bytes = self._row_bytes
        for row, slot in zip(block, slots.tolist(), strict=True):
            if os.preadv(self._file, [row.data], self._start + slot * row_bytes) != row_bytes:
                raise CorruptFile("the file of vectors ends early")
        return block
