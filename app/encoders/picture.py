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

Colours are converted some rows at a time, so that a pixel takes no more than four bytes of Pillow's
and three of ours. Two things that cost far more time than their bytes are refused: what Pillow
decodes in Python, which holds up everybody else, and JPEGs that go over the picture a hundred
times.
"""

from __future__ import annotations

import io
from collections.abc import Callable
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
_UPRIGHT: dict[int, Callable[[U8], U8]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}

_STRIP_PIXELS = 1 << 20  # converted at once
_MOST_SCANS = 100
"""Of a JPEG, each of which is decoded over the whole picture; programs write ten or so."""


def size_of(file: bytes) -> tuple[int, int]:
    """Width and height as the file's header says, before it is turned upright; decodes nothing.

    Raises InvalidImage for what is no image of `FORMATS`, or takes too long to decode.
    """
    with _opened(file) as image:
        if any(tile.codec_name in Image.DECODERS for tile in getattr(image, "tile", ())):
            raise InvalidImage(
                "an image is not written as text, run-length encoded BMP or PNM of odd depth: "
                "save it as PNG"
            )
        # Among the compressed bytes 0xff is followed by 0, so that these two begin a scan.
        if image.format in ("JPEG", "MPO") and file.count(b"\xff\xda") > _MOST_SCANS:
            raise InvalidImage(f"a JPEG has at most {_MOST_SCANS} scans")
        return image.size


def pixels_of(file: bytes) -> U8:
    """Decode a picture.

    returns  uint8[height, width, 3], red first

    Raises InvalidImage for what is no image of `FORMATS`, is damaged, or ends too early.
    """
    with _opened(file) as image:
        try:
            image.load()
            return _upright(image, _pixels(image))
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


def _upright(image: Image.Image, pixels: U8) -> U8:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata of a picture that decodes
        return pixels
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _pixels(image: Image.Image) -> U8:
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = np.asarray(_rgb(image.crop((0, top, width, bottom))))
    return pixels


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
