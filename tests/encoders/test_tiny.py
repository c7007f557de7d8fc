"""The tiny encoder is what its script makes, and puts texts with shared words close together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from app.encoders.build import graph_path
from app.encoders.direct import encode
from app.encoders.manifest import read_manifest
from app.encoders.text import TextEncoder
from app.encoders.tiny import write_tiny
from tests.encoders.models import TINY


def test_the_committed_files_are_what_the_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "tiny"
    write_tiny(made)
    assert (made / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()
    one, other = (onnx.load(folder / "model.onnx").graph for folder in (made, TINY))
    # By content: the bytes around it may change with the version of onnx.
    assert list(one.node) == list(other.node)
    for mine, theirs in zip(one.initializer, other.initializer, strict=True):
        assert mine.name == theirs.name
        np.testing.assert_array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(theirs))


def test_the_committed_files_are_small() -> None:
    assert sum(path.stat().st_size for path in TINY.iterdir()) < 120_000


def test_texts_that_share_words_are_closer_than_texts_that_do_not() -> None:
    manifest = read_manifest(TINY)
    encoder = TextEncoder(manifest, TINY, graph_path(manifest, TINY), threads=1)
    topics = [
        ("the cat sat on the mat", "a cat on a mat"),
        ("quantum field theory", "the theory of quantum fields"),
        ("how to bake sourdough bread", "bake bread with sourdough"),
        ("airline ticket prices rise", "prices of airline tickets"),
    ]
    documents = encode(encoder, [document for document, _ in topics], "document").vectors
    queries = encode(encoder, [query for _, query in topics], "query").vectors
    assert (queries @ documents.T).argmax(axis=1).tolist() == list(range(len(topics)))
