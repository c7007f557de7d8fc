"""From pixels to a graph's input, held against plain numpy; and the hub's configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.encoders.framing import LONGEST, centre_crop, framed, shortest_edge
from app.encoders.manifest.image import Framing, framing_from_hub
from app.encoders.picture import U8
from app.errors import StoredDataError
from tests.encoders.joint import PREPROCESSOR
from tests.encoders.pictures import scene

CLIP = {
    **PREPROCESSOR,
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def from_hub(tmp_path: Path, config: Any) -> Framing:
    (tmp_path / "p.json").write_text(json.dumps(config))
    return framing_from_hub(tmp_path / "p.json")


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (224, 224), (90, 100), (500, 97)])
def test_clips_framing_is_that_of_its_definition(tmp_path: Path, size: tuple[int, int]) -> None:
    image = scene(5, *size)
    width, height = size
    scale = 224 / min(size)
    small = image.resize(
        (
            224 if width <= height else int(224 * width / height),
            224 if height <= width else int(224 * height / width),
        ),
        Image.Resampling.BICUBIC,
    )
    assert abs(small.width - width * scale) < 1
    assert abs(small.height - height * scale) < 1
    left, top = (small.width - 224) // 2, (small.height - 224) // 2
    numbers = np.asarray(small.crop((left, top, left + 224, top + 224)), np.float64) / 255
    wanted = ((numbers - CLIP["image_mean"]) / CLIP["image_std"]).transpose(2, 0, 1)
    found = framed(np.asarray(image), from_hub(tmp_path, CLIP))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_exact_sizes_and_swapped_channels(tmp_path: Path) -> None:
    framing = Framing(
        "exact", (4, 6), "bilinear", None, 1.0, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), "bgr"
    )
    image = scene(2)
    small = np.asarray(image.resize((6, 4), Image.Resampling.BILINEAR), np.float64)
    wanted = (small[..., ::-1] - [1, 2, 3]) / [1, 2, 4]
    np.testing.assert_allclose(framed(np.asarray(image), framing), wanted.transpose(2, 0, 1), 1e-5)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_a_crop_has_its_size_and_keeps_the_middle(h: int, w: int, height: int, width: int) -> None:
    pixels: U8 = np.arange(1, h * w * 3 + 1, dtype=np.uint8).reshape(h, w, 3)
    found = centre_crop(pixels, height, width)
    assert found.shape == (height, width, 3)
    rows, columns = min(h, height), min(w, width)
    kept = found[np.any(found, axis=(1, 2))][:, np.any(found, axis=(0, 2))]
    assert kept.shape[:2] == (rows, columns)
    # What is kept is one block, with as much cut off (or added) before it as behind, but for one.
    top = (h - rows) // 2 if h > height else 0
    left = (w - columns) // 2 if w > width else 0
    assert (kept == pixels[top : top + rows, left : left + columns]).all()


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 512))
def test_the_shortest_edge_is_as_asked_and_the_other_is_bounded(h: int, w: int, edge: int) -> None:
    height, width = shortest_edge(h, w, edge)
    assert min(height, width) == edge
    assert max(height, width) <= LONGEST * edge
    assert (height <= width) == (h <= w) or height == width


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("shortest_edge", (224, 224), "bicubic", (224, 224))),
        ({"size": 336, "crop_size": 336}, ("shortest_edge", (336, 336), "bicubic", (336, 336))),
        (
            {"image_processor_type": "ViTImageProcessor", "size": 384, "do_center_crop": False},
            ("exact", (384, 384), "bicubic", None),
        ),
        (
            {"size": {"height": 20, "width": 30}, "resample": 2, "do_center_crop": False},
            ("exact", (20, 30), "bilinear", None),
        ),
        ({"do_resize": False}, ("none", (224, 224), "bicubic", (224, 224))),
    ],
)
def test_configurations_of_the_hub_are_read(
    tmp_path: Path, change: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = from_hub(tmp_path, {**CLIP, **change})
    assert (found.resize, found.edges, found.resample, found.crop) == expected


def test_steps_that_are_switched_off_are_left_out(tmp_path: Path) -> None:
    found = from_hub(tmp_path, {**CLIP, "do_normalize": False, "do_rescale": False})
    assert (found.rescale, found.mean, found.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "change",
    [
        {"do_pad": True},
        {"crop_pct": 0.9},
        {"size": {"longest_edge": 9}},
        {"size": "large"},
        {"resample": 9},
        {"image_std": [1, 1, 0]},
        {"image_mean": [1, 1]},
        {"do_center_crop": False},
    ],
)
def test_what_is_not_understood_is_refused_not_left_out(tmp_path: Path, change: Any) -> None:
    with pytest.raises(StoredDataError, match="cannot be used"):
        from_hub(tmp_path, {**CLIP, **change})
