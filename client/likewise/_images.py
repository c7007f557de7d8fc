"""Images as callers have them, and as the service reads them."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

ImageLike: TypeAlias = "bytes | os.PathLike[str] | str"
"""The bytes of an image file, the path of one (`pathlib.Path`), or its URL: `data:…`, or `https://…`
where the service fetches images."""

_URLS = ("data:", "http://", "https://")


def image_to_wire(image: ImageLike) -> str:
    """Return an image as base64, or its URL as it is.

    Raises TypeError for a string that is no URL: a path and base64 look too much alike to guess.

    >>> image_to_wire(b"GIF89a")
    'R0lGODlh'
    """
    if isinstance(image, str):
        if image.lower().startswith(_URLS):
            return image
        raise TypeError("expected a URL, bytes or a pathlib.Path, received another string")
    if isinstance(image, os.PathLike):
        image = Path(image).read_bytes()
    return base64.b64encode(image).decode("ascii")


def input_to_wire(given: object) -> object:
    """Return an input of `embed`: bytes and paths are images, all else is as it is.

    >>> input_to_wire(b"GIF89a")
    {'image': 'R0lGODlh'}
    """
    if isinstance(given, (bytes, os.PathLike)):
        return {"image": image_to_wire(given)}
    if isinstance(given, Mapping) and set(given) == {"image"}:
        return {"image": image_to_wire(given["image"])}
    return given


def wire_length(given: object) -> int:
    """About how many bytes an image takes in a request body; 0 for what is no image."""
    if isinstance(given, bytes):
        return len(given) * 4 // 3
    return Path(given).stat().st_size * 4 // 3 if isinstance(given, os.PathLike) else 0
