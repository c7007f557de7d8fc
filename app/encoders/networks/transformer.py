"""The layers: from token ids to a vector for each token.

The graph is written for what ONNX Runtime's CPU kernels do best (docs/decisions/0018):

- Attention, LayerNormalization and Gelu are single nodes (opset 23, 17 and 20): nothing has to be
  recognised. `Attention` takes query, key and value as they come out of their products, and cuts
  them into heads itself: three products and no Split beat one wide product and its Split.
- Position embeddings come from a `Slice` of a constant, with the embedding of token type 0 already
  added, unless pairs of texts are asked for.
- Attention weighs with the mask, so a padded text comes out as if it were alone.

Sources: Devlin et al. 2019 (arXiv 1810.04805) for the network, Song et al. 2020 (arXiv 2004.09297)
and Raffel et al. 2020 (arXiv 1910.10683) for attention that knows distances.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from app.encoders.networks.graph import Graph
from app.encoders.networks.network import Activation, Embeddings, Layer, Network
from app.types import F32

WORDS = "words"
"""Name of the table of words, [word, column]."""

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
    hidden = _embed(graph, network.embeddings, by_type=takes_types(network, pairs=pairs))
    bias = _bias(graph, network.relative, mask)
    for number, layer in enumerate(network.layers):
        hidden = _attention(graph, layer, number, network.heads, hidden, bias)
        hidden = _feed_forward(graph, layer, number, network.activation, hidden)
    return hidden, mask


def _bias(graph: Graph, relative: F32 | None, mask: str) -> str:
    """What attention logits gain: [text, 1 or head, query, key].

    0 where a token may be attended to, a large negative number where padding stands, and the bias
    by distance of networks that have one.
    """
    # -10000 as the checkpoints were trained with: far below any logit, and finite, so that a row
    # of nothing but padding stays free of NaN.
    one, low = graph.float("one", 1.0), graph.float("low", -10_000.0)
    absent = graph.node("Sub", [one, mask], "mask.absent")
    scaled = graph.node("Mul", [absent, low], "mask.low")
    by_key = graph.node("Unsqueeze", [scaled, graph.ints(1, 2)], "mask.bias")  # [text, 1, 1, key]
    if relative is not None:
        return graph.node("Add", [_distance_bias(graph, relative), by_key], "bias")
    # Attention wants a row for each query.
    texts = graph.node("Shape", ["input_ids"], "texts", start=0, end=1)
    shape = graph.node("Concat", [texts, graph.ints(1), TOKENS, TOKENS], "bias.shape", axis=0)
    return graph.node("Expand", [by_key, shape], "bias")


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
    words = graph.row_of(WORDS, embeddings.words, "input_ids", "embeddings.words")
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
    parts = {"query": layer.query, "key": layer.key, "value": layer.value}
    rows = [graph.linear(out + name, hidden, linear) for name, linear in parts.items()]
    # Its scale is 1/√d unless told otherwise.
    context = graph.node(
        "Attention", [*rows, bias], out + "context", q_num_heads=heads, kv_num_heads=heads
    )
    projected = graph.linear(out + "output", context, layer.output)
    residual = graph.node("Add", [projected, hidden], out + "residual")
    return graph.norm(
        f"encoder.layer.{number}.attention.output.LayerNorm", residual, layer.attention_norm
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
