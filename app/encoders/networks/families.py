"""Read a checkpoint of any family into the one layout, by the names of `names.py`.

Every tensor must be there in its shape, and every tensor inside the layers must have been used: so
a part that the family does not have is found, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.encoders.networks.names import FAMILIES, Family, FamilyName
from app.encoders.networks.network import (
    Activation,
    Classifier,
    Embeddings,
    Layer,
    Linear,
    Network,
    WordPredictor,
)
from app.encoders.networks.tensors import Tensors
from app.types import F32, I64


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of a network's axes.

    positions  rows of the table of positions, those before the first position included
    columns    of the embeddings; equal to `dimension` unless they are projected
    """

    words: int
    positions: int
    columns: int
    dimension: int
    wide: int
    layers: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a checkpoint's names and shapes do not tell, and what they must agree with.

    padding_id  id of the padding token: RoBERTa's and MPNet's positions begin behind it
    sizes       what the configuration says; None: read off the tensors
    """

    family: FamilyName
    heads: int
    layer_norm_eps: float
    activation: Activation = "gelu"
    padding_id: int = 1
    sizes: Sizes | None = None


def open_tensors(
    tensors: Mapping[str, NDArray[Any]], architecture: Architecture, source: str = "checkpoint"
) -> Tensors:
    """The tensors of a checkpoint of this family, with or without the family's prefix."""
    return Tensors(tensors, prefix=FAMILIES[architecture.family].prefix, source=source)


def read_network(tensors: Tensors, architecture: Architecture) -> Network:
    """Read the network up to its last layer.

    Raises CorruptFile naming the first tensor that is missing, has another shape, or is a part of
    a layer that the family does not have: an adapter, say.
    """
    family = FAMILIES[architecture.family]
    sizes = architecture.sizes or _measured(tensors, family)
    heads = architecture.heads
    if sizes.dimension % heads:
        raise tensors.unfit(f"expected heads that divide {sizes.dimension}, found {heads}")
    layers = tuple(
        _layer(tensors, architecture, sizes, f"{family.layer.prefix}{number}.")
        for number in range(sizes.layers)
    )
    embeddings = _embeddings(tensors, architecture, sizes)
    relative = None
    if family.relative is not None:
        table = tensors.take(f"{family.relative}.weight", BUCKETS, heads)
        relative = by_distance(table, len(embeddings.positions))
    strange = tensors.left(family.layer.prefix, "embeddings.", "encoder.", "transformer.")
    strange = [name for name in strange if name not in BUFFERS]
    if strange:
        raise tensors.unfit(
            f"expected the parts of a {architecture.family} encoder of {sizes.layers} layers, "
            f"found also {min(strange)!r}"
        )
    return Network(embeddings, layers, heads, architecture.activation, relative)


BUFFERS = {"embeddings.position_ids", "embeddings.token_type_ids"}
"""Tensors of some checkpoints that only number positions and types."""


def _embeddings(tensors: Tensors, architecture: Architecture, sizes: Sizes) -> Embeddings:
    family, columns = FAMILIES[architecture.family], sizes.columns
    at = "embeddings."
    words = tensors.take(f"{at}word_embeddings.weight", sizes.words, columns)
    positions = tensors.take(f"{at}position_embeddings.weight", sizes.positions, columns)
    first = architecture.padding_id + 1 if family.padded else 0
    if first >= sizes.positions:
        raise tensors.unfit(f"expected more than {first} positions, found {sizes.positions}")
    types = None
    if family.types:
        types = tensors.take(f"{at}token_type_embeddings.weight", None, columns)
    norm = tensors.norm(f"{at}LayerNorm", columns, architecture.layer_norm_eps)
    projection = None
    if columns != sizes.dimension:
        projection = tensors.linear("embeddings_project", sizes.dimension, columns)
    return Embeddings(words, positions[first:], types, norm, projection)


def _layer(tensors: Tensors, architecture: Architecture, sizes: Sizes, at: str) -> Layer:
    names, dimension, wide = FAMILIES[architecture.family].layer, sizes.dimension, sizes.wide
    epsilon = architecture.layer_norm_eps
    return Layer(
        query=tensors.linear(at + names.query, dimension, dimension),
        key=tensors.linear(at + names.key, dimension, dimension),
        value=tensors.linear(at + names.value, dimension, dimension),
        output=tensors.linear(at + names.output, dimension, dimension),
        attention_norm=tensors.norm(at + names.attention_norm, dimension, epsilon),
        wide=tensors.linear(at + names.wide, wide, dimension),
        narrow=tensors.linear(at + names.narrow, dimension, wide),
        norm=tensors.norm(at + names.norm, dimension, epsilon),
    )


def _measured(tensors: Tensors, family: Family) -> Sizes:
    """Sizes as the tensors have them."""
    words, columns = tensors.take("embeddings.word_embeddings.weight", None, None).shape
    positions = len(tensors.take("embeddings.position_embeddings.weight", None, columns))
    names = family.layer
    number = re.compile(re.escape(names.prefix) + r"(\d+)\.")
    layers = [int(match[1]) for match in map(number.match, tensors.names()) if match]
    first = f"{names.prefix}0.{names.wide}.weight"
    wide, dimension = tensors.take(first, None, None).shape
    return Sizes(words, positions, columns, dimension, wide, 1 + max(layers))


def read_classifier(tensors: Tensors, architecture: Architecture, network: Network) -> Classifier:
    """Read the sequence-classification head. Raises CorruptFile if it is not there or unfit."""
    names = FAMILIES[architecture.family].classifier
    dense = tensors.linear(names.dense, network.dimension, network.dimension)
    out = tensors.linear(names.out, None, network.dimension)
    return Classifier(dense, names.activation, out)


def read_predictor(tensors: Tensors, architecture: Architecture, network: Network) -> WordPredictor:
    """Read the masked-language head. Raises CorruptFile if it is not there or unfit."""
    names, words = FAMILIES[architecture.family].predictor, network.embeddings.words
    count, columns = words.shape
    if f"{names.decoder}.weight" in tensors:
        words = tensors.take(f"{names.decoder}.weight", count, columns)
    bias = next((name for name in names.biases if name in tensors), names.biases[0])
    return WordPredictor(
        dense=tensors.linear(names.dense, columns, network.dimension),
        activation=names.activation or architecture.activation,
        norm=tensors.norm(names.norm, columns, architecture.layer_norm_eps),
        decoder=Linear(words, tensors.take(bias, count)),
    )


# ── distances (MPNet) ────────────────────────────────────────────────────────────────────────

BUCKETS = 32
FARTHEST = 128  # distances from here on share a bucket


def by_distance(table: F32, positions: int) -> F32:
    """Lay a table of biases by bucket out by distance.

    table    [bucket, head]
    returns  [head, 2 × positions − 1]: a key that far before or behind its query, from
             −(positions − 1) to positions − 1
    """
    distances = np.arange(1 - positions, positions)
    return np.ascontiguousarray(table[buckets(distances)].T)


def buckets(distances: I64) -> I64:
    """The bucket of each distance key − query, of which half are for keys behind the query.

    The first 8 distances have a bucket each; from there to `FARTHEST` buckets widen evenly in the
    logarithm.

    Source: Raffel et al. 2020 (arXiv 1910.10683), section 2.1; constants as MPNet was trained.
    """
    half, exact = BUCKETS // 2, BUCKETS // 4
    steps = np.log(np.maximum(np.abs(distances), 1) / exact) / np.log(FARTHEST / exact)
    # 1e-9: steps of exactly a whole number must not fall below it by rounding.
    widening = exact + np.floor(steps * (half - exact) + 1e-9).astype(np.int64)
    near = np.abs(distances)
    within = np.where(near < exact, near, np.minimum(widening, half - 1))
    return within + np.where(distances > 0, half, 0)
