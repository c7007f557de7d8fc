"""A small model with three outputs, and what it makes, in plain NumPy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.tiny import tiny_tokenizer, tiny_vocabulary
from tests.encoders.models import safetensors_bytes, small_manifest, write_model

Array = NDArray[np.float32]

PIECES = [*tiny_vocabulary(), "[MASK]", "[Q]", "[D]"]
MASK, Q, D = range(len(PIECES) - 3, len(PIECES))
DIMENSION = 16  # of the hidden state and the dense vector
PROJECTED = 6
CONTEXT = 0.25  # share of the text's mean in the hidden state of each of its tokens
MOST = 40

_random = np.random.RandomState(11)


def _drawn(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


VECTORS = _drawn(len(PIECES), DIMENSION)
WORDS = _drawn(DIMENSION, len(PIECES))
WEIGHTS = _drawn(DIMENSION, 1)
PROJECTION = _drawn(PROJECTED, DIMENSION)

DENSE = '[output]\npool = "mean"\nnormalise = true\n'
TOKENS = '[tokens]\noutput = "hidden"\ndimension = 16\nnormalise = true\n'
LOGITS = '[sparse]\noutput = "logits"\nform = "logits"\n'
OWN = '[sparse]\noutput = "weights"\nform = "token_weights"\n'


def write_several(folder: Path, tables: str, *, batch: str = "together", text: str = "") -> Path:
    """A model folder whose manifest has these tables for its outputs."""
    files = {
        "tokenizer.json": json.dumps(tiny_tokenizer(PIECES)).encode(),
        "model.onnx": _graph(),
        "projection.safetensors": safetensors_bytes({"linear.weight": PROJECTION}),
    }
    before, _, rest = small_manifest(files, name=folder.name, text=text).partition("[graph]")
    listed = "[[files]]" + rest.partition("[[files]]")[2]
    graph = f'[graph]\nfile = "model.onnx"\nbatch = "{batch}"\n'
    return write_model(folder, files, before + graph + tables + listed)


def _graph() -> bytes:
    """`hidden` [text, token, 16], `logits` [text, token, word] and `weights` [text, token, 1]."""
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["masks"]),
        helper.make_node("Mul", ["rows", "masks"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "first"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["masks", "first"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Mul", ["mean", "share"], ["context"]),
        helper.make_node("Add", ["rows", "context"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "words"], ["logits"]),
        helper.make_node("MatMul", ["hidden", "own"], ["weights"]),
    ]
    constants = {
        "vectors": VECTORS,
        "words": WORDS,
        "own": WEIGHTS,
        "share": np.array(CONTEXT, np.float32),
        "first": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    axes = ["text", "token"]
    graph = helper.make_graph(
        nodes,
        "several",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, axes)
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [*axes, size])
            for name, size in (("hidden", DIMENSION), ("logits", len(PIECES)), ("weights", 1))
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return model.SerializeToString()


def hidden(ids: Sequence[int], attended: Sequence[int] | None = None) -> Array:
    """The hidden state [token, 16] of one text."""
    rows = VECTORS[list(ids)]
    weights = np.ones(len(ids)) if attended is None else np.array(attended, np.float64)
    mean = (rows * weights[:, None]).sum(axis=0) / weights.sum()
    return (rows + CONTEXT * mean).astype(np.float32)


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
