"""Manifests are read strictly, and say what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.encoders.manifest import BuiltGraph, HubSource, PackageSource, ReadyGraph, read_manifest
from app.errors import IncompatibleFormat, StoredDataError
from tests.encoders.models import ROOT, small_manifest, write_model

FILES = {"tokenizer.json": b"{}", "model.safetensors": b"weights"}
GOOD = small_manifest(FILES)


def test_the_default_encoder_is_pinned_by_hash_and_has_two_sources() -> None:
    manifest = read_manifest(ROOT / "models" / "all-MiniLM-L6-v2")
    assert (manifest.dimension, manifest.spec.max_input) == (384, 256)
    assert manifest.space == "all-MiniLM-L6-v2@2"
    assert isinstance(manifest.graph, BuiltGraph)
    assert manifest.graph.variant == "int8"
    assert manifest.file("model.safetensors").sha256.startswith("53aa5117")
    assert manifest.file("tokenizer.json").sha256.startswith("be50c362")
    assert [type(source) for source in manifest.sources] == [HubSource, PackageSource]


def test_the_tiny_encoder_needs_no_source() -> None:
    manifest = read_manifest(ROOT / "models" / "tiny")
    assert isinstance(manifest.graph, ReadyGraph)
    assert manifest.sources == ()


def test_a_release_day_becomes_seconds_since_1970(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small", FILES, GOOD)
    assert read_manifest(folder).released == 1_704_153_600  # 2024-01-02T00:00Z


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('owned_by = "tests"', "", "owned_by: expected a string, found nothing"),
        ("dimension = 16", 'dimension = "16"', "dimension: expected an integer, found a string"),
        ("dimension = 16", "dimension = true", "dimension: expected an integer, found true or"),
        ("dimension = 16", "dimension = 0", "dimension: expected a number of at least 1, found 0"),
        (
            "dimension = 16",
            "dimension = 16\ndimensions = [[8]]",
            'dimensions: expected "any", or n',
        ),
        ('modality = "text"', 'modality = "text"\nkind = "record"', "kind: expected one of 'text'"),
        ('owned_by = "tests"', 'owned_by = ""', "owned_by: expected a string, found an empty one"),
        ("heads = 4", "head = 4", "graph.heads: expected an integer, found nothing"),
        ("heads = 4", "heads = 4\nhaeds = 4", "graph.haeds: expected no such key .known: heads"),
        ('"int8"', '"int4"', "graph.variant: expected one of 'fp32', 'fp16', 'int8', found 'int4'"),
        ('modality = "text"', 'modality = "taste"', "modality: expected one of 'text'"),
        ('name = "small"', 'name = "other"', "name: expected the folder's name 'small'"),
        ('tokenizer = "tok', 'tokenizer = "tik', r"text.tokenizer: expected a path that \[\[files"),
        ('weights = "model', 'weights = "mode', r"graph.weights: expected a path that \[\[files"),
        ('pool = "mean"', 'pool = "graph"', "output.pool: expected one of 'mean', 'cls'"),
        ('path = "tok', 'path = "../tok', r"files\[0\].path: expected a relative path inside"),
        ('path = "tok', 'path = "/tok', r"files\[0\].path: expected a relative path inside"),
        ('sha256 = "', 'sha256 = "X', r"files\[0\].sha256: expected 64 lower-case"),
        ("released = 2024-01-02", "released = 2024-01-02T00:00:00Z", "released: expected a date"),
        ("version = 3", "version = 3, also = 1", "space.also: expected no such key"),
        ("format = 1", "format = 1\nformat = 1", "cannot be read"),
        ("format = 1", "format = 1\nmodalty = 1", "modalty: expected no such key .known: modality"),
        ("[output]", '[[sources]]\nkind = "disk"\n[output]', r"sources\[0\].kind: expected one of"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    folder = write_model(tmp_path / "small", FILES, GOOD.replace(old, new, 1))
    with pytest.raises(StoredDataError, match=message):
        read_manifest(folder)


def test_another_format_is_refused_by_number(tmp_path: Path) -> None:
    manifest = GOOD.replace("format = 1", "format = 2")
    folder = write_model(tmp_path / "small", FILES, manifest)
    with pytest.raises(IncompatibleFormat, match="format 2, this version reads format 1"):
        read_manifest(folder)
