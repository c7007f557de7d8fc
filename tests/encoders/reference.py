"""The slow twin of `app.encoders.networks`: one text at a time, in float64, straight from the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.floating]]


def bert_vector(tensors: Tensors, ids: Sequence[int], heads: int, pool: str) -> NDArray[np.float64]:
    """The unit vector [dim] of one text without padding."""
    t = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}

    def dense(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        out: NDArray[np.float64] = x @ t[f"{name}.weight"].T + t[f"{name}.bias"]
        return out

    def norm(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        scaled: NDArray[np.float64] = centred / deviation * t[f"{name}.weight"]
        return scaled + t[f"{name}.bias"]

    x = t["embeddings.word_embeddings.weight"][list(ids)]
    x = x + t["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + t["embeddings.token_type_embeddings.weight"][0])
    width = x.shape[1] // heads
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in t:
        at = f"encoder.layer.{layer}."
        query, key, value = (
            dense(f"{at}attention.self.{part}", x) for part in ("query", "key", "value")
        )
        context = np.zeros_like(x)
        for head in range(heads):
            mine = slice(head * width, (head + 1) * width)
            logits = query[:, mine] @ key[:, mine].T / math.sqrt(width)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            context[:, mine] = shares / shares.sum(axis=1, keepdims=True) @ value[:, mine]
        x = norm(
            f"{at}attention.output.LayerNorm", dense(f"{at}attention.output.dense", context) + x
        )
        wide = dense(f"{at}intermediate.dense", x)
        active = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(f"{at}output.LayerNorm", dense(f"{at}output.dense", active) + x)
        layer += 1
    pooled = x[0] if pool == "cls" else x.mean(axis=0)
    unit: NDArray[np.float64] = pooled / np.linalg.norm(pooled)
    return unit


def random_tensors(
    seed: int, *, words: int, dimension: int, wide: int, layers: int, positions: int
) -> dict[str, NDArray[np.float32]]:
    """Weights of a small BERT, large enough that every part of it shows in the result."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.3, mean: float = 0.0) -> NDArray[np.float32]:
        return (mean + scale * random.standard_normal(shape)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": normal(words, dimension),
        "embeddings.position_embeddings.weight": normal(positions, dimension),
        "embeddings.token_type_embeddings.weight": normal(2, dimension),
    }
    norms = ["embeddings.LayerNorm"]
    denses = {}
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            denses[f"{at}attention.{part}"] = (dimension, dimension)
        denses[f"{at}intermediate.dense"] = (wide, dimension)
        denses[f"{at}output.dense"] = (dimension, wide)
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in norms:
        tensors[f"{name}.weight"] = normal(dimension, mean=1.0)
        tensors[f"{name}.bias"] = normal(dimension)
    for name, (rows, columns) in denses.items():
        tensors[f"{name}.weight"] = normal(rows, columns)
        tensors[f"{name}.bias"] = normal(rows)
    return tensors
