"""Eight-bit codes of a column of vectors: made here, used as `app.kernels.codes` tells.

On disk: `.npy` files `{prefix}.codes`, `.frame` (middles and steps), `.norms` and `.bounds`. Made
with numpy alone, since the build process does without compiled code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile
from app.types import F32, I8, Metric
from app.vectors.arrays import map_array, save_array

LEVEL = 127
"""Codes are −LEVEL … LEVEL."""

COARSEST = 0.05
"""Largest typical error, as a share of the typical spread, with which codes are kept.

Uniform or normal values give about .01; far more means that a few rows stretch the ranges, and
walks would lose their way."""

LONGEST = 1e18
"""Longest row with which codes are kept: squares of more do not fit a float32."""

_CHUNK = 16384  # rows at a time, to bound the memory of float64 copies


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The codes of one column.

    codes    int8[slots, d]
    middles  float32[d], steps float32[d]: a row is about middles + steps × codes
    norms    float32[slots], ‖row − middles‖² for L2; empty for the other metrics
    bounds   float32[2]: the largest ‖row − its approximation‖; the largest length that a row has
    """

    codes: I8
    middles: F32
    steps: F32
    norms: F32
    bounds: F32

    @classmethod
    def made(cls, vectors: F32, metric: Metric) -> Codes | None:
        """Code the rows of float32[slots ≥ 1, d]; None where eight bits are too few for them."""
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        middles = ((low.astype(np.float64) + high) / 2).astype(np.float32)
        widths = (high.astype(np.float64) - low) / (2 * LEVEL)
        steps = np.where(widths > 0, widths, 1.0).astype(np.float32)
        codes = np.empty(vectors.shape, dtype=np.int8)
        squares, errors = np.empty(len(vectors)), np.empty(len(vectors))
        for start in range(0, len(vectors), _CHUNK):
            part = slice(start, start + _CHUNK)
            centred = vectors[part].astype(np.float64) - middles
            rounded = np.clip(np.rint(centred / steps), -LEVEL, LEVEL)
            codes[part] = rounded.astype(np.int8)
            squares[part] = np.einsum("ij,ij->i", centred, centred)
            centred -= rounded * steps
            errors[part] = np.einsum("ij,ij->i", centred, centred)
        length = np.sqrt(squares.max()) + np.linalg.norm(middles.astype(np.float64))
        if length > LONGEST or np.median(errors) > COARSEST**2 * _spread(vectors):
            return None
        return cls(
            codes,
            middles,
            steps,
            (squares if metric is Metric.L2 else squares[:0]).astype(np.float32),
            # A little more than measured: what is rounded to float32 must stay a bound.
            np.array([np.sqrt(errors.max()), length]).astype(np.float32) * np.float32(1.00001),
        )

    @property
    def arrays(self) -> tuple[I8, F32, F32, F32, F32]:
        """Give what the kernels take."""
        return self.codes, self.middles, self.steps, self.norms, self.bounds

    def save(self, folder: Path, prefix: str) -> list[Path]:
        """Write the arrays as new files; the caller syncs them."""
        arrays: dict[str, NDArray[Any]] = {
            "codes": self.codes,
            "frame": np.stack([self.middles, self.steps]),
            "norms": self.norms,
            "bounds": self.bounds,
        }
        for name, array in arrays.items():
            save_array(folder / f"{prefix}.{name}.npy", array)
        return [folder / f"{prefix}.{name}.npy" for name in arrays]

    @classmethod
    def open(cls, folder: Path, prefix: str, slots: int, dimension: int) -> Codes:
        """Map the arrays read-only. Raises CorruptFile where they do not fit together."""
        codes = map_array(folder / f"{prefix}.codes.npy", (np.int8,), 2)
        frame = map_array(folder / f"{prefix}.frame.npy", (np.float32,), 2)
        norms = map_array(folder / f"{prefix}.norms.npy", (np.float32,), 1)
        bounds = map_array(folder / f"{prefix}.bounds.npy", (np.float32,), 1)
        whole = (
            codes.shape == (slots, dimension)
            and frame.shape == (2, dimension)
            and norms.shape[0] in (0, slots)
            and bounds.shape == (2,)
        )
        if not whole:
            raise CorruptFile(f"the codes {prefix!r} do not fit their vectors")
        return cls(codes, frame[0], frame[1], norms, bounds)


def _spread(vectors: F32) -> float:
    """Give the median squared distance of rows from the median row: outliers do not count."""
    sample = vectors[:: max(1, len(vectors) // 4096)].astype(np.float64)
    sample -= np.median(sample, axis=0)
    return float(np.median(np.einsum("ij,ij->i", sample, sample)))
