"""Shorter vectors of an encoder that was trained for them: the first numbers, and renormalised.

Source: Kusupati et al. 2022, Matryoshka representations (arXiv 2205.13147).
"""

from __future__ import annotations

import numpy as np

from app.encoders.base import EncoderInfo
from app.encoders.pipeline.arrays import unit
from app.types import F32


def makes(info: EncoderInfo, dimension: int) -> bool:
    """Whether an encoder makes vectors of that many numbers, at once or cut."""
    if dimension == info.dimension:
        return True
    if info.dimensions == "any":
        return 1 <= dimension < info.dimension
    return dimension in info.dimensions


def lengths_in_words(info: EncoderInfo) -> str:
    """What lengths of vectors an encoder makes, for a message."""
    if info.dimensions == "any":
        return f"1 to {info.dimension} numbers"
    return ", ".join(map(str, (*info.dimensions, info.dimension))) + " numbers"


def shortened(vectors: F32, dimension: int, *, renormalise: bool) -> F32:
    """Cut vectors [text, dim] float32 to their first numbers.

    renormalise  whether they have length one, and shall have it again
    returns      [text, dimension] float32, C-ordered; `vectors` itself if there is nothing to cut
    """
    if dimension == vectors.shape[1]:
        return vectors
    cut = np.ascontiguousarray(vectors[:, :dimension])
    return unit(cut) if renormalise else cut
