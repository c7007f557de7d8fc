"""What a graph returns: the part after the last layer.

| head | output | shape | from |
|---|---|---|---|
| `Pooled` | `vectors` | [text, dim] | one vector of a text's token vectors |
| `TokenVectors` | `token_vectors` | [text, token, dim] | late interaction; zeros at padding |
| `Logits` | `logits` | [text, label] | cross-encoders, sequence classifiers |
| `WordWeights` | `word_weights` | [text, word] | learned sparse vectors; never negative |

Padding never shows in an output: pooling, too, weighs with the mask.

Sources: mean pooling Reimers & Gurevych 2019 (arXiv 1908.10084); weighted mean Muennighoff 2022
(arXiv 2202.08904), section 3.1.1; token vectors Khattab & Zaharia 2020 (arXiv 2004.12832); word
weights Formal et al. 2021 (arXiv 2109.10086), equation 1 with the maximum in place of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from app.encoders.networks.graph import LARGEST_BYTES, Graph, Halved
from app.encoders.networks.network import Classifier, Dense, Network, Norm, Pool, WordPredictor
from app.encoders.networks.transformer import TOKENS, add_layers, takes_types
from app.errors import CorruptFile


@dataclass(frozen=True, slots=True)
class Pooled:
    """One vector for each text: pool, then the steps in their order, then length one."""

    pool: Pool = "mean"
    normalise: bool = True
    steps: Sequence[Dense | Norm] = ()


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """A vector for each token: the steps in their order, then length one.

    masked  whether those that the others do not look at become zeros: padding, mostly, but ColBERT
            reads what it fills queries with
    """

    normalise: bool = True
    steps: Sequence[Dense | Norm] = ()
    masked: bool = True


@dataclass(frozen=True, slots=True)
class Logits:
    """The logits of a sequence classifier, without softmax or sigmoid."""

    classifier: Classifier


@dataclass(frozen=True, slots=True)
class WordWeights:
    """log(1 + relu(logit)) of each word of the vocabulary, its maximum over the tokens."""

    predictor: WordPredictor


Head = Pooled | TokenVectors | Logits | WordWeights


def build_network(
    network: Network, head: Head, *, pairs: bool = False, half: bool = False
) -> onnx.ModelProto:
    """Build the graph from token ids to what the head returns.

    pairs    whether texts come in pairs: then the graph takes `token_type_ids` too, if the network
             tells types apart
    half     whether tables and matrices are stored as float16. Tables are in any case, if the graph
             would be larger than an ONNX file can be
    returns  a checked model with inputs `input_ids` and `attention_mask`, int64 [text, token]

    Raises StoredDataError if the graph is too large even so, or has numbers beyond float16.
    """
    graph, output, axes = _written(network, head, "all" if half else "nothing", pairs=pairs)
    if graph.size_bytes > LARGEST_BYTES and not half:
        graph, output, axes = _written(network, head, "tables", pairs=pairs)
    inputs = ["input_ids", "attention_mask"]
    if takes_types(network, pairs=pairs):
        inputs.append("token_type_ids")
    return graph.model(inputs, output, axes, "bert")


def _written(
    network: Network, head: Head, halved: Halved, *, pairs: bool
) -> tuple[Graph, str, list[str | int]]:
    """A graph's nodes, the name of its output and the output's axes."""
    graph = Graph(halved)
    hidden, mask = add_layers(graph, network, pairs=pairs)
    if isinstance(head, Pooled):
        return graph, *_add_pooled(graph, network, head, hidden, mask)
    if isinstance(head, TokenVectors):
        return graph, *_add_token_vectors(graph, network, head, hidden, mask)
    if isinstance(head, Logits):
        return graph, *_add_logits(graph, head.classifier, hidden)
    return graph, *_add_word_weights(graph, head.predictor, hidden, mask)


def check_steps(steps: Sequence[Dense | Norm], dimension: int, source: str) -> None:
    """Raise CorruptFile unless each step takes as many numbers as the one before it gives."""
    for number, step in enumerate(steps):
        takes = len(step.scale) if isinstance(step, Norm) else step.linear.weight.shape[1]
        if takes != dimension:
            raise CorruptFile(
                f"{source}: expected step {number} after the network to take {dimension} numbers, "
                f"found one that takes {takes}",
                path=source,
            )
        if isinstance(step, Dense):
            dimension = len(step.linear.weight)


def _add_pooled(
    graph: Graph, network: Network, head: Pooled, hidden: str, mask: str
) -> tuple[str, list[str | int]]:
    last = "pooled" if head.normalise else "vectors"
    out = "pool.out" if head.steps else last
    if head.pool == "cls":
        _first_token(graph, hidden, out)
    elif head.pool == "max":
        present = graph.node("Add", [hidden, _low_at_padding(graph)], "pool.present")
        graph.node("ReduceMax", [present, graph.ints(1)], out, keepdims=0)
    else:
        # A product for each text adds in the same order whatever the texts beside it are; a sum
        # over an axis does not.
        weights = _token_weights(graph, network.positions, head.pool, mask)
        rows = graph.node("Unsqueeze", [weights, graph.ints(1)], "pool.rows")  # [text, 1, token]
        summed = graph.node("MatMul", [rows, hidden], "pool.sum")
        graph.node("Squeeze", [summed, graph.ints(1)], out)
    dimension = _add_steps(graph, head.steps, out, last, network.dimension)
    if head.normalise:
        graph.unit(last, "vectors")
    return "vectors", ["text", dimension]


def _token_weights(graph: Graph, positions: int, pool: Pool, mask: str) -> str:
    """Weights [text, token] that sum to 1: even, on the last token alone, or growing."""
    if pool == "mean":
        tokens = graph.node("ReduceSum", [mask, graph.ints(1)], "pool.tokens", keepdims=1)
        return graph.node("Div", [mask, tokens], "pool.weights")
    table = np.arange(1, positions + 1, dtype=np.float32)
    zero = graph.ints(0)
    ordinals = graph.node(
        "Slice", [graph.constant("pool.table", table), zero, TOKENS, zero], "pool.ordinals"
    )
    if pool == "last":
        tokens = graph.node("ReduceSum", [mask, graph.ints(1)], "pool.tokens", keepdims=1)
        here = graph.node("Equal", [ordinals, tokens], "pool.here")
        return graph.node("CastLike", [here, mask], "pool.weights")
    kept = graph.node("Mul", [mask, ordinals], "pool.kept")
    total = graph.node("ReduceSum", [kept, graph.ints(1)], "pool.total", keepdims=1)
    return graph.node("Div", [kept, total], "pool.weights")


def _add_token_vectors(
    graph: Graph, network: Network, head: TokenVectors, hidden: str, mask: str
) -> tuple[str, list[str | int]]:
    dimension = _add_steps(graph, head.steps, hidden, "tokens.out", network.dimension)
    rows = graph.node("Unsqueeze", [mask, graph.ints(2)], "mask.rows")
    vectors = "tokens.out" if head.steps else hidden
    if head.normalise:
        vectors = graph.unit(vectors, "tokens.unit")
    if head.masked:
        graph.node("Mul", [vectors, rows], "token_vectors")
    else:
        graph.node("Identity", [vectors], "token_vectors")
    return "token_vectors", ["text", "token", dimension]


def _add_logits(graph: Graph, classifier: Classifier, hidden: str) -> tuple[str, list[str | int]]:
    first = _first_token(graph, hidden, "head.first")
    dense = graph.linear("head.dense", first, classifier.dense)
    active = graph.activation(classifier.activation, dense, "head.active")
    logits = graph.linear("head.out", active, classifier.out)
    graph.node("Identity", [logits], "logits")
    return "logits", ["text", len(classifier.out.weight)]


def _add_word_weights(
    graph: Graph, predictor: WordPredictor, hidden: str, mask: str
) -> tuple[str, list[str | int]]:
    dense = graph.linear("head.dense", hidden, predictor.dense)
    active = graph.activation(predictor.activation, dense, "head.active")
    normed = graph.norm("head.norm", active, predictor.norm)
    logits = graph.linear("head.decoder", normed, predictor.decoder)
    # relu and log grow with their input, so the maximum comes first: they then see one row a text.
    present = graph.node("Add", [logits, _low_at_padding(graph)], "head.present")
    most = graph.node("ReduceMax", [present, graph.ints(1)], "head.most", keepdims=0)
    positive = graph.node("Relu", [most], "head.positive")
    more = graph.node("Add", [positive, "one"], "head.more")
    graph.node("Log", [more], "word_weights")
    return "word_weights", ["text", len(predictor.decoder.weight)]


def _low_at_padding(graph: Graph) -> str:
    """What keeps padding out of a maximum over tokens: [text, token, 1]."""
    return graph.node("Unsqueeze", ["mask.low", graph.ints(2)], "mask.low.rows")


def _first_token(graph: Graph, hidden: str, output: str) -> str:
    first = graph.constant("first", np.array(0, np.int64))
    return graph.node("Gather", [hidden, first], output, axis=1)


def _add_steps(
    graph: Graph, steps: Sequence[Dense | Norm], rows: str, output: str, dimension: int
) -> int:
    """Write the steps from `rows` to `output`, and return how many numbers a vector has then."""
    for number, step in enumerate(steps):
        name = f"steps.{number}"
        if isinstance(step, Norm):
            rows = graph.norm(name, rows, step)
        else:
            dense = graph.linear(name, rows, step.linear)
            rows = graph.activation(step.activation, dense, name + ".active")
            dimension = len(step.linear.weight)
    if steps:
        graph.node("Identity", [rows], output)
    return dimension
