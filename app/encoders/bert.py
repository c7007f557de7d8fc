"""Build a BERT text encoder as an ONNX graph, from its tensors alone: no torch anywhere.

    input_ids, attention_mask [text, token] int64  →  vectors [text, dim] float32

The graph is written for ONNX Runtime's optimiser and for dynamic quantisation:

- LayerNormalization and Gelu are single nodes (opset 17 and 20), so nothing has to be recognised.
- The three projections of attention are one MatMul, and 1/√d is folded into the query's weights:
  the input is quantised once, and one large product beats three small ones.
- Position embeddings come from a `Slice` of a constant, with the embedding of token type 0 already
  added: a text encoder never uses another type. (Positions from `Range` on a scalar break ONNX
  Runtime's embedding fusion.)
- Attention and pooling weigh with the mask, so a padded text comes out as if it were alone.

Sources: Devlin et al. 2019 (arXiv 1810.04805) for the network, tensor names as in the published
checkpoints, mean pooling as in Reimers & Gurevych 2019 (arXiv 1908.10084).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.encoders.manifest import Pool

OPSET = 20
IR_VERSION = 9  # the IR that opset 20 came with: every ONNX Runtime that has Gelu-20 reads it


@dataclass(frozen=True, slots=True)
class BertShape:
    """What the tensors do not tell: everything else is read off their shapes.

    pool       "mean" over the tokens that carry text, or "cls": the first token
    normalise  whether vectors end with length one
    """

    heads: int
    layer_norm_eps: float
    pool: Pool = "mean"
    normalise: bool = True


class _Graph:
    """Nodes and constants under construction; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants[name] = np.asarray(values, order="C")
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, name: str, rows: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """rows @ weightᵀ + bias; `weight` is [out, in] as checkpoints store it."""
        product = self.node(
            "MatMul",
            [rows, self.constant(f"{name}.weight", weight.T.astype(np.float32))],
            f"{name}.product",
        )
        bias_name = self.constant(f"{name}.bias", bias.astype(np.float32))
        return self.node("Add", [product, bias_name], f"{name}.sum")


def build_bert(tensors: Mapping[str, NDArray[Any]], shape: BertShape) -> onnx.ModelProto:
    """Build the graph from token ids to vectors.

    tensors  by the names of a `BertModel` checkpoint, without or with the prefix "bert."
    returns  a checked model with inputs `input_ids` and `attention_mask`, int64 [text, token], and
             the output `vectors`, float32 [text, dim]

    Raises KeyError naming the first tensor that is missing.
    """
    weights = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    graph = _Graph()
    words = weights["embeddings.word_embeddings.weight"]
    positions = weights["embeddings.position_embeddings.weight"]
    types = weights["embeddings.token_type_embeddings.weight"]
    dimension = words.shape[1]

    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    bias = _attention_bias(graph, mask)

    gathered = graph.node(
        "Gather",
        [graph.constant("words", words.astype(np.float32)), "input_ids"],
        "embeddings.words",
    )
    tokens = graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    placed = graph.node(
        "Slice",
        [
            graph.constant("positions", (positions + types[0]).astype(np.float32)),
            graph.ints(0),
            tokens,
            graph.ints(0),
        ],
        "embeddings.positions",
    )
    summed = graph.node("Add", [gathered, placed], "embeddings.sum")
    hidden = _layer_norm(graph, weights, shape, "embeddings.LayerNorm", summed)

    for layer in range(_count_layers(weights)):
        hidden = _attention(graph, weights, shape, layer, hidden, bias)
        hidden = _feed_forward(graph, weights, shape, layer, hidden)

    _pool(graph, shape, hidden, mask)
    return _model(graph, dimension)


def _count_layers(weights: Mapping[str, NDArray[Any]]) -> int:
    found = [re.match(r"encoder\.layer\.(\d+)\.", name) for name in weights]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _attention_bias(graph: _Graph, mask: str) -> str:
    """0 where a token may be attended to, a large negative number where padding stands."""
    # -10000 as the checkpoints were trained with: far below any logit, and finite, so that a row
    # of nothing but padding stays free of NaN.
    one = graph.constant("one", np.array(1.0, np.float32))
    low = graph.constant("low", np.array(-10_000.0, np.float32))
    absent = graph.node("Sub", [one, mask], "mask.absent")
    scaled = graph.node("Mul", [absent, low], "mask.low")
    return graph.node("Unsqueeze", [scaled, graph.ints(1, 2)], "mask.bias")  # [text, 1, 1, token]


def _attention(
    graph: _Graph,
    weights: Mapping[str, NDArray[Any]],
    shape: BertShape,
    layer: int,
    hidden: str,
    bias: str,
) -> str:
    at, out = f"encoder.layer.{layer}.attention.", f"layer.{layer}.attention."
    dimension = weights[at + "self.query.weight"].shape[0]
    scale = np.float32(1.0 / np.sqrt(dimension / shape.heads))
    joint = graph.linear(
        out + "qkv",
        hidden,
        np.concatenate(
            [
                weights[at + "self.query.weight"] * scale,
                weights[at + "self.key.weight"],
                weights[at + "self.value.weight"],
            ]
        ),
        np.concatenate(
            [
                weights[at + "self.query.bias"] * scale,
                weights[at + "self.key.bias"],
                weights[at + "self.value.bias"],
            ]
        ),
    )
    names = [out + part for part in ("query", "key", "value")]
    graph.nodes.append(
        helper.make_node("Split", [joint], names, name=out + "split", axis=-1, num_outputs=3)
    )
    in_heads = graph.ints(0, 0, shape.heads, dimension // shape.heads)
    # [text, head, token, dim]; the key comes with its last two axes swapped already
    query, key, value = (
        graph.node(
            "Transpose",
            [graph.node("Reshape", [name, in_heads], name + ".heads")],
            name + ".turned",
            perm=perm,
        )
        for name, perm in zip(names, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    logits = graph.node("MatMul", [query, key], out + "logits")
    masked = graph.node("Add", [logits, bias], out + "masked")
    shares = graph.node("Softmax", [masked], out + "shares", axis=-1)
    context = graph.node("MatMul", [shares, value], out + "context")
    turned = graph.node("Transpose", [context], out + "context.turned", perm=[0, 2, 1, 3])
    flat = graph.node("Reshape", [turned, graph.ints(0, 0, dimension)], out + "context.flat")
    projected = graph.linear(
        out + "output",
        flat,
        weights[at + "output.dense.weight"],
        weights[at + "output.dense.bias"],
    )
    residual = graph.node("Add", [projected, hidden], out + "residual")
    return _layer_norm(graph, weights, shape, at + "output.LayerNorm", residual)


def _feed_forward(
    graph: _Graph,
    weights: Mapping[str, NDArray[Any]],
    shape: BertShape,
    layer: int,
    hidden: str,
) -> str:
    at, out = f"encoder.layer.{layer}.", f"layer.{layer}."
    wide = graph.linear(
        out + "wide",
        hidden,
        weights[at + "intermediate.dense.weight"],
        weights[at + "intermediate.dense.bias"],
    )
    active = graph.node("Gelu", [wide], out + "active")
    narrow = graph.linear(
        out + "narrow",
        active,
        weights[at + "output.dense.weight"],
        weights[at + "output.dense.bias"],
    )
    residual = graph.node("Add", [narrow, hidden], out + "residual")
    return _layer_norm(graph, weights, shape, at + "output.LayerNorm", residual)


def _layer_norm(
    graph: _Graph,
    weights: Mapping[str, NDArray[Any]],
    shape: BertShape,
    name: str,
    rows: str,
) -> str:
    scale = graph.constant(name + ".weight", weights[name + ".weight"].astype(np.float32))
    shift = graph.constant(name + ".bias", weights[name + ".bias"].astype(np.float32))
    return graph.node(
        "LayerNormalization",
        [rows, scale, shift],
        name + ".out",
        axis=-1,
        epsilon=shape.layer_norm_eps,
    )


def _pool(graph: _Graph, shape: BertShape, hidden: str, mask: str) -> None:
    out = "pooled" if shape.normalise else "vectors"
    if shape.pool == "mean":
        rows = graph.node("Unsqueeze", [mask, graph.ints(2)], "mask.rows")  # [text, token, 1]
        kept = graph.node("Mul", [hidden, rows], "pool.kept")
        summed = graph.node("ReduceSum", [kept, graph.ints(1)], "pool.sum", keepdims=0)
        tokens = graph.node("ReduceSum", [mask, graph.ints(1)], "pool.tokens", keepdims=1)
        graph.node("Div", [summed, tokens], out)
    else:
        first = graph.constant("first", np.array(0, np.int64))
        graph.node("Gather", [hidden, first], out, axis=1)
    if shape.normalise:
        graph.node("LpNormalization", [out], "vectors", axis=-1, p=2)


def _model(graph: _Graph, dimension: int) -> onnx.ModelProto:
    axes = ["text", "token"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            inputs=[
                helper.make_tensor_value_info("input_ids", TensorProto.INT64, axes),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT64, axes),
            ],
            outputs=[
                helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["text", dimension])
            ],
            initializer=[
                numpy_helper.from_array(values, name) for name, values in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="likewise",
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
