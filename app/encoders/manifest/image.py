"""What makes an encoder of pictures: [image] and [output].

How a picture becomes the graph's input stands in the manifest, or in the file that model hubs
publish for it, `preprocessor_config.json`, which the manifest then names instead:

    [image]                            [image]
    resize = "shortest_edge"           preprocessor = "preprocessor_config.json"
    size = [224, 224]
    …

What is made of the graph's patches is [output], as for texts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from app.encoders.base import OutputKind
from app.encoders.files import text_of
from app.encoders.manifest.table import Table
from app.encoders.manifest.text import Output, read_output
from app.errors import StoredDataError

Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""Pillow's filters. All but the first look at every pixel when they make a picture smaller."""

Resize = Literal["exact", "shortest_edge", "none"]
Channels = Literal["rgb", "bgr"]

IMAGE_POOLS = ("cls", "mean", "max")
"""The plain pools that patches have: those by the order of words are for texts."""

Three = tuple[float, float, float]

_CODES: dict[int, Resample] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
"""The numbers that configurations use for filters: Pillow's."""

_BY_SHORTEST = ("CLIP", "ChineseCLIP", "Bit", "ConvNext", "OwlViT")
"""Processors for which one number as `size` is the shortest edge; for others it is both."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture becomes the graph's input, in this order.

    resize    to `edges` exactly, to `edges[0]` along the shorter side, or not at all
    edges     height, width
    crop      height, width cut out of the middle, black where the picture is smaller; None: all
    rescale   what the bytes are multiplied with
    mean, std  of each channel after that, in the order of `channels`
    """

    resize: Resize
    edges: tuple[int, int]
    resample: Resample
    crop: tuple[int, int] | None
    rescale: float
    mean: Three
    std: Three
    channels: Channels = "rgb"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the graph gets."""
        return self.crop or self.edges


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An encoder of pictures: file → pixels → graph → output.

    framing       as the manifest says it; None if `preprocessor` does
    preprocessor  path of a `preprocessor_config.json`
    output        how patches become one vector
    tokens        name of the graph's output of one vector a patch; "" if there is none
    """

    framing: Framing | None
    preprocessor: str
    output: Output
    tokens: str

    @property
    def max_input(self) -> int:
        """Pictures are not cut at a length."""
        return 0

    @property
    def outputs(self) -> tuple[OutputKind, ...]:
        """What it makes of a picture."""
        return ("dense", "tokens") if self.tokens else ("dense",)

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        framing = {"image.preprocessor": self.preprocessor} if self.preprocessor else {}
        return framing | self.output.paths

    def framed(self, folder: Path) -> Framing:
        """The framing, read from the model's folder if the manifest leaves it to a file.

        Raises StoredDataError.
        """
        return self.framing or framing_from_hub(folder / self.preprocessor)


def read_image(top: Table) -> ImageSpec:
    """Read the tables of an encoder of pictures."""
    image = top.table("image")
    preprocessor = image.take("preprocessor", str, "")
    framing = None if preprocessor else _framing(image)
    image.end()
    output = top.table("output")
    tokens = output.take("tokens", str, "")
    return ImageSpec(framing, preprocessor, read_output(output, IMAGE_POOLS), tokens)


def _framing(table: Table) -> Framing:
    edges = table.numbers("size", 2, int)
    crop = table.numbers("crop", 2, int) if "crop" in table else None
    framing = Framing(
        resize=table.choose("resize", get_args(Resize)),
        edges=(edges[0], edges[1]),
        resample=table.choose("resample", get_args(Resample)),
        crop=None if crop is None else (crop[0], crop[1]),
        rescale=table.take("rescale", float, 1 / 255),
        mean=_three(table.numbers("mean", 3, float)),
        std=_three(table.numbers("std", 3, float)),
        channels=table.choose("channels", get_args(Channels)) if "channels" in table else "rgb",
    )
    if min(framing.edges + framing.size) < 1:
        table.fail("size", "heights and widths of at least 1", "less")
    if framing.resize == "shortest_edge" and crop is None:
        table.fail("crop", "a height and width: a graph wants pictures of one size", "nothing")
    if framing.resize == "none" and crop is None:
        table.fail("crop", "a height and width, since nothing is resized", "nothing")
    if min(framing.std) <= 0:
        table.fail("std", "numbers above 0", "others")
    return framing


def framing_from_hub(path: Path) -> Framing:
    """Read a `preprocessor_config.json` as model hubs publish it.

    Raises StoredDataError that names the member which says what is not understood here: to leave
    out a step would make bad vectors, silently.
    """
    try:
        found = json.loads(text_of(path))
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        return _from_hub(found)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise StoredDataError(
            f"{path} cannot be used: {type(exc).__name__}: {exc}", path=str(path)
        ) from exc


def _from_hub(found: dict[str, Any]) -> Framing:
    for step in ("do_pad", "do_reduce_labels", "do_flip_channel_order", "do_thumbnail"):
        if found.get(step):
            raise ValueError(f"{step} is not known here")
    if "crop_pct" in found:
        raise ValueError("crop_pct is not known here: state the manifest's own [image]")
    kind = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    shortest = kind.startswith(_BY_SHORTEST)
    resize, edges = _hub_resize(found, shortest)
    crop = None
    if found.get("do_center_crop", shortest):
        crop = _pair(found["crop_size"], "crop_size")
    if resize != "exact" and crop is None:
        raise ValueError("without do_center_crop pictures are of many sizes: one is wanted")
    normalised = found.get("do_normalize", True)
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if normalised:
        mean, std = _three(found["image_mean"]), _three(found["image_std"])
    if min(std) <= 0:
        raise ValueError("image_std must be above 0")
    rescale = float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 1.0
    if not all(map(math.isfinite, (rescale, *mean, *std))):
        raise ValueError("numbers must be finite")
    return Framing(
        resize=resize,
        edges=edges if edges is not None else crop or (1, 1),
        resample=_CODES[int(found.get("resample", 3 if shortest else 2))],
        crop=crop,
        rescale=rescale,
        mean=mean,
        std=std,
    )


def _hub_resize(found: dict[str, Any], shortest: bool) -> tuple[Resize, tuple[int, int] | None]:
    if not found.get("do_resize", True):
        return "none", None
    size = found["size"]
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        size, shortest = size["shortest_edge"], True
    elif isinstance(size, dict):
        return "exact", _pair(size, "size")
    edge = _positive(size, "size")
    return ("shortest_edge" if shortest else "exact"), (edge, edge)


def _pair(size: Any, name: str) -> tuple[int, int]:
    if isinstance(size, dict):
        if set(size) != {"height", "width"}:
            raise ValueError(f"{name} has members that are not known here: {sorted(size)}")
        return _positive(size["height"], name), _positive(size["width"], name)
    return _positive(size, name), _positive(size, name)


def _positive(value: Any, name: str) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a number of at least 1")
    return value


def _three(values: Any) -> Three:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
