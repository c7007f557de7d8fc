"""Folders without a manifest: what is read from them, and what is refused and why."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.external_data_helper import convert_model_to_external_data

from app.encoders.graph_header import read_graph_header
from app.encoders.hub.layout import Discovered, discover, with_hashes
from app.encoders.hub.weights import beside, choose
from app.encoders.manifest import BuiltGraph, Dense, ReadyGraph, TextSpec, read_manifest
from app.encoders.manifest.writing import toml_from_manifest
from app.encoders.registry import EncoderRegistry
from app.encoders.tokenizer import Tokenizer
from app.errors import CorruptFile, EncoderUnavailable, StoredDataError
from tests.encoders.layouts import (
    CONFIG,
    WIDTH,
    as_json,
    dense_files,
    graph,
    layout,
    modules,
    table,
    weights,
)
from tests.encoders.models import TINY, safetensors_bytes
from tests.encoders.test_pooling import slow_pool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODEL = {"onnx/model.onnx": graph()}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def read(tmp_path: Path, files: Mapping[str, bytes], variant: Any = "int8") -> Discovered:
    return discover(write(tmp_path / "m", files), "m", variant)


def spec(found: Discovered) -> TextSpec:
    assert isinstance(found.manifest.spec, TextSpec)
    return found.manifest.spec


def encoded(models: Path, texts: list[str], kind: Any = "document") -> np.ndarray[Any, Any]:
    """Vectors of the folder `m`, through the registry."""
    registry = EncoderRegistry(models, threads=1, queue=99, batch_tokens=512)
    try:
        registry.load("m")
        return registry.submit("m", texts, kind).result(30).vectors
    finally:
        registry.close()


# ── what is read ─────────────────────────────────────────────────────────────────────────────


def test_a_sentence_transformers_folder_is_built_from_its_weights(tmp_path: Path) -> None:
    found = read(tmp_path, layout() | {"model.safetensors": weights()})
    manifest = found.manifest
    assert manifest.graph == BuiltGraph("model.safetensors", "int8", config="config.json")
    assert (manifest.dimension, spec(found).text.max_tokens) == (WIDTH, 24)
    assert (spec(found).output.pool, spec(found).output.normalise) == ("mean", True)
    assert found.notes == ()
    assert {file.path for file in manifest.files} == {
        "tokenizer.json", "config.json", "model.safetensors",
    }  # fmt: skip


FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt": "pooling_mode_mean_sqrt_len_tokens",
    "weighted_mean": "pooling_mode_weightedmean_tokens",
    "last": "pooling_mode_lasttoken",
}


@pytest.mark.parametrize("pool", [*FLAGS, "cls+mean", "max+mean+last"])
def test_vectors_are_pooled_as_the_configuration_says(tmp_path: Path, pool: str) -> None:
    flags = {flag: name in pool.split("+") for name, flag in FLAGS.items()}
    files = layout(pooling=flags, kinds=("Transformer", "Pooling")) | MODEL
    found = read(tmp_path, files)
    assert spec(found).output.pool == pool
    assert found.manifest.dimension == WIDTH * len(pool.split("+"))
    texts = ["a cat", "the red sea and the sun are one", "tea"]
    ids = Tokenizer(TINY / "tokenizer.json", 24).ids(texts)
    rows = table().astype(np.float64)
    expected = [np.concatenate([slow_pool(rows[i], p) for p in pool.split("+")]) for i in ids]
    np.testing.assert_allclose(encoded(tmp_path, texts), expected, atol=1e-5)
    for text, vector in zip(texts, expected, strict=True):  # alone as in company
        np.testing.assert_allclose(encoded(tmp_path, [text])[0], vector, atol=1e-5)


@pytest.mark.parametrize("name", ["mean_sqrt_len_tokens", "lasttoken", ["cls", "mean"]])
def test_newer_files_name_the_pool(tmp_path: Path, name: Any) -> None:
    found = read(tmp_path, layout(pooling={"pooling_mode": name}) | MODEL)
    expected = {"mean_sqrt_len_tokens": "mean_sqrt", "lasttoken": "last"}
    assert spec(found).output.pool == expected.get(str(name), "cls+mean")


@pytest.mark.parametrize(
    ("settings", "prompts"),
    [
        ({}, ("", "")),
        ({"prompts": {"query": "q: ", "document": "d: "}}, ("q: ", "d: ")),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, ("q: ", "p: ")),
        ({"prompts": {"query": "q: ", "x": "x: "}, "default_prompt_name": "x"}, ("q: ", "x: ")),
        ({"prompts": {"a": "a: "}, "default_prompt_name": "a"}, ("a: ", "a: ")),
        ({"prompts": {"a": "a: "}, "default_prompt_name": None}, ("", "")),
    ],
)
def test_prompts_go_before_the_texts_of_their_side(
    tmp_path: Path, settings: dict[str, Any], prompts: tuple[str, str]
) -> None:
    text = spec(read(tmp_path, layout(settings=settings) | MODEL)).text
    assert (text.query_prompt, text.document_prompt) == prompts


@pytest.mark.parametrize(
    ("config", "settings", "dimensions"),
    [
        ({}, {}, ()),
        ({"matryoshka_dimensions": [4, 8, 16, 999]}, {}, (4, 8)),
        ({"is_matryoshka": True}, {}, "any"),
        ({}, {"truncate_dim": 8}, (8,)),
        ({}, {"truncate_dim": None}, ()),
    ],
)
def test_shorter_dimensions_are_those_that_were_published(
    tmp_path: Path, config: dict[str, Any], settings: dict[str, Any], dimensions: Any
) -> None:
    found = read(tmp_path, layout(config=config, settings=settings) | MODEL)
    assert found.manifest.dimensions == dimensions


@pytest.mark.parametrize(
    ("config", "length", "limit", "tokens"),
    [
        ({}, 24, None, 24),
        ({}, 9_999, None, 40),
        ({}, None, 30, 30),
        ({}, None, 10**30, 40),
        ({"model_type": "roberta", "pad_token_id": 1}, None, None, 38),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, None, 600, 512),
        ({"max_position_embeddings": None}, None, None, 512),
    ],
)
def test_texts_are_cut_at_what_model_tokenizer_and_positions_allow(
    tmp_path: Path, config: dict[str, Any], length: Any, limit: Any, tokens: int
) -> None:
    files = layout(config=config) | MODEL
    files["sentence_bert_config.json"] = as_json({"max_seq_length": length})
    files["tokenizer_config.json"] = as_json({"model_max_length": limit})
    config.setdefault("pad_token_id", 1)
    assert spec(read(tmp_path, files)).text.max_tokens == tokens


def test_layers_after_the_pool_come_before_the_length(tmp_path: Path) -> None:
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    files = layout(kinds=kinds) | MODEL | dense_files("2_Dense", 5)
    found = read(tmp_path, files)
    assert spec(found).output.dense == (Dense("2_Dense/model.safetensors", "tanh"),)
    assert found.manifest.dimension == 5
    (ids,) = Tokenizer(TINY / "tokenizer.json", 24).ids(["a red cat"])
    random = np.random.default_rng(3)
    weight, bias = random.standard_normal((5, WIDTH)), random.standard_normal(5)
    expected = np.tanh(weight @ table()[ids].mean(axis=0) + bias)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(encoded(tmp_path, ["a red cat"])[0], expected, atol=1e-5)


def test_layers_are_built_into_a_graph_that_is_built(tmp_path: Path) -> None:
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    files = layout(kinds=kinds) | dense_files("2_Dense", 5) | {"model.safetensors": weights()}
    found = read(tmp_path, files, "fp32")
    assert isinstance(found.manifest.graph, BuiltGraph)
    assert found.manifest.graph.modules == ("2_Dense",)
    assert encoded(tmp_path, ["a red cat"]).shape == (1, 5)


def test_layers_that_only_a_built_graph_has_are_refused_of_others(tmp_path: Path) -> None:
    kinds = ("Transformer", "Pooling", "LayerNorm", "Normalize")
    norm = {
        "2_LayerNorm/config.json": as_json({"dimension": WIDTH}),
        "2_LayerNorm/model.safetensors": safetensors_bytes(
            {"norm.weight": np.ones(WIDTH, np.float32), "norm.bias": np.ones(WIDTH, np.float32)}
        ),
    }
    with pytest.raises(StoredDataError, match="is no Dense layer"):
        read(tmp_path, layout(kinds=kinds) | MODEL | norm)
    write(tmp_path / "m", {"model.safetensors": weights()})
    assert encoded(tmp_path, ["a cat"]).shape == (1, WIDTH)


def test_a_plain_onnx_folder_is_read_and_what_is_assumed_is_said(tmp_path: Path) -> None:
    files = {
        "config.json": as_json(CONFIG),
        "tokenizer.json": (TINY / "tokenizer.json").read_bytes(),
        "model.onnx": graph(),
    }
    found = read(tmp_path, files)
    assert found.manifest.graph == ReadyGraph("model.onnx", "last_hidden_state", "together")
    assert spec(found).output.pool == "mean"
    assert spec(found).output.normalise
    assert found.variant == "fp32"
    assert [note.split(":")[0] for note in found.notes] == [
        "no 1_Pooling",
        "there is no int8 graph",
    ]
    np.testing.assert_allclose(np.linalg.norm(encoded(tmp_path, ["cat"])), 1, atol=1e-6)


def test_a_graph_that_pools_itself_is_taken_at_its_word(tmp_path: Path) -> None:
    files = layout() | {"model.onnx": graph(pooled=True, output="sentence_embedding")}
    found = read(tmp_path, files, "fp32")
    assert found.manifest.graph == ReadyGraph("model.onnx", "sentence_embedding", "together")
    assert spec(found).output.pool == "graph"
    assert "no pool" in found.notes[0]


def test_a_float16_graph_makes_float32_vectors(tmp_path: Path) -> None:
    files = layout() | {"onnx/model_fp16.onnx": graph(dtype=np.float16)}
    found = read(tmp_path, files, "fp16")
    assert (found.variant, found.notes) == ("fp16", ())
    half = encoded(tmp_path, ["a cat"])
    assert half.dtype == np.float32
    (ids,) = Tokenizer(TINY / "tokenizer.json", 24).ids(["a cat"])
    full = table()[ids].mean(axis=0)
    np.testing.assert_allclose(half[0], full / np.linalg.norm(full), atol=2e-3)


def test_a_dynamically_quantised_graph_runs_each_text_alone(tmp_path: Path) -> None:
    files = layout() | {"onnx/model_quantized.onnx": graph(dynamic=True)}
    found = read(tmp_path, files)
    assert found.manifest.graph == ReadyGraph(
        "onnx/model_quantized.onnx", "last_hidden_state", "alone"
    )
    texts = ["a cat", "the red sea and the sun", "tea"]
    together = encoded(tmp_path, texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(encoded(tmp_path, [text])[0], vector)


def test_weights_beside_the_graph_belong_to_the_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", layout())
    (folder / "onnx").mkdir()
    model = onnx.load_from_string(graph())
    convert_model_to_external_data(model, location="model.onnx_data", size_threshold=0)
    onnx.save(model, folder / "onnx" / "model.onnx")
    found = discover(folder, "m", "fp32")
    assert "onnx/model.onnx_data" in {file.path for file in found.manifest.files}
    assert encoded(tmp_path, ["cat"]).shape == (1, WIDTH)
    (folder / "encoder.toml").unlink()
    (folder / "onnx" / "model.onnx_data").unlink()
    with pytest.raises(StoredDataError, match=r"keeps weights in model\.onnx_data, which is miss"):
        discover(folder, "m", "fp32")


# ── what is chosen ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("paths", "variant", "path", "built"),
    [
        (["model.safetensors", "onnx/model.onnx"], "int8", "model.safetensors", True),
        (["model.safetensors", "onnx/model.onnx"], "fp32", "model.safetensors", True),
        (["onnx/model.onnx", "onnx/model_quantized.onnx"], "int8", "onnx/model_quantized.onnx", 0),
        (["onnx/model.onnx", "onnx/model_quantized.onnx"], "fp32", "onnx/model.onnx", 0),
        (["model.onnx", "onnx/model_fp16.onnx"], "fp16", "onnx/model_fp16.onnx", 0),
        (["model.onnx", "model_int8.onnx"], "fp16", "model.onnx", 0),
        (["onnx/model_int8.onnx"], "fp32", None, 0),
        (["pytorch_model.bin", "model.bin", "model.pt"], "int8", None, 0),
        (["model.safetensors.index.json"], "fp16", "model.safetensors.index.json", True),
    ],
)
def test_the_weights_are_those_that_were_asked_for_or_better(
    paths: list[str], variant: Any, path: str | None, built: bool
) -> None:
    chosen = choose(paths, variant, buildable=True)
    assert (chosen and chosen.path) == path
    assert chosen is None or chosen.built == bool(built)


def test_weights_of_a_network_that_is_not_built_here_are_passed_over() -> None:
    paths = ["model.safetensors", "onnx/model.onnx"]
    chosen = choose(paths, "int8", buildable=False)
    assert chosen is not None
    assert chosen.path == "onnx/model.onnx"
    assert choose(paths[:1], "int8", buildable=False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"config.json": as_json(CONFIG | {"position_embedding_type": "relative_key"})},
        {"1_Pooling/config.json": as_json({"pooling_mode_mean_sqrt_len_tokens": True})},
    ],
)
def test_where_no_graph_can_be_built_a_published_one_is_taken(
    tmp_path: Path, changes: dict[str, bytes]
) -> None:
    files = layout() | MODEL | {"model.safetensors": weights()} | changes
    assert isinstance(read(tmp_path, files).manifest.graph, ReadyGraph)


def test_files_beside_the_weights_are_found_by_name() -> None:
    paths = ["model.onnx", "model.onnx_data", "model.onnx.data", "model.onnx2", "x/model.onnx_data"]
    assert beside("model.onnx", paths) == ["model.onnx.data", "model.onnx_data"]
    shards = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-x.bin"]
    assert beside(shards[0], shards) == shards[1:2]


# ── what is refused ──────────────────────────────────────────────────────────────────────────

ODD = [*modules("Transformer", "Pooling"), {"idx": 2, "path": "2_X", "type": "custom_st.Mix"}]
ASYM = [*modules("Transformer", "Pooling", "Normalize", "Asym")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modules.json": as_json(ODD)}, "custom_st.Mix, which is code of the model's own"),
        ({"modules.json": as_json(ASYM)}, "a module Asym, which is not supported"),
        ({"modules.json": as_json(modules("Pooling", "Transformer"))}, "g → Transformer: exp"),
        ({"modules.json": b"{}"}, "modules.json is not what it should be"),
        ({"config.json": b"["}, "config.json cannot be read"),
        ({"config.json": as_json({})}, "does not say how wide"),
        ({"tokenizer.json": None}, "tokenizer.json is missing"),
        ({"onnx/model.onnx": None}, "expected an ONNX graph, found none"),
        ({"onnx/model.onnx": None, "pytorch_model.bin": b""}, "pickled weights, which are never"),
        ({"onnx/model.onnx": graph(inputs=("input_ids", "past"))}, r"cannot fill: \['past'\]"),
        ({"onnx/model.onnx": b"\x0a\xff"}, "is not an ONNX graph"),
        ({"1_Pooling/config.json": as_json({"pooling_mode_odd": True})}, "pool that is not supp"),
        ({"1_Pooling/config.json": as_json({})}, "asks for a pool that is not supported"),
        (
            {"config.json": as_json(CONFIG | {"architectures": ["BertForSequenceClassification"]})},
            "is a classifier's, and modules.json wants token vectors",
        ),
        (
            {
                "1_Pooling/config.json": as_json(
                    {"pooling_mode_mean_tokens": True, "include_prompt": False}
                ),
                "config_sentence_transformers.json": as_json({"prompts": {"query": "q"}}),
            },
            "leaves the prompt out of the pool",
        ),
        (
            {"onnx/model.onnx": None, "model.safetensors": b"", "config.json": as_json(
                CONFIG | {"model_type": "t5"})},
            r"from which none can be built: config\.json: model_type: expected .* found 't5'",
        ),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_file_and_reason(
    tmp_path: Path, changes: dict[str, bytes | None], reason: str
) -> None:
    files = {**layout(), **MODEL, **changes}
    with pytest.raises((StoredDataError, CorruptFile), match=reason):
        read(tmp_path, {path: content for path, content in files.items() if content is not None})
    registry = EncoderRegistry(tmp_path, threads=1, queue=9, batch_tokens=99)
    (info,) = registry.describe_all()  # it does not stop a start, and says what is the matter
    assert info.status == "unavailable"
    with pytest.raises(EncoderUnavailable, match=reason):
        registry.load("m")
    registry.close()


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
)
FLAT = st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
VALUES = SCALARS | FLAT | st.lists(FLAT, max_size=2)
SAID: dict[str, dict[str, Any]] = {
    "config.json": CONFIG | {"matryoshka_dimensions": [4], "max_position_embeddings": 24},
    "1_Pooling/config.json": {"pooling_mode": "mean", "pooling_mode_mean_tokens": True},
    "2_Dense/config.json": {"in_features": WIDTH, "out_features": 4, "activation_function": "x"},
    "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True},
    "tokenizer_config.json": {"model_max_length": 24},
    "config_sentence_transformers.json": {
        "prompts": {"query": "q"},
        "default_prompt_name": "query",
        "truncate_dim": 4,
        "matryoshka_dimensions": [4],
    },
}
KEYS = [(path, key) for path, config in SAID.items() for key in config]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(st.sampled_from(KEYS), VALUES)
def test_whatever_a_configuration_holds_the_folder_is_read_or_refused(
    tmp_path: Path, key: tuple[str, str], value: object
) -> None:
    files = layout(kinds=("Transformer", "Pooling", "Dense")) | MODEL | dense_files("2_Dense", 4)
    for path, config in SAID.items():
        files[path] = as_json(config | ({key[1]: value} if path == key[0] else {}))
    with contextlib.suppress(StoredDataError, CorruptFile):
        read(tmp_path, files)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("modules.json", as_json([{"path": "", "type": 5}])),
        ("config.json", as_json(CONFIG | {"architectures": 5})),
        ("config_sentence_transformers.json", as_json({"prompts": ["q"]})),
        ("config_sentence_transformers.json", as_json({"matryoshka_dimensions": [[4]]})),
        ("1_Pooling/config.json", as_json({"pooling_mode": [{}]})),
        ("config.json", b"[" * 100_000),
    ],
)
def test_a_value_of_another_type_refuses_its_folder_and_no_other(
    tmp_path: Path, path: str, content: bytes
) -> None:
    with pytest.raises(StoredDataError):
        read(tmp_path, layout() | MODEL | {path: content})


# ── the manifest that is written ─────────────────────────────────────────────────────────────


def test_a_folder_gets_a_manifest_when_it_is_first_loaded(tmp_path: Path) -> None:
    found = read(tmp_path, layout(settings={"prompts": {"query": 'a "q" \\ ü\n'}}) | MODEL)
    first = encoded(tmp_path, ["a cat"])
    manifest = read_manifest(tmp_path / "m")
    assert manifest == with_hashes(found.manifest, tmp_path / "m")
    (tmp_path / "m" / "onnx" / "model.onnx").write_bytes(graph(dynamic=True))
    with pytest.raises(EncoderUnavailable, match=r"m lacks onnx/model\.onnx"):
        encoded(tmp_path, ["a cat"])
    (tmp_path / "m" / "onnx" / "model.onnx").write_bytes(graph())
    np.testing.assert_array_equal(encoded(tmp_path, ["a cat"]), first)


@pytest.mark.parametrize(
    "files",
    [
        layout() | MODEL,
        layout(config={"matryoshka_dimensions": [4, 8]}) | {"model.safetensors": weights()},
        layout(config={"is_matryoshka": True}, kinds=("Transformer", "Pooling", "Dense"))
        | MODEL
        | dense_files("2_Dense", 5, "Identity"),
    ],
)
def test_a_written_manifest_is_read_back_as_it_was(tmp_path: Path, files: dict[str, bytes]) -> None:
    manifest = with_hashes(read(tmp_path, files).manifest, tmp_path / "m")
    spelled = toml_from_manifest(manifest, ("a comment",))
    assert tomllib.loads(spelled)["format"] == 1
    (tmp_path / "m" / "encoder.toml").write_text(spelled, encoding="utf-8")
    assert read_manifest(tmp_path / "m") == manifest


# ── the header of a graph ────────────────────────────────────────────────────────────────────


def test_a_graphs_header_is_what_onnx_itself_reads(tmp_path: Path) -> None:
    for path in (TINY / "model.onnx", write(tmp_path, {"m": graph(dynamic=True)}) / "m"):
        header, model = read_graph_header(path), onnx.load(str(path))
        assert {port.name for port in header.inputs} == {port.name for port in model.graph.input}
        for port, known in zip(header.outputs, model.graph.output, strict=True):
            assert (port.name, port.rank) == (known.name, len(known.type.tensor_type.shape.dim))
        assert header.kinds == {node.op_type for node in model.graph.node}
        assert header.quantises_by_batch == (path.name == "m")


def test_a_cut_graph_is_refused_wherever_the_cut_is(tmp_path: Path) -> None:
    content = graph()
    for length in range(1, len(content), 97):
        path = write(tmp_path, {"cut": content[:length]}) / "cut"
        with pytest.raises(CorruptFile, match="is not an ONNX graph"):
            read_graph_header(path)
