"""Generated pictures, as the bytes of files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Colour = str | tuple[int, ...]


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    to = io.BytesIO()
    image.save(to, kind, **options)
    return to.getvalue()


def plain(colour: Colour, width: int = 40, height: int = 30) -> bytes:
    """A PNG of one colour."""
    return saved(Image.new("RGB", (width, height), colour))


def scene(seed: int, width: int = 120, height: int = 90) -> Image.Image:
    """Shapes in colours that the seed chooses: no two seeds look alike."""
    random = np.random.default_rng(seed)

    def colour() -> tuple[int, ...]:
        return tuple(int(value) for value in random.integers(0, 256, 3))

    image = Image.new("RGB", (width, height), colour())
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = (int(random.integers(0, side)) for side in (width, height))
        size = int(random.integers(15, 60))
        box = (left, top, left + size, top + size)
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=colour())
    return image
