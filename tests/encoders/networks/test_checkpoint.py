"""Checkpoints of one file or several, modules after pooling, and whole models of each family."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from app.encoders.build import float_graph, graph_path, is_built
from app.encoders.direct import encode
from app.encoders.manifest import Manifest, Variant, read_manifest
from app.encoders.networks.checkpoint import read_checkpoint, read_module
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Dense, Norm
from app.encoders.networks.transformer import hidden_name
from app.encoders.obtain import missing_files, obtain, with_variant
from app.encoders.opening import open_encoder
from app.errors import CorruptFile, StoredDataError
from tests.encoders.models import ROOT, TINY, safetensors_bytes
from tests.encoders.networks.checkpoints import Session, texts
from tests.encoders.reference import STARTS_BEHIND_PADDING, Twin, pool, random_tensors, unit

DEFAULT = ROOT / "models" / "all-MiniLM-L6-v2"
Tensors = dict[str, NDArray[np.float32]]


def sharded(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, bytes]:
    """The files of a checkpoint in three parts."""
    parts = [dict(list(tensors.items())[part::3]) for part in range(3)]
    names = [f"model-{part + 1:05}-of-00003.safetensors" for part in range(3)]
    places = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    files = {name: safetensors_bytes(part) for name, part in zip(names, parts, strict=True)}
    return {"model.safetensors.index.json": json.dumps(index).encode(), **files}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def small() -> Tensors:
    return random_tensors(3, words=20, dimension=8, wide=12, layers=2, positions=9)


def test_parts_that_an_index_names_are_read_as_one(tmp_path: Path) -> None:
    tensors = small()
    write(tmp_path, sharded(tensors))
    read = read_checkpoint(tmp_path / "model.safetensors.index.json")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"{", "no weight_map"),
        (b"[]", "no weight_map"),
        (b'{"weight_map": ["a"]}', "no weight_map"),
        (b'{"weight_map": {"t": 5}}', "no weight_map"),
        (b'{"weight_map": {"t": "../other.safetensors"}}', "not beside it"),
        (b'{"weight_map": {"t": "gone.safetensors"}}', "names gone.safetensors, which is not"),
        (b'{"weight_map": {"t": "one.safetensors"}}', "names tensor 't', which is in none"),
    ],
)
def test_an_index_that_does_not_fit_its_parts_is_refused(
    tmp_path: Path, index: bytes, message: str
) -> None:
    path = tmp_path / "model.safetensors.index.json"
    write(tmp_path, {path.name: index, "one.safetensors": safetensors_bytes({})})
    with pytest.raises(CorruptFile, match=message):
        read_checkpoint(path)


def module(config: object, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, bytes]:
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": safetensors_bytes(tensors),
    }


WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([5, 7], np.float32)
TANH = "torch.nn.modules.activation.Tanh"


def test_a_dense_module_has_its_activation_and_perhaps_a_bias(tmp_path: Path) -> None:
    config = {"in_features": 3, "out_features": 2, "activation_function": TANH}
    write(tmp_path / "a", module(config, {"linear.weight": WEIGHT, "linear.bias": BIAS}))
    write(tmp_path / "b", module(config, {"linear.weight": WEIGHT}))
    biased, plain = (read_module(tmp_path / name) for name in "ab")
    assert isinstance(biased, Dense)
    assert isinstance(plain, Dense)
    assert biased.activation == "tanh"
    np.testing.assert_array_equal(biased.linear.weight, WEIGHT)
    assert biased.linear.bias.tolist() == [5, 7]
    assert plain.linear.bias.tolist() == [0, 0]


def test_a_norm_module_is_told_by_its_dimension(tmp_path: Path) -> None:
    write(tmp_path, module({"dimension": 2}, {"norm.weight": BIAS, "norm.bias": BIAS}))
    norm = read_module(tmp_path)
    assert isinstance(norm, Norm)
    assert norm.epsilon == 1e-5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"in_features": 4, "out_features": 2},
            r"'linear.weight' of shape \[2, 4\], found \[2, 3\]",
        ),
        (
            {"in_features": 3, "out_features": 2, "activation_function": "x.SiLU"},
            "activation_function: expected one of Tanh, .* found 'SiLU'",
        ),
        ({"weights": [1]}, "expected in_features and out_features"),
        ([], "expected in_features and out_features"),
    ],
)
def test_another_module_is_refused(tmp_path: Path, config: object, message: str) -> None:
    write(tmp_path, module(config, {"linear.weight": WEIGHT}))
    with pytest.raises(StoredDataError, match=message):
        read_module(tmp_path)


# ── whole models ─────────────────────────────────────────────────────────────────────────────

MODEL_TYPES = {"roberta": "xlm-roberta"}
TOKENS = 40
PIECES = 300  # more than the tiny encoder's tokenizer has


def config_of(family: str) -> dict[str, object]:
    common = {
        "model_type": MODEL_TYPES.get(family, family),
        "vocab_size": PIECES,
        "max_position_embeddings": TOKENS + 2 * (family in STARTS_BEHIND_PADDING),
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    if family == "distilbert":
        return common | {"dim": 16, "n_heads": 4, "n_layers": 2, "hidden_dim": 24}
    return common | {
        "hidden_size": 16,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "intermediate_size": 24,
        "hidden_act": "gelu",
        "embedding_size": 16,
    }


def model(
    folder: Path, family: str, *, variant: str = "fp32", graph: str = "", parts: bool = False
) -> tuple[Manifest, Twin]:
    """A model folder with `config.json`, whole or in parts, with a `Dense` module."""
    tensors = random_tensors(
        5,
        family=family,
        words=PIECES,
        dimension=16,
        wide=24,
        layers=2,
        positions=TOKENS + 2 * (family in STARTS_BEHIND_PADDING),
        labels=1,
        predicts=True,
    )
    tensors["linear.weight"] = np.linspace(-1, 1, 80, dtype=np.float32).reshape(5, 16)
    files = {
        "tokenizer.json": (TINY / "tokenizer.json").read_bytes(),
        "config.json": json.dumps(config_of(family)).encode(),
    }
    files |= sharded(tensors) if parts else {"model.safetensors": safetensors_bytes(tensors)}
    dense = {"in_features": 16, "out_features": 2, "activation_function": TANH}
    square = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    files |= {
        f"2_Dense/{name}": content
        for name, content in module(dense, {"linear.weight": square}).items()
    }
    listed = "".join(
        f'[[files]]\npath = "{path}"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"bytes = {len(content)}\n"
        for path, content in files.items()
    )
    weights = "model.safetensors.index.json" if parts else "model.safetensors"
    write(folder, files)
    (folder / "encoder.toml").write_text(f"""\
format = 1
name = "{folder.name}"
modality = "text"
dimension = {2 if "modules" in graph else 16}
owned_by = "tests"
license = "none"
released = 2024-01-02
space = {{ id = "small", version = 3 }}
[text]
tokenizer = "tokenizer.json"
max_tokens = {TOKENS}
[graph]
build = "auto"
weights = "{weights}"
variant = "{variant}"
{graph}
[output]
pool = "mean"
normalise = true
{listed}""")
    for head, tables in HEAD_TABLES.items():
        if f'head = "{head}"' in graph:
            promise(folder, tables, pairs=head == "logits")
    manifest = read_manifest(folder)
    return manifest, Twin(family, tensors, 4, 1e-12 if family == "distilbert" else 1e-5)


def vectors(manifest: Manifest, folder: Path) -> tuple[NDArray[np.float32], list[list[int]]]:
    obtain(manifest, folder)
    given = ["cat", "the old man and the sea " * 3, "a b c " * 50]
    encoder = open_encoder(manifest, folder, threads=1)
    tokens = [one.value for one in encoder.prepare(given)]
    encoded = encode(encoder, given, "document").vectors
    encoder.close()
    return encoded, tokens


@pytest.mark.parametrize("variant", get_args(Variant))
@pytest.mark.parametrize("family", get_args(FamilyName))
def test_a_model_of_any_family_is_built_as_its_configuration_says(
    tmp_path: Path, family: FamilyName, variant: Variant
) -> None:
    folder = tmp_path / "small"
    manifest, twin = model(folder, family, variant=variant)
    encoded, tokens = vectors(manifest, folder)
    expected = [unit(pool("mean", twin.hidden(ids)[-1])) for ids in tokens]
    least = {"fp32": 1 - 1e-9, "fp16": 1 - 1e-5, "int8": 0.99}[variant]
    for vector, wanted in zip(encoded, expected, strict=True):
        assert unit(np.float64(vector)) @ wanted > least


def test_parts_and_modules_are_read_through_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    manifest, twin = model(folder, "mpnet", graph='modules = ["2_Dense"]', parts=True)
    encoded, tokens = vectors(manifest, folder)
    square = np.linspace(-1, 1, 32).reshape(2, 16)
    pooled = [np.tanh(square @ pool("mean", twin.hidden(ids)[-1])) for ids in tokens]
    np.testing.assert_allclose(encoded, unit(np.stack(pooled)), atol=1e-5)


@pytest.mark.parametrize("family", get_args(FamilyName))
def test_every_head_is_built_through_the_manifest(tmp_path: Path, family: FamilyName) -> None:
    tokens = texts(9)
    for head in HEAD_TABLES:
        graph = f'head = "{head}"'
        graph += '\nprojection = "linear"' if head == "token_vectors" else ""
        folder = tmp_path / head
        manifest, twin = model(folder, family, graph=graph)
        built = float_graph(manifest, folder)
        assert [output.name for output in built.graph.output] == [head]
        (out,) = Session(built).run(tokens)
        for row, ids in enumerate(tokens):
            got, expected = out[row], twin.logits(ids)
            if head == "word_weights":
                expected = twin.word_weights(ids)
            elif head == "token_vectors":
                got = got[: len(ids)]
                expected = unit(twin.hidden(ids)[-1] @ twin["linear.weight"].T)
            np.testing.assert_allclose(got, expected, atol=1e-5)


HEAD_TABLES = {
    "logits": f"""[pair]
tokenizer = "tokenizer.json"
max_tokens = {TOKENS}
truncate = "second"
labels = 1
activation = "identity"
""",
    "word_weights": '[sparse]\nform = "weights"\n',
    "token_vectors": "[tokens]\ndimension = 5\nnormalise = true\n",
}
"""What a manifest with each head promises."""


def promise(folder: Path, tables: str, *, pairs: bool) -> None:
    """Rewrite the manifest of a model to promise other outputs than a dense vector."""
    path = folder / "encoder.toml"
    before, rest = path.read_text(encoding="utf-8").split("[output]\n")
    rest = rest[rest.index("[[files]]") :]
    if pairs:
        head, _, graph = before.partition("[text]")
        before = (
            head.replace("modality", 'kind = "pair"\nmodality') + graph[graph.index("[graph") :]
        )
    path.write_text(before + tables + rest, encoding="utf-8")


def test_weights_may_be_deleted_once_the_graph_is_built_and_other_ones_build_anew(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "small"
    manifest, _ = model(folder, "bert", graph='modules = ["2_Dense"]', parts=True)
    obtain(manifest, folder)
    for path in [*folder.rglob("*.safetensors"), *folder.rglob("*.json")]:
        if path.name not in {"tokenizer.json", "built.json"}:
            path.unlink()
    assert missing_files(manifest, folder) == []
    assert is_built(manifest, folder)
    changed = (folder / "encoder.toml").read_text().replace('modules = ["2_Dense"]', "")
    (folder / "encoder.toml").write_text(changed)
    other = read_manifest(folder)
    assert not is_built(other, folder)
    assert len(missing_files(other, folder)) == 7


def test_each_variant_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = set()
    for variant in get_args(Variant):
        manifest, _ = model(tmp_path / variant, "bert", variant=variant)
        paths.add(graph_path(manifest, tmp_path).name)
    assert paths == {"model.onnx", "model.fp16.onnx", "model.int8.onnx"}


def test_more_tokens_than_positions_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    model(folder, "roberta")
    text = (folder / "encoder.toml").read_text()
    (folder / "encoder.toml").write_text(text.replace("max_tokens = 40", "max_tokens = 42"))
    with pytest.raises(StoredDataError, match=r"expected at most 40 tokens, .* found 42"):
        float_graph(read_manifest(folder), folder)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ('modules = ["3_Dense"]', r"graph.modules\[0\]/config.json: expected a path that"),
        ("modules = [1]", "graph.modules: expected a list of folders"),
        ('config = "other.json"', "graph.config: expected a path that"),
        ('head = "vector"', "graph.head: expected one of 'vectors', 'token_vectors'"),
        ("heads = 4", "graph.heads: expected no such key"),
    ],
)
def test_a_mistake_in_the_graph_is_named(tmp_path: Path, graph: str, message: str) -> None:
    with pytest.raises(StoredDataError, match=message):
        model(tmp_path / "small", "bert", graph=graph)


@pytest.mark.model
def test_every_layer_of_the_default_encoder_agrees_with_the_reference_on_its_own_weights() -> None:
    weights = DEFAULT / "model.safetensors"
    if not weights.exists():
        pytest.skip("the weights of the default encoder are not in models/")
    manifest = read_manifest(DEFAULT)
    tensors = read_checkpoint(weights)
    twin = Twin("bert", tensors, 12)
    names = [hidden_name(layer) for layer in range(7)]
    built = float_graph(manifest, DEFAULT)
    session = Session(built, names)
    tokens = [[101, *ids, 102] for ids in texts(1, (1, 5, 60))]
    out, *states = session.run(tokens)
    for row, ids in enumerate(tokens):
        expected = twin.hidden(ids)
        for state, wanted in zip(states, expected, strict=True):
            # float32 against float64; the largest difference seen is 1.2e-5
            np.testing.assert_allclose(state[row, : len(ids)], wanted, atol=5e-5)
        assert unit(np.float64(out[row])) @ unit(pool("mean", expected[-1])) > 1 - 1e-8


@pytest.mark.model
def test_float16_weights_keep_the_vectors_of_the_default_encoder() -> None:
    if not (DEFAULT / "model.safetensors").exists():
        pytest.skip("the weights of the default encoder are not in models/")
    manifest = read_manifest(DEFAULT)
    full, half = (
        Session(float_graph(with_variant(manifest, variant), DEFAULT))
        for variant in ("fp32", "fp16")
    )
    tokens = [[101, *ids, 102] for ids in texts(2, (1, 5, 20, 60, 254))]
    one, two = (unit(np.float64(session.run(tokens)[0])) for session in (full, half))
    assert (one * two).sum(axis=1).min() > 1 - 1e-5
