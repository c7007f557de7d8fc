"""The slow twin of `app.encoders.networks`: one text at a time, in float64, from the definitions.

Nothing here knows of padding, batches or graphs. Names of tensors are those of the published
checkpoints, written down once more. `random_tensors` makes small checkpoints of every family.

Sources: BERT arXiv 1810.04805; RoBERTa 1907.11692; DistilBERT 1910.01108; MPNet 2004.09297 with
T5's buckets, 1910.10683; ELECTRA 2003.10555; SPLADE 2109.10086; weighted mean 2202.08904.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.floating]]
F64 = NDArray[np.float64]

BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "norm 1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm 2": "output.LayerNorm",
}
NAMES = {
    "bert": {"layer": "encoder.layer", **BERT_LAYER},
    "roberta": {"layer": "encoder.layer", **BERT_LAYER},
    "electra": {"layer": "encoder.layer", **BERT_LAYER},
    "distilbert": {
        "layer": "transformer.layer",
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "mix": "attention.out_lin",
        "norm 1": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "norm 2": "output_layer_norm",
    },
    "mpnet": {
        "layer": "encoder.layer",
        "query": "attention.attn.q",
        "key": "attention.attn.k",
        "value": "attention.attn.v",
        "mix": "attention.attn.o",
        "norm 1": "attention.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm 2": "output.LayerNorm",
    },
}
CLASSIFIER = {
    "bert": ("pooler.dense", "tanh", "classifier"),
    "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
    "electra": ("classifier.dense", "gelu", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "relu", "classifier"),
    "mpnet": ("classifier.dense", "tanh", "classifier.out_proj"),
}
# dense, norm, bias of the decoder; its weight is the table of words
PREDICTOR = {
    "bert": (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
    ),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "electra": (
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head.bias",
    ),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "mpnet": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
}
# The masked-language head has the activation of the layers in these, and gelu in the others.
PREDICTS_AS_LAYERS = {"bert", "distilbert"}
HAS_TYPES = {"bert", "roberta", "electra"}
STARTS_BEHIND_PADDING = {"roberta", "mpnet"}


@dataclass(frozen=True)
class Twin:
    """A checkpoint and what it does not say itself."""

    family: str
    tensors: Tensors
    heads: int
    epsilon: float = 1e-12
    activation: str = "gelu"
    padding_id: int = 1

    def __getitem__(self, name: str) -> F64:
        return np.asarray(self.tensors[name], np.float64)

    def dense(self, name: str, x: F64) -> F64:
        out: F64 = x @ self[f"{name}.weight"].T + self[f"{name}.bias"]
        return out

    def norm(self, name: str, x: F64) -> F64:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.epsilon)
        out: F64 = centred / deviation * self[f"{name}.weight"] + self[f"{name}.bias"]
        return out

    def hidden(self, ids: Sequence[int], types: Sequence[int] | None = None) -> list[F64]:
        """Vectors [token, dim] of the embeddings (normed, not yet projected) and of each layer."""
        x = self["embeddings.word_embeddings.weight"][list(ids)]
        start = self.padding_id + 1 if self.family in STARTS_BEHIND_PADDING else 0
        places = [start + place for place in range(len(ids))]
        x = x + self["embeddings.position_embeddings.weight"][places]
        if self.family in HAS_TYPES:
            kinds = [0] * len(ids) if types is None else list(types)
            x = x + self["embeddings.token_type_embeddings.weight"][kinds]
        x = self.norm("embeddings.LayerNorm", x)
        states = [x]
        if "embeddings_project.weight" in self.tensors:
            x = self.dense("embeddings_project", x)
        names = NAMES[self.family]
        layer = 0
        while f"{names['layer']}.{layer}.{names['up']}.weight" in self.tensors:
            x = self._layer({part: f"{names['layer']}.{layer}.{names[part]}" for part in names}, x)
            states.append(x)
            layer += 1
        return states

    def _layer(self, names: Mapping[str, str], x: F64) -> F64:
        query, key, value = (self.dense(names[part], x) for part in ("query", "key", "value"))
        width = query.shape[1] // self.heads
        context = np.zeros_like(query)
        for head in range(self.heads):
            mine = slice(head * width, (head + 1) * width)
            logits = query[:, mine] @ key[:, mine].T / math.sqrt(width)
            if self.family == "mpnet":
                logits = logits + self._distance_bias(len(x), head)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            context[:, mine] = shares / shares.sum(axis=1, keepdims=True) @ value[:, mine]
        x = self.norm(names["norm 1"], self.dense(names["mix"], context) + x)
        active = activate(self.activation, self.dense(names["up"], x))
        return self.norm(names["norm 2"], self.dense(names["down"], active) + x)

    def _distance_bias(self, tokens: int, head: int) -> F64:
        table = self["encoder.relative_attention_bias.weight"]
        places = range(tokens)
        return np.array([[table[bucket(key - query), head] for key in places] for query in places])

    def logits(self, ids: Sequence[int], types: Sequence[int] | None = None) -> F64:
        """[label] of the sequence classifier."""
        dense, activation, out = CLASSIFIER[self.family]
        first = self.hidden(ids, types)[-1][0]
        return self.dense(out, activate(activation, self.dense(dense, first)))

    def word_weights(self, ids: Sequence[int]) -> F64:
        """[word], as SPLADE: the maximum over tokens of log(1 + relu(logit))."""
        dense, norm, bias = PREDICTOR[self.family]
        activation = self.activation if self.family in PREDICTS_AS_LAYERS else "gelu"
        x = self.norm(norm, activate(activation, self.dense(dense, self.hidden(ids)[-1])))
        logits = x @ self["embeddings.word_embeddings.weight"].T + self[bias]
        out: F64 = np.log1p(np.maximum(logits, 0)).max(axis=0)
        return out


def activate(kind: str, x: F64) -> F64:
    if kind == "gelu":
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    plain = {"relu": lambda y: np.maximum(y, 0), "tanh": np.tanh, "identity": lambda y: y}
    out: F64 = plain[kind](x)
    return out


@cache
def bucket(distance: int) -> int:
    """The bucket of a distance key − query, of 32, by comparing whole numbers only.

    8 distances have one each; the next 8 begin at 8 · 16^(step / 8), up to 128. Twice as many, as
    keys behind the query count apart. n ≥ 8 · 16^(s/8) is n² ≥ 64 · 2^s.
    """
    side, distance = (16 if distance > 0 else 0), abs(distance)
    if distance < 8:
        return side + distance
    steps = max(step for step in range(8) if distance**2 >= 64 * 2**step)
    return side + 8 + steps


def pool(kind: str, hidden: F64) -> F64:
    """One vector [dim] of token vectors [token, dim]."""
    ordinals = np.arange(1, len(hidden) + 1)
    pooled: F64 = {
        "mean": hidden.mean(axis=0),
        "cls": hidden[0],
        "max": hidden.max(axis=0),
        "last": hidden[-1],
        "weighted_mean": ordinals @ hidden / ordinals.sum(),
    }[kind]
    return pooled


def unit(x: F64) -> F64:
    scaled: F64 = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return scaled


def bert_vector(tensors: Tensors, ids: Sequence[int], heads: int, how: str) -> F64:
    """The unit vector [dim] of one text by a BERT."""
    return unit(pool(how, Twin("bert", tensors, heads).hidden(ids)[-1]))


def random_tensors(
    seed: int,
    *,
    words: int,
    dimension: int,
    wide: int,
    layers: int,
    positions: int,
    family: str = "bert",
    heads: int = 4,
    columns: int | None = None,
    labels: int = 0,
    predicts: bool = False,
) -> dict[str, NDArray[np.float32]]:
    """A small checkpoint, its weights large enough that every part shows in the result.

    positions  rows of the table, those before the first position included
    columns    of the embeddings, if they shall be projected (ELECTRA)
    labels     of a classification head; 0: no head
    predicts   whether there is a masked-language head
    """
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.3, mean: float = 0.0) -> NDArray[np.float32]:
        return (mean + scale * random.standard_normal(shape)).astype(np.float32)

    columns = columns or dimension
    tensors = {
        "embeddings.word_embeddings.weight": normal(words, columns),
        "embeddings.position_embeddings.weight": normal(positions, columns),
    }
    if family in HAS_TYPES:
        tensors["embeddings.token_type_embeddings.weight"] = normal(2, columns)
    norms = {"embeddings.LayerNorm": columns}
    denses = {}
    names = NAMES[family]
    for layer in range(layers):
        at = {part: f"{names['layer']}.{layer}.{names[part]}" for part in names}
        for part in ("query", "key", "value", "mix"):
            denses[at[part]] = (dimension, dimension)
        denses[at["up"]] = (wide, dimension)
        denses[at["down"]] = (dimension, wide)
        norms |= {at["norm 1"]: dimension, at["norm 2"]: dimension}
    if columns != dimension:
        denses["embeddings_project"] = (dimension, columns)
    if labels:
        dense, _, out = CLASSIFIER[family]
        denses |= {dense: (dimension, dimension), out: (labels, dimension)}
    if predicts:
        dense, norm, bias = PREDICTOR[family]
        denses[dense] = (columns, dimension)
        norms[norm] = columns
        tensors[bias] = normal(words)
    for name, length in norms.items():
        tensors[f"{name}.weight"] = normal(length, mean=1.0)
        tensors[f"{name}.bias"] = normal(length)
    for name, (rows, width) in denses.items():
        tensors[f"{name}.weight"] = normal(rows, width)
        tensors[f"{name}.bias"] = normal(rows)
    if family == "mpnet":
        tensors["encoder.relative_attention_bias.weight"] = normal(32, heads, scale=1.0)
    return tensors
