"""Encoders of pictures: the built-in descriptor, and a joint pair in the layout of CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.encoders.base import Encoder
from app.encoders.descriptor import build_descriptor, write_descriptor
from app.encoders.direct import encode
from app.encoders.inputs import Picture
from app.encoders.manifest import FILE_NAME, read_manifest
from app.encoders.opening import open_encoder
from app.encoders.registry import EncoderRegistry
from app.errors import InvalidImage, StoredDataError
from app.types import F32
from tests.encoders.joint import COLOURS, write_joint
from tests.encoders.models import ROOT
from tests.encoders.pictures import plain, saved, scene

MODEL = ROOT / "models" / "image-descriptor"


@pytest.fixture(scope="module")
def descriptor() -> Iterator[Encoder]:
    encoder = open_encoder(read_manifest(MODEL), MODEL, threads=2)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderRegistry]:
    models = tmp_path_factory.mktemp("joint")
    write_joint(models)
    registry = EncoderRegistry(models, threads=1, queue=100, batch_tokens=64)
    yield registry
    registry.close()


def vectors(encoder: Encoder, *files: bytes) -> F32:
    return encode(encoder, [Picture(file) for file in files], "document").vectors


def test_the_committed_descriptor_is_what_its_script_writes(tmp_path: Path) -> None:
    write_descriptor(tmp_path)
    for file in ("model.onnx", FILE_NAME):
        assert (tmp_path / file).read_bytes() == (MODEL / file).read_bytes(), file
    assert (MODEL / "model.onnx").stat().st_size < 200_000


def test_a_vector_does_not_depend_on_the_pictures_beside_it(descriptor: Encoder) -> None:
    files = [saved(scene(seed)) for seed in range(9)]
    together = vectors(descriptor, *files)
    alone = np.concatenate([vectors(descriptor, file) for file in files])
    backwards = vectors(descriptor, *files[::-1])[::-1]
    assert (together == alone).all()
    assert (together == backwards).all()


@pytest.mark.parametrize("colour", ["black", "white", "red", (7, 7, 7)])
def test_a_picture_of_one_colour_has_a_finite_vector_of_length_one(
    descriptor: Encoder, colour: str
) -> None:
    (vector,) = vectors(descriptor, plain(colour))
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_changed_pictures_are_nearest_to_their_originals(descriptor: Encoder) -> None:
    scenes = [scene(seed, 160, 120) for seed in range(30)]
    originals = vectors(descriptor, *map(saved, scenes))
    changed = {
        "smaller": [saved(one.resize((64, 48))) for one in scenes],
        "as JPEG": [saved(one, "JPEG", quality=15) for one in scenes],
        "cropped": [saved(one.crop((8, 6, 152, 114))) for one in scenes],
        "turned": [saved(one.rotate(4)) for one in scenes],
        "darker": [saved(one.point(lambda value: value * 0.7)) for one in scenes],
    }
    for change, files in changed.items():
        nearest = (vectors(descriptor, *files) @ originals.T).argmax(1)
        assert (nearest == np.arange(30)).all(), change


def test_colours_that_shapes_do_not_tell_apart_are_told_apart(descriptor: Encoder) -> None:
    red, crimson, blue = vectors(descriptor, plain("red"), plain("crimson"), plain("blue"))
    assert red @ crimson > red @ blue


def test_the_dimension_is_the_sum_of_the_parts() -> None:
    from app.encoders.descriptor import Design

    design = Design(grids=(4, 2), levels=(1.0, 1.0), directions=6, colours=3, greys=4)
    _, dimension = build_descriptor(design)
    assert dimension == 6 * (16 + 4) + 5 * 9 + 5 * 4 + design.frequencies**2 - 1


def test_a_damaged_picture_fails_alone(pair: EncoderRegistry) -> None:
    pair.load("joint-image")
    good, bad = Picture(plain("red")), Picture(plain("red")[:60])
    with pytest.raises(InvalidImage) as raised:
        pair.submit("joint-image", [good, bad], "document").result(10)
    assert raised.value.pointer == "/1"
    assert pair.submit("joint-image", [good], "document").result(10).vectors.shape == (1, 8)


def test_pictures_are_close_to_the_words_for_their_colour(pair: EncoderRegistry) -> None:
    for name in ("joint-image", "joint-text"):
        assert pair.load(name).space == "joint@1"
    seen = pair.submit("joint-image", [Picture(plain(colour)) for colour in COLOURS], "document")
    said = pair.submit("joint-text", [f"a photo of {colour}" for colour in COLOURS], "query")
    alike = said.result(10).vectors @ seen.result(10).vectors.T
    assert (alike.argmax(1) == np.arange(len(COLOURS))).all()


def test_patches_are_its_tokens(pair: EncoderRegistry) -> None:
    assert pair.load("joint-image").outputs == ("dense", "tokens")
    encoded = pair.submit("joint-image", [Picture(plain("red"))] * 2, "document", "tokens")
    first, second = encoded.result(10).outputs
    assert first.shape == (4, 8)
    assert (first == second).all()
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_each_encoder_refuses_what_only_the_other_reads(pair: EncoderRegistry) -> None:
    pair.load("joint-image")
    with pytest.raises(InvalidImage, match="reads images only"):
        pair.submit("joint-image", ["a text"], "query")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('resize = "exact"', 'resize = "fill"', "image.resize"),
        ("size = [128, 128]", "size = [128]", "image.size"),
        ("size = [128, 128]", "size = [0, 128]", "image.size"),
        ("std = [1.0, 1.0, 1.0]", "std = [1.0, 1.0, 0.0]", "image.std"),
        ('resize = "exact"', 'resize = "shortest_edge"', "image.crop"),
        ('pool = "graph"', 'pool = "last"', "output.pool"),
        ("[image]", "[image]\nsise = 1", "sise"),
    ],
)
def test_mistakes_in_a_manifest_are_named(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    folder = tmp_path / MODEL.name
    folder.mkdir()
    text = (MODEL / FILE_NAME).read_text()
    assert before in text
    (folder / FILE_NAME).write_text(text.replace(before, after))
    with pytest.raises(StoredDataError, match=said):
        read_manifest(folder)
