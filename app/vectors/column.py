"""One vector field of a part, as it is searched: the vectors, and their codes if there are any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.types import F32, U32
from app.vectors.arrays import read_only
from app.vectors.codes import Codes
from app.vectors.row_file import RowFile


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Vectors float32[slots, d], prepared and read-only, zeros where there is none; their codes.

    file   where the vectors are read from if they stay on disk: then `vectors` has no rows, and
           there are codes
    """

    vectors: F32
    codes: Codes | None = None
    file: RowFile | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Give the rows, whether in memory or not, and the numbers of each."""
        rows = self.vectors.shape[0] if self.file is None else self.file.rows
        return rows, self.vectors.shape[1]

    def rows(self, slots: U32) -> F32:
        """Copy vectors out: float32[slots, d]."""
        rows: F32 = self.vectors[slots] if self.file is None else self.file.read(slots)
        return rows

    @classmethod
    def on_disk(cls, file: RowFile, codes: Codes) -> Column:
        """Search by codes, and read the vectors of what comes close."""
        return cls(read_only(np.empty((0, file.dimension), dtype=np.float32)), codes, file)
