"""Cross-encoders, late interaction and SPLADE from a checkpoint alone: built, opened, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.encoders.base import Encoder, OutputKind
from app.encoders.inputs import Pair
from app.encoders.manifest import read_manifest
from app.encoders.obtain import obtain
from app.encoders.opening import open_encoder
from app.encoders.tokenizer import PairTokenizer, Tokenizer
from app.errors import LikewiseError, StoredDataError
from tests.encoders.models import ROOT, safetensors_bytes, small_manifest, write_model
from tests.encoders.reference import Twin, random_tensors, unit

CROSS = ROOT / "models" / "tiny-cross" / "tokenizer.json"
TENSORS = random_tensors(
    5,
    words=300,
    dimension=16,
    wide=24,
    layers=2,
    positions=40,
    labels=2,
    predicts=True,
)
TWIN = Twin("bert", TENSORS, 4)
FILES = {
    "tokenizer.json": CROSS.read_bytes(),
    "model.safetensors": safetensors_bytes(TENSORS),
}
OUTPUT = '[output]\npool = "mean"\nnormalise = true\n'
TEXTS = ["red fox", "the old man and the sea", "tea"]


def built(folder: Path, head: str, tables: str, *, kind: str = "text") -> Encoder:
    manifest = small_manifest(FILES, name=folder.name, variant="fp32")
    manifest = manifest.replace("heads = 4", f'heads = 4\nhead = "{head}"').replace(OUTPUT, tables)
    assert tables in manifest
    if kind == "pair":
        text, _, rest = manifest.partition("[text]")
        manifest = (
            text.replace("modality", 'kind = "pair"\nmodality') + rest[rest.index("[graph]") :]
        )
    write_model(folder, FILES, manifest)
    obtain(read_manifest(folder), folder)
    return open_encoder(read_manifest(folder), folder, threads=1)


def run(encoder: Encoder, inputs: list[Any], output: OutputKind) -> list[Any]:
    ready = encoder.prepare(encoder.address(inputs, "document"))
    whole = [one for one in ready if not isinstance(one, LikewiseError)]
    return list(encoder.run(whole, output))


def test_a_built_cross_encoder_reads_pairs_with_their_types(tmp_path: Path) -> None:
    table = (
        '[pair]\ntokenizer = "tokenizer.json"\nmax_tokens = 40\ntruncate = "second"\nlabels = 2\n'
        'label = 1\nactivation = "softmax"\n'
    )
    encoder = built(tmp_path / "cross", "logits", table, kind="pair")
    pairs = [("red fox", "the fox"), ("tea", "the old man and the sea " * 9), ("a", "b")]
    scores = run(encoder, [Pair(*pair) for pair in pairs], "score")
    for (ids, types), score in zip(
        PairTokenizer(CROSS, 40, "second").ids(pairs, [None] * 3), scores, strict=True
    ):
        logits = TWIN.logits(ids, types)
        assert score == pytest.approx(np.exp(logits[1]) / np.exp(logits).sum(), abs=1e-4)
        assert score != pytest.approx(np.exp(TWIN.logits(ids)[1]) / np.exp(logits).sum(), abs=1e-3)
    encoder.close()


def test_built_token_vectors_are_those_of_the_last_layer(tmp_path: Path) -> None:
    tables = "[tokens]\ndimension = 16\nnormalise = true\nskip_special = true\n"
    encoder = built(tmp_path / "late", "token_vectors", tables)
    tokenizer = Tokenizer(CROSS, 40)
    for text, found in zip(TEXTS, run(encoder, list(TEXTS), "tokens"), strict=True):
        expected = unit(TWIN.hidden(tokenizer.ids([text])[0])[-1])[1:-1]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    encoder.close()


def test_built_word_weights_are_those_of_the_definition(tmp_path: Path) -> None:
    encoder = built(tmp_path / "words", "word_weights", '[sparse]\nform = "weights"\n')
    tokenizer = Tokenizer(CROSS, 40)
    for text, found in zip(TEXTS, run(encoder, list(TEXTS), "sparse"), strict=True):
        expected = TWIN.word_weights(tokenizer.ids([text])[0])
        full = np.zeros_like(expected)
        full[found.indices] = found.values
        np.testing.assert_allclose(full, expected, atol=1e-3)
    encoder.close()


@pytest.mark.parametrize(
    ("head", "tables", "message"),
    [
        ("vectors", "[tokens]\ndimension = 16\nnormalise = true\n", '"token_vectors", which makes'),
        ("logits", OUTPUT, "graph.head: expected \"vectors\", which makes dense, found 'logits'"),
        ("word_weights", '[sparse]\nform = "logits"\n', 'sparse.form: expected "weights"'),
        (
            "vectors",
            OUTPUT + '[sparse]\nform = "weights"\n',
            "graph.head: expected no head makes dense and sparse",
        ),
    ],
)
def test_a_head_that_does_not_make_what_the_manifest_promises_is_refused(
    tmp_path: Path, head: str, tables: str, message: str
) -> None:
    with pytest.raises(StoredDataError, match=message):
        built(tmp_path / "wrong", head, tables)
