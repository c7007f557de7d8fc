"""What every encoder promises: one suite for a float32, a quantised and the default model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.encoders.base import Prepared
from app.encoders.build import graph_path, is_built
from app.encoders.direct import encode
from app.encoders.manifest import BuiltGraph, read_manifest
from app.encoders.obtain import missing_files, obtain, with_variant
from app.encoders.safetensors import read_safetensors
from app.encoders.text import TextEncoder
from app.errors import InvalidText
from tests.encoders.models import ROOT, TINY, small_files, small_manifest, write_model
from tests.encoders.reference import bert_vector

DEFAULT = ROOT / "models" / "all-MiniLM-L6-v2"
TEXTS = [
    "",
    "cat",
    "The quick brown fox jumps over the lazy dog.",
    "Wie geht's? 你好, мир! 👍",
    "a b c " * 200,
    "1234567890" * 30,
    "tea with the old man by the sea " * 4,
]


def need_default() -> None:
    manifest = read_manifest(DEFAULT)
    if missing_files(manifest, DEFAULT) or not is_built(manifest, DEFAULT):
        pytest.skip("the default encoder is not in models/: `make models` obtains it")


@pytest.fixture(
    scope="module", params=["tiny", "small", pytest.param("default", marks=pytest.mark.model)]
)
def encoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TextEncoder]:
    folder = {"tiny": TINY, "default": DEFAULT}.get(request.param)
    if request.param == "default":
        need_default()
    if folder is None:
        folder = write_model(tmp_path_factory.mktemp("models") / "small", small_files())
        obtain(read_manifest(folder), folder)
    manifest = read_manifest(folder)
    encoder = TextEncoder(manifest, folder, graph_path(manifest, folder), threads=2)
    yield encoder
    encoder.close()


def test_vectors_are_unit_float32_of_the_stated_dimension(encoder: TextEncoder) -> None:
    encoded = encode(encoder, TEXTS, "document")
    assert encoded.vectors.shape == (len(TEXTS), encoder.dimension)
    assert encoded.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: TextEncoder) -> None:
    together = encode(encoder, TEXTS, "document").vectors
    for text, vector in zip(TEXTS, together, strict=True):
        alone = encode(encoder, [text], "document").vectors[0]
        # Other shapes take other orders of summation in float32.
        np.testing.assert_allclose(alone, vector, atol=5e-6)


def test_the_same_call_gives_the_same_numbers(encoder: TextEncoder) -> None:
    one, other = (encode(encoder, TEXTS, "query").vectors for _ in range(2))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_token_counts_are_those_after_truncation(encoder: TextEncoder) -> None:
    counts = encode(encoder, TEXTS, "document").tokens
    assert counts[0] == 2
    assert max(counts) == counts[4]
    assert counts[4] in (40, 64, 256)


def test_the_ids_of_a_text_make_what_the_text_makes(encoder: TextEncoder) -> None:
    tokenizer = encoder._reader.tokenizer
    ids = list(map(tuple, tokenizer.whole(TEXTS)))
    assert max(map(len, ids)) > tokenizer.max_tokens
    from_texts, from_ids = (encode(encoder, given, "document") for given in (TEXTS, ids))
    assert from_ids.tokens == from_texts.tokens
    np.testing.assert_allclose(from_ids.vectors, from_texts.vectors, atol=5e-6)
    mixed = encode(encoder, [TEXTS[1], ids[2], ids[1], TEXTS[2]], "document")
    expected = from_texts.vectors[[1, 2, 1, 2]]
    np.testing.assert_allclose(mixed.vectors, expected, atol=5e-6)


def test_an_id_that_is_no_token_is_refused_at_its_place(encoder: TextEncoder) -> None:
    vocabulary = encoder._reader.tokenizer.vocabulary
    for wrong in (-1, vocabulary, 2**70):
        refused, taken = encoder.prepare([(2, wrong, 3), (2, vocabulary - 1, 3)])
        assert isinstance(refused, InvalidText)
        assert refused.pointer == "/1"
        assert isinstance(taken, Prepared)


def test_no_text_gives_no_vector(encoder: TextEncoder) -> None:
    assert encode(encoder, [], "document").vectors.shape == (0, encoder.dimension)


@pytest.mark.parametrize("name", ["small", pytest.param("default", marks=pytest.mark.model)])
def test_a_quantised_vector_is_the_same_to_the_last_bit_in_any_company(
    tmp_path: Path, name: str
) -> None:
    if name == "default":
        need_default()
        folder = DEFAULT
    else:
        folder = write_model(tmp_path / name, small_files())
        obtain(read_manifest(folder), folder)
    manifest = read_manifest(folder)
    assert isinstance(manifest.graph, BuiltGraph)
    assert manifest.graph.variant == "int8"
    encoder = TextEncoder(manifest, folder, graph_path(manifest, folder), threads=2)
    # Many of one length, so that texts do run together.
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "drank", "tea", "by", "the", "sea"]
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice(words, random.integers(1, 12))) for _ in range(60)] + TEXTS
    alone = np.concatenate([encode(encoder, [text], "document").vectors for text in texts])
    for order in (np.arange(len(texts)), random.permutation(len(texts))):
        together = encode(encoder, [texts[place] for place in order], "document").vectors
        np.testing.assert_array_equal(together, alone[order])
    encoder.close()


WORDS = np.random.default_rng(11).standard_normal((400, 8)).astype(np.float32)


def published_graph() -> bytes:
    """A graph in the form models are published in: three inputs, token vectors as output."""
    axes = ["text", "token"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["input_ids", "token_type_ids"], ["typed"]),
            helper.make_node("Gather", ["words", "typed"], ["last_hidden_state"]),
            helper.make_node("ReduceMax", ["last_hidden_state"], ["pooler_output"]),
        ],
        "published",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in names],
        [
            helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*axes, 8]),
        ],
        [numpy_helper.from_array(WORDS, "words")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("pool", ["mean", "cls"])
@pytest.mark.parametrize("unit", [True, False])
def test_a_published_graph_is_pooled_and_normalised_outside(
    tmp_path: Path, pool: str, unit: bool
) -> None:
    files = {"tokenizer.json": small_files()["tokenizer.json"], "model.onnx": published_graph()}
    built = small_manifest(files)
    graph = '[graph]\nfile = "model.onnx"\noutput = "last_hidden_state"\nbatch = "together"\n'
    output = f'[output]\npool = "{pool}"\nnormalise = {str(unit).lower()}\n'
    manifest = built[: built.index("[graph]")] + graph + output + built[built.index("[[files]]") :]
    manifest = manifest.replace("dimension = 16", "dimension = 8")
    folder = write_model(tmp_path / "small", files, manifest)
    encoder = TextEncoder(read_manifest(folder), folder, folder / "model.onnx", threads=1)
    tokens = [one.value for one in encoder.prepare(TEXTS) if isinstance(one, Prepared)]
    expected = [WORDS[ids[0]] if pool == "cls" else WORDS[ids].mean(axis=0) for ids in tokens]
    lengths = [np.linalg.norm(vector) if unit else 1.0 for vector in expected]
    np.testing.assert_allclose(
        encode(encoder, TEXTS, "document").vectors,
        np.stack(expected) / np.array(lengths)[:, None],
        atol=1e-6,
    )


@pytest.mark.model
def test_the_default_encoder_agrees_with_the_plain_reference_on_its_own_weights(
    tmp_path: Path,
) -> None:
    need_default()
    weights = DEFAULT / "model.safetensors"
    if not weights.exists():
        pytest.skip("the weights were deleted after the build")
    manifest = read_manifest(DEFAULT)
    assert isinstance(manifest.graph, BuiltGraph)
    assert manifest.graph.architecture is not None
    encoder = TextEncoder(manifest, DEFAULT, graph_path(manifest, DEFAULT), threads=1)
    text = "The quick brown fox jumps over the lazy dog."
    (ids,) = (one.value for one in encoder.prepare([text]) if isinstance(one, Prepared))
    heads = manifest.graph.architecture.heads
    expected = bert_vector(read_safetensors(weights), ids, heads, "mean")
    # int8 against float64; the graph in float32 is within 1e-5 (docs/encoders.md)
    assert encode(encoder, [text], "document").vectors[0] @ expected > 0.98
    encoder.close()


@pytest.mark.model
def test_the_default_encoder_in_float32_is_the_plain_reference(tmp_path: Path) -> None:
    need_default()
    weights = DEFAULT / "model.safetensors"
    if not weights.exists():
        pytest.skip("the weights were deleted after the build")
    folder = tmp_path / DEFAULT.name
    folder.mkdir()
    (folder / "encoder.toml").write_bytes((DEFAULT / "encoder.toml").read_bytes())
    manifest = with_variant(read_manifest(folder), "fp32")
    obtain(manifest, folder, local_source=DEFAULT)
    encoder = TextEncoder(manifest, folder, graph_path(manifest, folder), threads=2)
    tensors = read_safetensors(weights)
    ids = [one.value for one in encoder.prepare(TEXTS[:4]) if isinstance(one, Prepared)]
    expected = np.stack([bert_vector(tensors, each, 12, "mean") for each in ids])
    vectors = encode(encoder, TEXTS[:4], "document").vectors
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    encoder.close()


@pytest.mark.model
def test_the_default_encoder_knows_what_sentences_mean() -> None:
    need_default()
    manifest = read_manifest(DEFAULT)
    encoder = TextEncoder(manifest, DEFAULT, graph_path(manifest, DEFAULT), threads=1)
    texts = [
        "A doctor examines a patient.",
        "The physician sees someone ill.",
        "Rain fell all day.",
    ]
    one, same, other = encode(encoder, texts, "document").vectors
    assert one @ same > 0.5 > 0.3 > one @ other
    encoder.close()
