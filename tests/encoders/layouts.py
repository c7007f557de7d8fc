"""Folders of models as hubs publish them, small and with random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.encoders.models import HEADS, SHAPE, TINY, safetensors_bytes
from tests.encoders.reference import random_tensors

WIDTH = SHAPE["dimension"]

CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_hidden_layers": SHAPE["layers"],
    "intermediate_size": SHAPE["wide"],
    "vocab_size": SHAPE["words"],
    "max_position_embeddings": SHAPE["positions"],
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}
_OF = "sentence_transformers.models."


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def modules(*kinds: str) -> list[dict[str, Any]]:
    """`modules.json`; the network is at the root."""
    return [
        {
            "idx": place,
            "name": str(place),
            "path": "" if kind == "Transformer" else f"{place}_{kind}",
            "type": f"{_OF}{kind}",
        }
        for place, kind in enumerate(kinds)
    ]


def layout(
    *,
    config: Mapping[str, Any] = {},
    pooling: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    kinds: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
) -> dict[str, bytes]:
    """The configuration of a sentence-transformers model, and its tokenizer."""
    pooling = {"pooling_mode_mean_tokens": True} if pooling is None else pooling
    files = {
        "modules.json": as_json(modules(*kinds)),
        "config.json": as_json(CONFIG | dict(config)),
        "tokenizer.json": (TINY / "tokenizer.json").read_bytes(),
        "1_Pooling/config.json": as_json({"word_embedding_dimension": WIDTH, **pooling}),
        "sentence_bert_config.json": as_json({"max_seq_length": 24, "do_lower_case": False}),
    }
    if settings is not None:
        files["config_sentence_transformers.json"] = as_json(settings)
    return files


def weights() -> bytes:
    """`model.safetensors` of the network."""
    return safetensors_bytes(random_tensors(7, **SHAPE))


def dense_files(place: str, wide: int, activation: str = "Tanh") -> dict[str, bytes]:
    """The folder of a Dense module."""
    random = np.random.default_rng(3)
    tensors = {
        "linear.weight": random.standard_normal((wide, WIDTH)).astype(np.float32),
        "linear.bias": random.standard_normal(wide).astype(np.float32),
    }
    config = {
        "in_features": WIDTH,
        "out_features": wide,
        "bias": True,
        "activation_function": f"torch.nn.modules.activation.{activation}",
    }
    return {
        f"{place}/config.json": as_json(config),
        f"{place}/model.safetensors": safetensors_bytes(tensors),
    }


def table() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The word vectors of `graph`."""
    random = np.random.default_rng(5)
    return random.standard_normal((SHAPE["words"], WIDTH)).astype(np.float32)


def graph(
    *,
    dtype: type = np.float32,
    output: str = "last_hidden_state",
    pooled: bool = False,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    dynamic: bool = False,
) -> bytes:
    """A graph whose token vectors are rows of `table`: what each pool makes of them is plain."""
    words = numpy_helper.from_array(table().astype(dtype), "words")
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["rows"])]
    last = "rows"
    if dynamic:
        nodes.append(helper.make_node("DynamicQuantizeLinear", [last], ["q", "scale", "zero"]))
        nodes.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["back"]))
        last = "back"
    if pooled:
        nodes.append(helper.make_node("ReduceMean", [last], ["mean"], axes=[1], keepdims=0))
        last = "mean"
    nodes.append(helper.make_node("Identity", [last], [output]))
    kind = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.FLOAT
    shape = ["text", WIDTH] if pooled else ["text", "token", WIDTH]
    built = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(i, TensorProto.INT64, ["text", "token"]) for i in inputs],
        [helper.make_tensor_value_info(output, kind, shape)],
        [words],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
