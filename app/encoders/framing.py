"""From the pixels of a picture to the numbers that a graph reads."""

from __future__ import annotations

import numpy as np

from app.encoders.manifest.image import Framing
from app.encoders.picture import U8, resized
from app.types import F32


def framed(pixels: U8, framing: Framing) -> F32:
    """Resize, crop, rescale and normalise.

    pixels   uint8[height, width, 3], red first

    returns  float32[3, height, width] of `framing.size`
    """
    height, width = pixels.shape[:2]
    if framing.resize == "exact":
        height, width = framing.edges
    elif framing.resize == "shortest_edge":
        height, width = shortest_edge(height, width, framing.edges[0])
    pixels = resized(pixels, width, height, framing.resample)
    if framing.crop is not None:
        pixels = centre_crop(pixels, *framing.crop)
    if framing.channels == "bgr":
        pixels = pixels[..., ::-1]
    scale = np.float64(framing.rescale) / np.asarray(framing.std)
    shift = np.asarray(framing.mean) / np.asarray(framing.std)
    planes = pixels.transpose(2, 0, 1) * scale.astype(np.float32)[:, None, None]
    planes -= shift.astype(np.float32)[:, None, None]
    return np.ascontiguousarray(planes, np.float32)


def shortest_edge(height: int, width: int, edge: int) -> tuple[int, int]:
    """Height and width with the shorter one as asked and the longer one in proportion, cut off.

    Never below the shorter one, however thin the picture; and at most `LONGEST` times as long, so
    that a picture of one row of pixels does not become a wall of them.
    """
    shorter, longer = sorted((height, width))
    scaled = min(max(edge, int(edge * longer / shorter)), LONGEST * edge)
    return (edge, scaled) if height <= width else (scaled, edge)


LONGEST = 64
"""Of a picture that is longer than so many times its width only the middle is looked at anyway."""


def centre_crop(pixels: U8, height: int, width: int) -> U8:
    """Cut out the middle; black where the picture is smaller."""
    found_height, found_width = pixels.shape[:2]
    if found_height < height or found_width < width:
        rows, columns = max(height, found_height), max(width, found_width)
        top, left = -(-(rows - found_height) // 2), -(-(columns - found_width) // 2)
        larger = np.zeros((rows, columns, 3), np.uint8)
        larger[top : top + found_height, left : left + found_width] = pixels
        pixels, found_height, found_width = larger, rows, columns
    top, left = (found_height - height) // 2, (found_width - width) // 2
    return pixels[top : top + height, left : left + width]
