"""The built graph and its slow twin agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from app.encoders.calibration import random_rows
from app.encoders.networks.families import Architecture, open_tensors, read_network
from app.encoders.networks.graph import OPSET
from app.encoders.networks.heads import Pool, Pooled, build_network
from app.encoders.quantise import quantise
from app.encoders.token_session import TokenSession
from app.errors import CorruptFile
from tests.encoders.models import HEADS, SHAPE
from tests.encoders.reference import bert_vector, random_tensors

ARCHITECTURE = Architecture("bert", HEADS, 1e-12)
LENGTHS = (1, 2, 7, 19, 40)


def texts(seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, SHAPE["words"], length).tolist() for length in LENGTHS]


def build_bert(
    tensors: Mapping[str, NDArray[np.float32]], pool: Pool = "mean", *, normalise: bool = True
) -> onnx.ModelProto:
    network = read_network(open_tensors(tensors, ARCHITECTURE), ARCHITECTURE)
    return build_network(network, Pooled(pool, normalise))


def session(path: Path, content: bytes) -> TokenSession:
    path.write_bytes(content)
    return TokenSession(path, threads=1)


@pytest.mark.parametrize("pool", ["mean", "cls"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_graph_agrees_with_the_plain_reference_whatever_the_padding(
    tmp_path: Path, pool: Pool, seed: int
) -> None:
    tensors = random_tensors(seed, **SHAPE)
    graph = build_bert(tensors, pool)
    tokens = texts(seed)
    vectors, _ = session(tmp_path / "m.onnx", graph.SerializeToString()).run(tokens)
    expected = np.stack([bert_vector(tensors, ids, HEADS, pool) for ids in tokens])
    # float32 against float64 through two layers
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_checkpoints_that_put_bert_before_every_name_build_the_same_graph() -> None:
    tensors = random_tensors(3, **SHAPE)
    prefixed = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    assert build_bert(tensors) == build_bert(prefixed)


def test_without_normalisation_the_mean_keeps_its_length(tmp_path: Path) -> None:
    tensors = random_tensors(4, **SHAPE)
    tokens = texts(4)
    plain = build_bert(tensors, normalise=False)
    vectors, _ = session(tmp_path / "m.onnx", plain.SerializeToString()).run(tokens)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.stack([bert_vector(tensors, ids, HEADS, "mean") for ids in tokens])
    np.testing.assert_allclose(vectors / lengths, expected, atol=2e-6)
    assert np.abs(lengths - 1).max() > 0.1


def test_attention_norms_and_gelu_are_single_nodes_of_the_stated_opset() -> None:
    graph = build_bert(random_tensors(0, **SHAPE))
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("LayerNormalization") == 1 + 2 * SHAPE["layers"]
    assert kinds.count("Attention") == kinds.count("Gelu") == SHAPE["layers"]
    assert "Range" not in kinds
    assert [entry.version for entry in graph.opset_import] == [OPSET]


def test_quantisation_keeps_the_direction_of_a_text(tmp_path: Path) -> None:
    tensors = random_tensors(5, **SHAPE)
    samples = random_rows([2, 3], SHAPE["words"], SHAPE["positions"])
    graph = quantise(build_bert(tensors), samples)
    run = session(tmp_path / "m.onnx", graph.SerializeToString())
    for ids in texts(5):
        vectors, _ = run.run([ids])
        # Products of 16 and 24 numbers average little of the rounding away.
        assert vectors[0] @ bert_vector(tensors, ids, HEADS, "mean") > 0.99


def test_a_missing_tensor_is_named() -> None:
    tensors = random_tensors(0, **SHAPE)
    del tensors["encoder.layer.1.output.dense.bias"]
    with pytest.raises(CorruptFile, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build_bert(tensors)
