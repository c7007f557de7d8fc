"""Read pictures: from the bytes of a file to pixels. The only importer of Pillow.

What a file claims is not believed: it is opened by its content, by readers of the formats listed
here and no others, and its size is read from its header before anything is decoded (`size_of`),
so that a small file that stands for a huge picture costs nothing. Only the first frame of an
animation is decoded.

Whatever the colours are stored as, three bytes a pixel come out:

- turned upright, as the camera's EXIF note says;
- transparent pixels on white. What colour hides behind transparency is an accident of the
  program that wrote the file;
- 16 bits a channel are scaled to 8, where Pillow would cut them off at 255;
- CMYK, palettes, grey and black-and-white as Pillow converts them; colour profiles are ignored.
"""

from __future__ import annotations

import io
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.encoders.manifest.image import Resample
from app.errors import InvalidImage

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read, in Pillow's names; PPM stands for PBM, PGM, PPM and PNM."""

MOST_PIXELS = 1 << 28
"""Beyond this Pillow itself refuses; the service's own limit is far below."""

U8 = NDArray[np.uint8]

Image.MAX_IMAGE_PIXELS = MOST_PIXELS

_FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Resample)}

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def size_of(file: bytes) -> tuple[int, int]:
    """Width and height as the file's header says, before it is turned upright; decodes nothing.

    Raises InvalidImage for what is no image of `FORMATS`.
    """
    with _opened(file) as image:
        return image.size


def pixels_of(file: bytes) -> U8:
    """Decode a picture.

    returns  uint8[height, width, 3], red first

    Raises InvalidImage for what is no image of `FORMATS`, is damaged, or ends too early.
    """
    with _opened(file) as image:
        try:
            image.load()
            return np.asarray(_rgb(_upright(image)))
        except (InvalidImage, MemoryError):
            raise
        except Exception as exc:
            # Pillow's readers let through whatever they stumble over: SyntaxError, struct.error, …
            raise InvalidImage("the image is damaged or ends too early") from exc


def resized(pixels: U8, width: int, height: int, resample: Resample) -> U8:
    """Scale to exactly this size. pixels: uint8[any, any, 3]; returns uint8[height, width, 3]."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), _FILTERS[resample])
    return np.asarray(image)


def _opened(file: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file), formats=FORMATS)
    except Exception as exc:
        raise InvalidImage(f"expected an image of one of the formats {', '.join(FORMATS)}") from exc


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata of a picture that decodes
        return image
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_deep(image)
    if image.mode == "F":
        raise InvalidImage("an image of floating-point numbers has no range: save it with integers")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode in ("RGBa", "La"):
            image = image.convert(image.mode[:-1] + "A")
        shown = image.convert("RGBA")
        white = Image.new("RGBA", shown.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, shown).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, as `I;16…` or as 32-bit integers that hold as much."""
    deep = np.asarray(image).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
