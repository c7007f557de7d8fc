"""Folders of cross-encoders, sparse and late-interaction encoders, without a manifest."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.encoders.base import EncoderInfo, OutputKind
from app.encoders.hub.layout import discover, with_hashes
from app.encoders.inputs import Input, Pair
from app.encoders.manifest import BuiltGraph, PairSpec, TextSpec, read_manifest
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.registry import EncoderRegistry
from app.encoders.tiny import tiny_tokenizer, tiny_vocabulary
from app.encoders.tokenizer import PairTokenizer, Tokenizer
from app.errors import StoredDataError
from app.types import Sparse
from tests.encoders.layouts import CONFIG, WIDTH, as_json, modules
from tests.encoders.models import ROOT, SHAPE, safetensors_bytes
from tests.encoders.reference import Twin, random_tensors, unit

CROSS = ROOT / "models" / "tiny-cross" / "tokenizer.json"
PIECES = [*tiny_vocabulary(), "[MASK]", "[Q] ", "[D] "]
TEXTS = ["red fox", "the old man, and the sea!", "tea"]
MARKED = json.dumps(tiny_tokenizer(PIECES)).encode()


def tensors(**more: Any) -> dict[str, Any]:
    return random_tensors(5, **(SHAPE | {"words": max(SHAPE["words"], len(PIECES))}), **more)


def folder_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def outputs(
    models: Path, inputs: list[Input], output: OutputKind, kind: Any = "document"
) -> tuple[EncoderInfo, list[Any]]:
    """What the folder `m` makes, through the registry; twice, the manifest read again."""
    made: list[list[Any]] = []
    for _ in range(2):
        registry = EncoderRegistry(models, threads=1, queue=99, batch_tokens=512)
        try:
            info = registry.load("m")
            made.append(list(registry.submit("m", inputs, kind, output).result(30).outputs))
        finally:
            registry.close()
        assert read_manifest(models / "m").name == "m"
    for one, again in zip(*made, strict=True):
        pairs = zip(one, again, strict=True) if isinstance(one, tuple) else [(one, again)]
        for first, second in pairs:
            if isinstance(first, Sparse):
                first, second = first.values, second.values
            np.testing.assert_array_equal(first, second)
    return info, made[0]


def head_graph(name: str, table: np.ndarray[Any, Any], *, pooled: bool = False) -> bytes:
    """Rows of a table by token, or their mean: the output of a head."""
    nodes = [helper.make_node("Gather", ["t", "input_ids"], ["rows"])]
    if pooled:
        nodes.append(helper.make_node("ReduceMean", ["rows"], [name], axes=[1], keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", ["rows"], [name]))
    axes: list[str | int] = (
        ["text", table.shape[1]] if pooled else ["text", "token", table.shape[1]]
    )
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(one, TensorProto.INT64, ["text", "token"])
            for one in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)],
        [numpy_helper.from_array(table, "t")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def rows(width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(9).standard_normal((len(PIECES), width)).astype(np.float32)


# ── cross-encoders ───────────────────────────────────────────────────────────────────────────

IDENTITY = "torch.nn.modules.linear.Identity"
PAIRED: dict[str, Any] = CONFIG | {
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "LABEL_0"},
}


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({"sbert_ce_default_activation_function": IDENTITY}, "identity"),
        ({"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}}, "identity"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
         "sigmoid"),
        ({"sbert_ce_default_activation_function": None}, "sigmoid"),
        ({"id2label": None, "num_labels": 1}, "sigmoid"),
    ],
)  # fmt: skip
def test_a_cross_encoder_is_built_with_the_activation_of_its_configuration(
    tmp_path: Path, config: dict[str, Any], activation: str
) -> None:
    weights = tensors(labels=1)
    files = {
        "config.json": as_json(PAIRED | {"vocab_size": max(300, len(PIECES))} | config),
        "tokenizer.json": CROSS.read_bytes(),
        "model.safetensors": safetensors_bytes(weights),
    }
    folder_of(tmp_path / "m", files)
    found = discover(tmp_path / "m", "m", "int8")
    assert found.manifest.kind == "pair"
    assert isinstance(found.manifest.spec, PairSpec)
    assert found.manifest.spec.activation == activation
    assert (found.manifest.spec.truncate, found.manifest.spec.max_tokens) == ("longest", 40)
    assert found.variant == "fp32"
    assert "built in fp32" in found.notes[0]
    pairs = [("red fox", "the fox"), ("tea", "the old man and the sea " * 9)]
    info, scores = outputs(tmp_path, [Pair(*pair) for pair in pairs], "score")
    assert (info.kind, info.outputs) == ("pair", ("score",))
    twin = Twin("bert", weights, 4)
    read = PairTokenizer(CROSS, 40, "longest").ids(pairs, [None] * 2)
    for (ids, types), score in zip(read, scores, strict=True):
        (logit,) = twin.logits(ids, types)
        expected = logit if activation == "identity" else 1 / (1 + np.exp(-logit))
        assert score == pytest.approx(expected, abs=1e-4)


def test_a_published_cross_encoder_is_read_by_its_logits(tmp_path: Path) -> None:
    files = {
        "config.json": as_json(PAIRED),
        "tokenizer.json": CROSS.read_bytes(),
        "onnx/model.onnx": head_graph("logits", rows(1), pooled=True),
    }
    folder_of(tmp_path / "m", files)
    _, (score,) = outputs(tmp_path, [Pair("red fox", "the fox")], "score")
    ((ids, _),) = PairTokenizer(CROSS, 40, "longest").ids([("red fox", "the fox")], [None])
    assert score == pytest.approx(1 / (1 + np.exp(-rows(1)[ids].mean())), abs=1e-5)


# ── sparse ───────────────────────────────────────────────────────────────────────────────────


def splade(pooling: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    listed = modules("Transformer", "SpladePooling")
    listed[0]["type"] = "sentence_transformers.sparse_encoder.models.MLMTransformer"
    listed[1]["type"] = "sentence_transformers.sparse_encoder.models.SpladePooling"
    words = max(SHAPE["words"], len(PIECES))
    pooling = {"pooling_strategy": "max", "activation_function": "relu"} | dict(pooling or {})
    return {
        "modules.json": as_json(listed),
        "config.json": as_json(
            CONFIG | {"architectures": ["BertForMaskedLM"], "vocab_size": words}
        ),
        "tokenizer.json": MARKED,
        "1_SpladePooling/config.json": as_json(pooling),
        "config_sentence_transformers.json": as_json({"prompts": {"query": "", "document": ""}}),
    }


@pytest.mark.parametrize("published", [False, True])
def test_a_sparse_encoder_weighs_words_by_its_logits(tmp_path: Path, published: bool) -> None:
    weights = tensors(predicts=True)
    table = rows(len(PIECES))
    model = (
        {"model.onnx": head_graph("logits", table)}
        if published
        else {"model.safetensors": safetensors_bytes(weights)}
    )
    folder_of(tmp_path / "m", splade() | model)
    info, made = outputs(tmp_path, list(TEXTS), "sparse")
    assert info.outputs == ("sparse",)
    twin = Twin("bert", weights, 4)
    for ids, found in zip(
        Tokenizer(tmp_path / "m" / "tokenizer.json", 40).ids(TEXTS), made, strict=True
    ):
        expected = twin.word_weights(ids)
        if published:
            expected = np.log1p(np.maximum(table[ids], 0)).max(axis=0)
        full = np.zeros_like(expected)
        full[found.indices] = found.values
        np.testing.assert_allclose(full, expected, atol=1e-3)


# ── late interaction ─────────────────────────────────────────────────────────────────────────

PROJECTED = 6
PROJECTION = np.random.default_rng(2).standard_normal((PROJECTED, WIDTH)).astype(np.float32)
SAID: dict[str, Any] = {
    "similarity_fn_name": "MaxSim",
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 12,
    "document_length": 20,
    "attend_to_expansion_tokens": False,
    "skiplist_words": list(string.punctuation),
    "do_query_expansion": True,
}


def late(
    said: Mapping[str, Any] = SAID, dense: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """A folder as PyLate writes it, but for the weights."""
    listed = modules("Transformer", "Dense")
    listed[1]["type"] = "pylate.models.Dense.Dense"
    config = {"in_features": WIDTH, "out_features": PROJECTED, "bias": False,
              "activation_function": IDENTITY}  # fmt: skip
    return {
        "modules.json": as_json(listed),
        "config.json": as_json(CONFIG | {"vocab_size": max(SHAPE["words"], len(PIECES))}),
        "tokenizer.json": MARKED,
        "config_sentence_transformers.json": as_json(said),
        "1_Dense/config.json": as_json(config | dict(dense or {})),
        "1_Dense/model.safetensors": safetensors_bytes({"linear.weight": PROJECTION}),
    }


def ids_of(text: str, side: str, *, fill: bool = True) -> list[int]:
    """The ids that both libraries make: cut to one less, the marker behind the first."""
    most = 12 if side == "query" else 20
    tokenizer = Tokenizer(ROOT / "models" / "tiny" / "tokenizer.json", most - 1)
    (ids,) = tokenizer.ids([text])
    ids = [ids[0], PIECES.index("[Q] " if side == "query" else "[D] "), *ids[1:]]
    return ids + [PIECES.index("[MASK]")] * ((most - len(ids)) if fill and side == "query" else 0)


def vectors_of(hidden: Any, ids: list[int], side: str) -> np.ndarray[Any, Any]:
    kept = [side == "query" or PIECES[one] not in string.punctuation for one in ids]
    return unit(hidden @ PROJECTION.T.astype(np.float64))[kept]


def check(tmp_path: Path, hidden: Any, *, fill: bool = True) -> None:
    """Compare both sides with the definition: hidden of ids, projected, length one."""
    for side in ("query", "document"):
        info, made = outputs(tmp_path, list(TEXTS), "tokens", side)
        assert info.outputs == ("tokens",)
        for text, found in zip(TEXTS, made, strict=True):
            ids = ids_of(text, side, fill=fill)
            np.testing.assert_allclose(found, vectors_of(hidden(ids), ids, side), atol=1e-4)


@pytest.mark.parametrize(
    ("said", "fill"),
    [
        (SAID | {"attend_to_expansion_tokens": True}, True),
        (SAID | {"do_query_expansion": False, "attend_to_expansion_tokens": True}, False),
    ],
)
def test_a_late_interaction_folder_is_built_and_reads_as_its_library_does(
    tmp_path: Path, said: Mapping[str, Any], fill: bool
) -> None:
    weights = tensors()
    folder_of(tmp_path / "m", late(said) | {"model.safetensors": safetensors_bytes(weights)})
    manifest = discover(tmp_path / "m", "m", "fp32").manifest
    (tmp_path / "m" / "encoder.toml").write_text(
        toml_from_manifest(with_hashes(manifest, tmp_path / "m"))
    )
    check(tmp_path, lambda ids: Twin("bert", weights, 4).hidden(ids)[-1], fill=fill)


def test_fillings_that_nobody_looks_at_have_vectors_and_change_no_others(tmp_path: Path) -> None:
    weights = {"model.safetensors": safetensors_bytes(tensors())}
    for name, said in (("filled", SAID), ("plain", SAID | {"do_query_expansion": False})):
        folder_of(tmp_path / name / "m", late(said) | weights)
    _, (filled,) = outputs(tmp_path / "filled", ["red fox"], "tokens", "query")
    _, (plain,) = outputs(tmp_path / "plain", ["red fox"], "tokens", "query")
    assert len(filled) == 12 > len(plain)
    np.testing.assert_allclose(np.linalg.norm(filled, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(filled[: len(plain)], plain, atol=0.05)  # int8


def test_a_published_graph_is_projected_by_the_layer_beside_it(tmp_path: Path) -> None:
    table = rows(WIDTH)
    folder_of(tmp_path / "m", late() | {"onnx/model.onnx": head_graph("last_hidden_state", table)})
    check(tmp_path, lambda ids: table[ids].astype(np.float64))


COLBERT: dict[str, Any] = {
    "query_token_id": "[Q] ",
    "doc_token_id": "[D] ",
    "query_maxlen": 12,
    "doc_maxlen": 20,
    "dim": PROJECTED,
    "similarity": "cosine",
    "mask_punctuation": True,
    "attend_to_mask_tokens": True,
}


def colbert(said: Mapping[str, Any] = COLBERT) -> dict[str, bytes]:
    """A folder as ColBERT itself writes it: the projection is among the network's tensors."""
    words = max(SHAPE["words"], len(PIECES))
    weights = {f"bert.{name}": tensor for name, tensor in tensors().items()}
    return {
        "config.json": as_json(CONFIG | {"architectures": ["HF_ColBERT"], "vocab_size": words}),
        "tokenizer.json": MARKED,
        "artifact.metadata": as_json(said),
        "model.safetensors": safetensors_bytes(weights | {"linear.weight": PROJECTION}),
    }


def test_colberts_own_folder_is_read_by_its_metadata(tmp_path: Path) -> None:
    folder_of(tmp_path / "m", colbert())
    manifest = discover(tmp_path / "m", "m", "fp32").manifest
    assert isinstance(manifest.graph, BuiltGraph)
    assert manifest.graph.projection == "linear"
    (tmp_path / "m" / "encoder.toml").write_text(
        toml_from_manifest(with_hashes(manifest, tmp_path / "m"))
    )
    check(tmp_path, lambda ids: Twin("bert", tensors(), 4).hidden(ids)[-1])


def test_what_a_library_leaves_out_is_its_default(tmp_path: Path) -> None:
    files = late({"similarity_fn_name": None})
    files["config.json"] = as_json(
        json.loads(files["config.json"]) | {"max_position_embeddings": 512}
    )
    folder_of(tmp_path / "m", files | {"model.safetensors": b""})
    spec = discover(tmp_path / "m", "m", "fp32").manifest.spec
    assert isinstance(spec, TextSpec)
    assert spec.tokens is not None
    assert spec.text.max_tokens == 180
    assert (spec.tokens.query_tokens, spec.tokens.query_fill) == (32, "[MASK]")
    assert (spec.tokens.query_marker, spec.tokens.document_marker) == ("[Q] ", "[D] ")
    assert (spec.tokens.skip_punctuation, spec.tokens.attend_to_mask) == (True, False)


# ── what is refused ──────────────────────────────────────────────────────────────────────────

WEIGHTS = {"model.safetensors": safetensors_bytes(tensors())}
CLASSES = {"config.json": as_json(PAIRED), "tokenizer.json": CROSS.read_bytes()}
LAST = {"model.onnx": head_graph("last_hidden_state", rows(WIDTH))}
LOGITS = {"model.onnx": head_graph("logits", rows(2))}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (CLASSES | WEIGHTS | {"config.json": as_json(PAIRED | {"id2label": {"0": "a", "1": "b"}})},
         "config.json has 2 labels, and which is the score is unsaid"),
        (CLASSES | WEIGHTS | {"config.json": as_json(PAIRED | {"id2label": None})}, "has 2 labels"),
        (CLASSES | WEIGHTS | {"config.json": as_json(
            PAIRED | {"sbert_ce_default_activation_function": "torch.nn.Tanh"})},
         "the activation Tanh: expected Sigmoid or Identity"),
        (CLASSES | WEIGHTS | {"config_sentence_transformers.json": as_json(
            {"prompts": {"query": "q: "}})}, "has prompts, which cross-encoders"),
        (CLASSES | LOGITS, r"has no output logits \[pair, label\]"),
        (splade({"pooling_strategy": "sum"}) | WEIGHTS, "sum of relu: expected max of relu"),
        (splade({"activation_function": "log1p_relu"}) | WEIGHTS, "max of log1p_relu"),
        (splade() | LAST, r"has no output logits \[text, token, word\]"),
        (splade() | {"modules.json": as_json(modules("Transformer", "SpladePooling"))},
         "expected MLMTransformer → SpladePooling"),
        (late(SAID | {"skiplist_words": ["the"]}) | WEIGHTS, "other words than punctuation"),
        (late(SAID | {"query_prefix": "[Question]"}) | WEIGHTS, r"no piece '\[Question\]'"),
        (late(SAID | {"query_length": 99}) | WEIGHTS, "longer than documents"),
        (late(SAID | {"query_length": "12"}) | WEIGHTS, "does not say query_length as it should"),
        (late(SAID | {"query_length": 50, "document_length": 60}) | WEIGHTS,
         "has positions for 40 tokens"),
        (late(dense={"use_residual": True}) | WEIGHTS, "adds what goes in"),
        (late(dense={"module_input_name": "sentence_embedding"}) | WEIGHTS, "not for the vectors"),
        (late(dense={"bias": True}) | LAST, "expected one of Identity without bias"),
        (late(dense={"in_features": 5}) | WEIGHTS, "takes 5 numbers, 16 come to it"),
        (late() | {"model.onnx": head_graph("output", rows(WIDTH))}, "no output of token vectors"),
        (late() | WEIGHTS | {"tokenizer.json": json.dumps(tiny_tokenizer(
            [piece for piece in PIECES if piece != "[MASK]"])).encode()}, "no mask to fill"),
        (colbert(COLBERT | {"similarity": "l2"}), "the similarity l2: expected cosine"),
        (colbert(COLBERT | {"dim": None}), "artifact.metadata does not say dim"),
        ({**colbert(), "artifact.metadata": b"["}, "artifact.metadata cannot be read"),
        ({path: content for path, content in colbert().items() if path != "artifact.metadata"},
         "artifact.metadata is missing"),
        ({path: content for path, content in (colbert() | LAST).items()
          if path != "model.safetensors"}, "read from safetensors only"),
    ],
)  # fmt: skip
def test_what_is_unsure_is_refused_by_file_and_reason(
    tmp_path: Path, files: Mapping[str, bytes], reason: str
) -> None:
    with pytest.raises(StoredDataError, match=reason):
        discover(folder_of(tmp_path / "m", files), "m", "fp32")
