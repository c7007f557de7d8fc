"""The layers: from token ids to a vector for each token.

The graph is written for ONNX Runtime's optimiser and for dynamic quantisation:

- LayerNormalization and Gelu are single nodes (opset 17 and 20), so nothing has to be recognised.
- The three projections of attention are one MatMul, and 1/√d is folded into the query's weights:
  the input is quantised once, and one large product beats three small ones.
- Position embeddings come from a `Slice` of a constant, with the embedding of token type 0 already
  added, unless pairs of texts are asked for. (Positions from `Range` on a scalar break ONNX
  Runtime's embedding fusion.)
- Attention weighs with the mask, so a padded text comes out as if it were alone.

Sources: Devlin et al. 2019 (arXiv 1810.04805) for the network, Song et al. 2020 (arXiv 2004.09297)
and Raffel et al. 2020 (arXiv 1910.10683) for attention that knows distances.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from app.encoders.networks.graph import Graph
from app.encoders.networks.network import (
    Activation,
    Embeddings,
    Layer,
    Linear,
    Network,
)
from app.types import F32

TOKENS = "tokens"
"""Name of the number of tokens in a row, padding included: int64 [1]."""


def hidden_name(layer: int) -> str:
    """The graph's name of the vectors [text, token, dim] that a layer returns, counted from 1;
    layer 0 is the embeddings, before a projection."""
    if layer == 0:
        return "embeddings.LayerNorm.out"
    return f"encoder.layer.{layer - 1}.output.LayerNorm.out"


def takes_types(network: Network, *, pairs: bool) -> bool:
    """Whether the graph has the input `token_type_ids`: for pairs, if the network tells types."""
    types = network.embeddings.types
    return pairs and types is not None and len(types) > 1


def add_layers(graph: Graph, network: Network, *, pairs: bool) -> tuple[str, str]:
    """Write the layers.

    pairs    whether texts come in pairs, told apart by the input `token_type_ids` as far as the
             network tells them apart
    returns  names of the last layer's vectors [text, token, dim], and of the mask [text, token] as
             float32, 1 = token, 0 = padding
    """
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    bias = _mask_bias(graph, mask)
    hidden = _embed(graph, network.embeddings, by_type=takes_types(network, pairs=pairs))
    if network.relative is not None:
        bias = graph.node("Add", [_distance_bias(graph, network.relative), bias], "bias")
    for number, layer in enumerate(network.layers):
        hidden = _attention(graph, layer, number, network.heads, hidden, bias)
        hidden = _feed_forward(graph, layer, number, network.activation, hidden)
    return hidden, mask


def _mask_bias(graph: Graph, mask: str) -> str:
    """0 where a token may be attended to, a large negative number where padding stands."""
    # -10000 as the checkpoints were trained with: far below any logit, and finite, so that a row
    # of nothing but padding stays free of NaN.
    one, low = graph.float("one", 1.0), graph.float("low", -10_000.0)
    absent = graph.node("Sub", [one, mask], "mask.absent")
    scaled = graph.node("Mul", [absent, low], "mask.low")
    return graph.node("Unsqueeze", [scaled, graph.ints(1, 2)], "mask.bias")  # [text, 1, 1, token]


def _distance_bias(graph: Graph, relative: F32) -> str:
    """What logits gain by the distance from query to key: [head, query, key]."""
    farthest = relative.shape[1] // 2
    ordinals = graph.constant("ordinals", np.arange(farthest + 1, dtype=np.int64))
    zero = graph.ints(0)
    keys = graph.node("Slice", [ordinals, zero, TOKENS, zero], "bias.keys")
    queries = graph.node("Unsqueeze", [keys, graph.ints(1)], "bias.queries")
    distances = graph.node("Sub", [keys, queries], "bias.distances")
    columns = graph.node("Add", [distances, graph.ints(farthest)], "bias.columns")
    table = graph.constant("relative", relative)
    return graph.node("Gather", [table, columns], "bias.distance", axis=1)


def _embed(graph: Graph, embeddings: Embeddings, *, by_type: bool) -> str:
    positions, types = embeddings.positions, embeddings.types
    if types is not None and not by_type:
        positions = positions + types[0]
    words = graph.row_of("words", embeddings.words, "input_ids", "embeddings.words")
    graph.node("Shape", ["input_ids"], TOKENS, start=1, end=2)
    placed = graph.first_rows("positions", positions, TOKENS, "embeddings.positions")
    summed = graph.node("Add", [words, placed], "embeddings.sum")
    if types is not None and by_type:
        kinds = graph.row_of("types", types, "token_type_ids", "embeddings.types")
        summed = graph.node("Add", [summed, kinds], "embeddings.typed")
    hidden = graph.norm("embeddings.LayerNorm", summed, embeddings.norm)
    if embeddings.projection is None:
        return hidden
    return graph.linear("embeddings.projection", hidden, embeddings.projection)


def _attention(graph: Graph, layer: Layer, number: int, heads: int, hidden: str, bias: str) -> str:
    out = f"layer.{number}.attention."
    dimension = len(layer.query.weight)
    joint = graph.linear(out + "qkv", hidden, _joint(layer, np.sqrt(dimension / heads)))
    names = [out + part for part in ("query", "key", "value")]
    graph.split(joint, names, out + "split")
    in_heads = graph.ints(0, 0, heads, dimension // heads)
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
    projected = graph.linear(out + "output", flat, layer.output)
    residual = graph.node("Add", [projected, hidden], out + "residual")
    return graph.norm(
        f"encoder.layer.{number}.attention.output.LayerNorm", residual, layer.attention_norm
    )


def _joint(layer: Layer, root: float) -> Linear:
    """Query, key and value as one product, and queries divided by √d."""
    scale = np.float32(1.0 / root)
    query, key, value = layer.query, layer.key, layer.value
    return Linear(
        np.concatenate([query.weight * scale, key.weight, value.weight]),
        np.concatenate([query.bias * scale, key.bias, value.bias]),
    )


def _feed_forward(
    graph: Graph, layer: Layer, number: int, activation: Activation, hidden: str
) -> str:
    out = f"layer.{number}."
    wide = graph.linear(out + "wide", hidden, layer.wide)
    active = graph.activation(activation, wide, out + "active")
    narrow = graph.linear(out + "narrow", active, layer.narrow)
    residual = graph.node("Add", [narrow, hidden], out + "residual")
    return graph.norm(f"encoder.layer.{number}.output.LayerNorm", residual, layer.norm)
