"""The one layout that every family of text encoders is read into.

BERT, RoBERTa, DistilBERT, MPNet and ELECTRA are one network with other names for its tensors, and
with parts that some of them lack. `families.py` reads checkpoints into these values, and
`transformer.py` and `heads.py` write graphs of them; neither knows the other.

Weights are float32, and [out, in] as checkpoints store them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.types import F32

Activation = Literal["gelu", "gelu_tanh", "relu", "tanh", "identity"]
"""`gelu` is x·Φ(x) with the error function, `gelu_tanh` its approximation by tanh (Hendrycks &
Gimpel 2016, arXiv 1606.08415)."""

Pool = Literal["mean", "cls", "max", "last", "weighted_mean"]
"""How token vectors become one: their mean, the first, the maximum of each number, the last, or
their mean weighted 1, 2, 3, … from the first."""


@dataclass(frozen=True, slots=True)
class Linear:
    """x @ weightᵀ + bias: weight [out, in], bias [out], zeros where the checkpoint has none."""

    weight: F32
    bias: F32


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis: scale and shift [dim]."""

    scale: F32
    shift: F32
    epsilon: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the first layer sees of a token.

    words       [word, column]
    positions   [position, column]: row 0 is for the first token of a text, whatever the family
    types       [type, column] of first and second text, or None for families without
    projection  from columns to the network's dimension (ELECTRA), or None where they agree
    """

    words: F32
    positions: F32
    types: F32 | None
    norm: Norm
    projection: Linear | None


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention, then two products with an activation between; a norm after each."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    attention_norm: Norm
    wide: Linear
    narrow: Linear
    norm: Norm


@dataclass(frozen=True, slots=True)
class Network:
    """A text encoder up to its last layer.

    relative  [head, 2 × positions − 1]: what attention logits gain by the distance from query to
              key, from the farthest before to the farthest behind; None for families without
    """

    embeddings: Embeddings
    layers: tuple[Layer, ...]
    heads: int
    activation: Activation
    relative: F32 | None = None

    @property
    def dimension(self) -> int:
        """Length of a token's vector in every layer."""
        projection = self.embeddings.projection
        table = self.embeddings.words if projection is None else projection.weight.T
        return int(table.shape[1])

    @property
    def positions(self) -> int:
        """Most tokens of a text."""
        return len(self.embeddings.positions)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Logits from the first token's vector: dense, activation, out."""

    dense: Linear
    activation: Activation
    out: Linear


@dataclass(frozen=True, slots=True)
class WordPredictor:
    """Logits over the vocabulary from each token's vector: dense, activation, norm, decoder."""

    dense: Linear
    activation: Activation
    norm: Norm
    decoder: Linear


@dataclass(frozen=True, slots=True)
class Dense:
    """A product with an activation, after pooling or on each token's vector."""

    linear: Linear
    activation: Activation = "identity"
