"""Manifests of the pipeline are read strictly, and what they say is what happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.encoders.build import is_built
from app.encoders.direct import encode
from app.encoders.manifest import read_manifest
from app.encoders.obtain import obtain
from app.encoders.opening import open_encoder
from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.pools import gem
from app.errors import StoredDataError
from tests.encoders.models import small_files, small_manifest, write_model
from tests.encoders.pipelines import (
    DIMENSION,
    RECORD,
    opened,
    seeded,
    write_folder,
    write_points,
    write_router,
    write_text,
)

GEM = 'pool = "gem"\nnormalise = true\n[output.gem]\np = 3.0\n'
VLAD = 'pool = "codebook"\nnormalise = true\n[output.codebook]\nmode = "vlad"\nwords = "w.npy"\n'


@pytest.mark.parametrize(
    ("output", "old", "new", "message"),
    [
        (GEM, "p = 3.0", "p = 0.5", "output.gem.p: expected a number of at least 1, found 0.5"),
        (GEM, "p = 3.0", "p = inf", "output.gem.p: expected a number of at least 1, found inf"),
        (GEM, "p = 3.0", "p = 3", "output.gem.p: expected a float, found an integer"),
        (GEM, "p = 3.0", "p = 3.0\nq = 1", "output.gem.q: expected no such key .known: p"),
        (GEM, "[output.gem]\np = 3.0\n", "", "output.gem: expected a table, found nothing"),
        (GEM, '"gem"', '"mean"', "output.gem: expected no such key"),
        (GEM, '"gem"', '"gum"', "output.pool: expected one of"),
        (VLAD, '"vlad"', '"cs"', "output.codebook.reference: expected a string, found nothing"),
        (
            VLAD,
            'mode = "vlad"',
            'mode = "cs"\nreference = ""',
            "output.codebook.reference: expected a string, found an empty one",
        ),
        (VLAD, '"w.npy"', '"v.npy"', r"output.codebook.words: expected a path that \[\[files"),
        (VLAD, "words", "temperature = -1.0\nwords", "temperature: expected a number of at least"),
        (
            GEM,
            "p = 3.0",
            'p = 3.0\n[[output.maps]]\nop = "center"',
            r"output.maps\[0\].mean: expected a string, found nothing",
        ),
        (
            GEM,
            "p = 3.0",
            'p = 3.0\n[[output.maps]]\nop = "l2"\nmatrix = "w.npy"',
            r"output.maps\[0\].matrix: expected no such key",
        ),
        (
            GEM,
            "p = 3.0",
            'p = 3.0\n[[output.maps]]\nop = "pca"\nmatrix = "v.npy"',
            r"output.maps\[0\].matrix: expected a path that \[\[files",
        ),
        (
            GEM,
            "p = 3.0",
            "p = 3.0\n[output.context]\nk = 0\nlambda = 1.0",
            "output.context.k: expected a number of at least 1",
        ),
        (
            GEM,
            GEM,
            'pool = "mean"\nnormalise = true\n[output.context]\nk = 2\nlambda = 1.0\n',
            "output.context: expected a pool that works on single inputs",
        ),
        (GEM, "p = 3.0", 'p = 3.0\n[views]\ngroup = "C4"\npool = "mean"', "views.group: expected"),
        (GEM, "p = 3.0", 'p = 3.0\n[views]\npool = "mean"', "views.pool: expected exactly one of"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, output: str, old: str, new: str, message: str
) -> None:
    assert old in output
    folder = write_text(
        tmp_path / "m", output.replace(old, new, 1), {"w.npy": seeded(1, 5, DIMENSION)}
    )
    with pytest.raises(StoredDataError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows = 512", "rows = 100000000", "record.rows: expected rows × width"),
        ("seed = 7", "seed = -1", "record.seed: expected a number from 0"),
        ("lookups = 4", "lookups = 5", r"features\[1\].lookups: expected at most 8, a divisor"),
        ("lookups = 4", "lookups = 16", r"features\[1\].lookups: expected at most 8, a divisor"),
        ("weight = 2.0", "weight = 0.0", r"features\[1\].weight: expected a number above 0"),
        ("high = 100.0", "high = 0.0", r"features\[3\].high: expected a number above low"),
        ("buckets = 11", "buckets = 1", r"features\[3\].buckets: expected at least 2"),
        ('name = "tags"', 'name = "brand"', "record.features: expected at least one feature, each"),
        ('kind = "number"', 'kind = "date"', r"features\[3\].kind: expected one of"),
        ("[output]", '[graph]\nfile = "m"\nbatch = "alone"\n[output]', "graph: expected no such"),
    ],
)
def test_a_mistake_in_a_record_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RECORD
    body = RECORD.replace(old, new, 1)
    folder = write_folder(tmp_path / "r", body, {}, kind="record", modality="record", dimension=64)
    with pytest.raises(StoredDataError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("axes = 3", "axes = 4", "pointset.axes: expected 2 or 3"),
        ("bins = 6", "bins = 1", "pointset.bins: expected a number from 2 to 16"),
        ("max_points = 128", "max_points = 9999", "pointset.max_points: expected a number from 3"),
        ("[output]", '[views]\nscales = [1.0]\npool = "mean"\n[output]', "views.scales: expected"),
    ],
)
def test_a_mistake_in_a_point_set_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write_points(tmp_path / "p") / "encoder.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(StoredDataError, match=message):
        read_manifest(path.parent)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["law", "medicine"]', '["law"]', "router.experts: expected the names of at least two"),
        ('["law", "medicine"]', '["law", "law"]', "router.experts: expected every name once"),
        ("mix = 1", "mix = 3", "router.mix: expected 1 or 2"),
        ('by = "centroid"', 'by = "name"', "router.light: expected no such key"),
        ('"centroids.npy"\nmix', '"other.npy"\nmix', r"router.centroids: expected a path that"),
    ],
)
def test_a_mistake_in_a_router_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_router(tmp_path / "router") / "encoder.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(StoredDataError, match=message):
        read_manifest(path.parent)


def test_another_dimension_than_the_manifest_promises_is_refused_when_opened(
    tmp_path: Path,
) -> None:
    folder = write_text(tmp_path / "m", GEM, dimension=9)
    with pytest.raises(ValueError, match="expected vectors of 9 numbers"):
        opened(folder)
    record = write_folder(tmp_path / "r", RECORD, {}, kind="record", modality="record", dimension=9)
    with pytest.raises(ValueError, match="expected vectors of 9 numbers"):
        opened(record)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_built_graph_gives_its_tokens_to_a_pool_of_the_pipeline(
    tmp_path: Path, variant: str
) -> None:
    """The same weights, pooled by us and looked at token by token."""
    files = small_files()
    plain = small_manifest(files, name="small", variant=variant)
    start, end = plain.index("[output]"), plain.index("[[files]]")
    for p in (1.0, 3.0):
        folder = write_model(
            tmp_path / f"p{p:g}" / "small",
            files,
            plain[:start]
            + f'[output]\npool = "gem"\nnormalise = true\n[output.gem]\np = {p}\n'
            + plain[end:],
        )
        manifest = read_manifest(folder)
        obtain(manifest, folder)
        assert is_built(manifest, folder)
        encoder = open_encoder(manifest, folder, threads=1)
        (one,) = encoder.prepare(encoder.address(["the old man and the sea"], "document"))
        tokens, mask = encoder._session.run([one.value])  # type: ignore[attr-defined, union-attr]
        assert tokens.shape == (1, int(mask.sum()), 16)
        expected = unit(gem(tokens[0], p))
        found = encode(encoder, ["the old man and the sea"], "document").vectors[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        encoder.close()


def test_maps_after_a_built_graph_come_before_its_length_is_one(tmp_path: Path) -> None:
    files = {**small_files()}
    plain = small_manifest(files, name="small", variant="fp32")
    start, end = plain.index("[output]"), plain.index("[[files]]")
    cut = '[output]\npool = "mean"\nnormalise = true\n'
    cut += '[[output.maps]]\nop = "truncate"\ndimension = 5\n'
    head = plain[:start].replace("dimension = 16", "dimension = 5")
    folder = write_model(tmp_path / "cut" / "small", files, head + cut + plain[end:])
    whole = write_model(tmp_path / "whole" / "small", files, plain)
    vectors = []
    for each in (whole, folder):
        manifest = read_manifest(each)
        obtain(manifest, each)
        encoder = open_encoder(manifest, each, threads=1)
        vectors.append(encode(encoder, ["the sea"], "document").vectors)
        encoder.close()
    np.testing.assert_allclose(vectors[1], unit(vectors[0][:, :5]), atol=1e-5)
