"""One vector field of a part, as it is searched: the vectors, and their codes if there are any."""

from __future__ import annotations

from dataclasses import dataclass

from app.types import F32
from app.vectors.codes import Codes


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Vectors float32[slots, d], prepared and read-only, zeros where there is none; their codes."""

    vectors: F32
    codes: Codes | None = None
