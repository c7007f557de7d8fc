"""What manifests of image encoders say after the graph: pools over patches, maps, views."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.encoders.base import Encoder, Prepared
from app.encoders.direct import encode
from app.encoders.inputs import Input, Picture
from app.encoders.pipeline.pools import gem, orth_fuse
from app.encoders.registry import EncoderRegistry
from app.errors import EncoderUnavailable, StoredDataError
from app.types import F32
from tests.encoders.image_models import (
    DIMENSION,
    FRAMING,
    GRAPH,
    SIDE,
    TILE,
    mosaic,
    patch_graph,
    tiled,
    write_descriptor_as,
    write_patches,
)
from tests.encoders.models import ROOT
from tests.encoders.pipelines import opened, seeded, write_folder

MEAN = 'pool = "mean"\nnormalise = true\n'
GEM = 'pool = "gem"\nnormalise = true\n[output.gem]\np = 5.0\n'
FUSED = (
    'pool = "orth_fuse"\nnormalise = true\n[output.orth_fuse]\nglobal = "pooler_output"\n'
    'lambda = 1.0\nweights = "uniform"\n'
)


@contextmanager
def at(folder: Path) -> Iterator[Encoder]:
    _, encoder = opened(folder)
    yield encoder
    encoder.close()


def vectors(encoder: Encoder, pictures: Sequence[Input]) -> F32:
    return encode(encoder, pictures, "document").vectors


def tokens(encoder: Encoder, pictures: Sequence[Input]) -> list[F32]:
    ready = [one for one in encoder.prepare(pictures) if isinstance(one, Prepared)]
    return [np.asarray(one) for one in encoder.run(ready, "tokens")]


# ── pools over patches ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("output", ["last_hidden_state", "planes"])
def test_patches_are_pooled_as_the_function_of_that_name_does(tmp_path: Path, output: str) -> None:
    graph = GRAPH.replace("last_hidden_state", output)
    raw = f'{MEAN.replace("true", "false")}tokens = "last_hidden_state"\n'
    pictures = [mosaic(seed) for seed in range(3)]
    with at(write_patches(tmp_path / "raw", raw, graph=graph)) as encoder:
        patches, mean = tokens(encoder, pictures), vectors(encoder, pictures)
    assert patches[0].shape == (SIDE * SIDE, DIMENSION)
    np.testing.assert_allclose(mean, [one.mean(axis=0) for one in patches], atol=1e-5)
    with at(write_patches(tmp_path / "gem", GEM.replace("true", "false"), graph=graph)) as encoder:
        expected = [gem(one, 5.0) for one in patches]
        np.testing.assert_allclose(vectors(encoder, pictures), expected, atol=1e-5)
    fused = FUSED.replace("true", "false")
    folder = write_patches(tmp_path / "fused", fused, dimension=2 * DIMENSION, graph=graph)
    with at(folder) as encoder:
        expected = [orth_fuse(one, one[0], 1.0) for one in patches]
        np.testing.assert_allclose(vectors(encoder, pictures), expected, atol=1e-4)


def test_maps_follow_and_regions_stand_for_patches(tmp_path: Path) -> None:
    output = (
        f'tokens = "last_hidden_state"\n{GEM}[output.context]\nk = 4\nlambda = 0.5\n'
        'emit = "regions"\n[[output.maps]]\nop = "pca"\nmatrix = "m.npy"\n'
    )
    folder = write_patches(tmp_path / "one", output, {"m.npy": seeded(1, 7, 24)}, dimension=7)
    with at(folder) as encoder:
        assert vectors(encoder, [mosaic(1)]).shape == (1, 7)
        (regions,) = tokens(encoder, [mosaic(1)])
    assert regions.shape == (4, DIMENSION)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('pool = "last"\nnormalise = true\n', "output.pool"),
        ('pool = "gem"\nnormalise = true\n', "output.gem"),
        (f'{MEAN}[[output.maps]]\nop = "center"\nmean = "no.npy"\n', r"output.maps\[0\].mean"),
    ],
)
def test_mistakes_in_a_manifest_are_named(tmp_path: Path, output: str, said: str) -> None:
    with pytest.raises(StoredDataError, match=said):
        opened(write_patches(tmp_path / "one", output))


# ── planted clutter ──────────────────────────────────────────────────────────────────────────


def recall(folder: Path, first: Sequence[Picture], second: Sequence[Picture]) -> float:
    """Share of items whose second picture is nearest to their first."""
    with at(folder) as encoder:
        alike = vectors(encoder, second) @ vectors(encoder, first).T
    return float((alike.argmax(axis=1) == np.arange(len(first))).mean())


def two_of_each(items: int, picture: Callable[[int], Picture]) -> list[list[Picture]]:
    return [[picture(item) for item in range(items)] for _ in range(2)]


def test_gem_finds_the_salient_tile_that_a_mean_drowns(tmp_path: Path) -> None:
    random = np.random.RandomState(31)
    own = np.sign(random.standard_normal((60, 3, TILE, TILE)))

    def picture(item: int) -> Picture:
        tiles = random.uniform(-0.5, 0.5, (SIDE * SIDE, 3, TILE, TILE))
        tiles[random.randint(SIDE * SIDE)] = own[item]
        return tiled(tiles)

    first, second = two_of_each(60, picture)
    mean = recall(write_patches(tmp_path / "mean", MEAN), first, second)
    salient = recall(write_patches(tmp_path / "gem", GEM), first, second)
    assert mean < 0.6
    assert salient > 0.95


def test_fusion_finds_what_only_patches_know_under_changing_light(tmp_path: Path) -> None:
    """Items in pairs with one sign in the corner, which shines on all other tiles."""
    random = np.random.RandomState(32)
    sign = np.repeat(np.sign(random.standard_normal((20, 3, TILE, TILE))), 2, axis=0)
    own = 0.15 * np.sign(random.standard_normal((40, 3, TILE, TILE)))

    def picture(item: int) -> Picture:
        light = random.uniform(-0.7, 0.7, (SIDE * SIDE, 1, 1, 1))
        light += random.uniform(-0.5, 0.5)
        tiles = own[item] + light.clip(-0.8, 0.8) * sign[item]
        tiles[0] = sign[item]
        return tiled(tiles)

    first, second = two_of_each(40, picture)
    mean = recall(write_patches(tmp_path / "mean", MEAN), first, second)
    corner = recall(
        write_patches(tmp_path / "corner", 'pool = "cls"\nnormalise = true\n'), first, second
    )
    fused = recall(write_patches(tmp_path / "fused", FUSED, dimension=2 * DIMENSION), first, second)
    assert mean < 0.7
    assert corner < 0.7
    assert fused > 0.95


# ── the documentation ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ["output.orth_fuse", "views"])
def test_a_documented_manifest_works(tmp_path: Path, table: str) -> None:
    page = (ROOT / "docs" / "encoders" / "images.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (block,) = [one for one in blocks if f"[{table}]" in one]
    files = {"model.onnx": patch_graph()}
    fused = table != "views"
    body = FRAMING + (block if fused else f"{GRAPH}[output]\n{MEAN}{block}")
    dimension = (1 + fused) * DIMENSION
    how = {"kind": "image", "modality": "image", "dimension": dimension}
    with at(write_folder(tmp_path / "one", body, files, **how)) as encoder:
        (vector,) = vectors(encoder, [mosaic(1)])
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert (encoder.estimate(mosaic(1)) == 8 * 4) is not fused


# ── views ────────────────────────────────────────────────────────────────────────────────────


def turned(picture: Picture, how: Image.Transpose) -> Picture:
    """The file of a turned picture, as a client would send it."""
    to = io.BytesIO()
    Image.open(io.BytesIO(picture.file)).transpose(how).save(to, "PNG")
    return Picture(to.getvalue())


TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
MIRRORS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.TRANSVERSE)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize(("group", "acts"), [("C4", TURNS), ("D4", TURNS + MIRRORS)])
def test_the_built_in_descriptor_over_a_group_does_not_see_which_way_up_a_file_is(
    tmp_path: Path, group: str, acts: Sequence[Image.Transpose], pool: str
) -> None:
    views = f'[views]\ngroup = "{group}"\npool = "{pool}"\n'
    pictures = [mosaic(seed, edge, edge) for seed, edge in enumerate((128, 200, 61, 20))]
    with at(write_descriptor_as(tmp_path / "over", views)) as over:
        upright = vectors(over, pictures)
        for act in acts:
            other = vectors(over, [turned(picture, act) for picture in pictures])
            assert ((upright * other).sum(axis=1) >= 1 - 1e-5).all(), act


def test_the_descriptor_without_views_does_see_it(tmp_path: Path) -> None:
    pictures = [mosaic(seed) for seed in range(4)]
    with at(write_descriptor_as(tmp_path / "bare")) as bare:
        other = vectors(bare, [turned(picture, TURNS[0]) for picture in pictures])
        assert ((vectors(bare, pictures) * other).sum(axis=1) < 0.95).all()


def test_a_mirror_is_another_picture_for_quarter_turns(tmp_path: Path) -> None:
    pictures = [mosaic(seed) for seed in range(4)]
    with at(write_descriptor_as(tmp_path / "over", '[views]\ngroup = "C4"\npool = "mean"\n')) as c4:
        other = vectors(c4, [turned(picture, MIRRORS[0]) for picture in pictures])
        assert ((vectors(c4, pictures) * other).sum(axis=1) < 0.999).all()


def test_every_view_is_stored_where_tokens_are_asked_for(tmp_path: Path) -> None:
    write_descriptor_as(tmp_path / "every", '[views]\ncrop = 0.7\npool = "store_all"\n')
    write_descriptor_as(tmp_path / "bare")
    registry = EncoderRegistry(tmp_path, threads=1, queue=100, batch_tokens=64)
    assert registry.load("every").outputs == ("dense", "tokens")
    registry.load("bare")
    picture = mosaic(1, 128, 128)
    (stored,) = registry.submit("every", [picture], "document", "tokens").result(10).outputs
    (mean,) = registry.submit("every", [picture], "document").result(10).vectors
    (whole,) = registry.submit("bare", [picture], "document").result(10).vectors
    registry.close()
    assert stored.shape == (6, len(whole))
    np.testing.assert_allclose(stored[0], whole, atol=1e-5)
    average = stored.mean(axis=0)
    np.testing.assert_allclose(mean, average / np.linalg.norm(average), atol=1e-5)


def test_quarter_turns_of_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    framing = FRAMING.replace("[24, 24]", "[24, 16]")
    for group, fits in (("C4", False), ("D4", False), ("flip", True)):
        views = f'[views]\ngroup = "{group}"\npool = "mean"\n'
        write_patches(tmp_path / group, MEAN, more=views, framing=framing)
        registry = EncoderRegistry(tmp_path, threads=1, queue=100, batch_tokens=64)
        if fits:
            assert registry.load(group).status == "ready"
        else:
            with pytest.raises(EncoderUnavailable, match=r"square pixels.*24 × 16"):
                registry.load(group)
        registry.close()
