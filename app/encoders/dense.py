"""Linear layers after the pool, as some published models end with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.encoders.manifest import Dense
from app.encoders.safetensors import read_safetensors
from app.errors import CorruptFile
from app.types import F32


class DenseLayers:
    """Layers of `activation(x @ weightᵀ + bias)`, run one after the other in float32.

    Raises CorruptFile if a file has no `linear.weight` [out, in], or the layers do not fit.
    """

    def __init__(self, layers: Sequence[Dense], folder: Path) -> None:
        self._layers = [(*_read(folder / layer.weights), layer.activation) for layer in layers]
        for (before, _, _), (after, _, _), layer in zip(
            self._layers, self._layers[1:], layers[1:], strict=False
        ):
            if before.shape[0] != after.shape[1]:
                raise CorruptFile(
                    f"{layer.weights} takes {after.shape[1]} numbers, the layer before it makes "
                    f"{before.shape[0]}",
                    path=str(folder / layer.weights),
                )

    def __call__(self, vectors: F32) -> F32:
        """[text, in] → [text, out] float32. Raises ValueError if the first layer takes others."""
        for weight, bias, activation in self._layers:
            if vectors.shape[1] != weight.shape[1]:
                raise ValueError(
                    f"expected vectors of {weight.shape[1]} numbers, got {vectors.shape}"
                )
            # Row by row: a product of matrices adds up in an order that depends on their shapes,
            # and so on how many texts there are.
            vectors = np.stack([weight @ vector for vector in vectors]) + bias
            if activation == "tanh":
                vectors = np.tanh(vectors)
        return vectors


def _read(path: Path) -> tuple[F32, F32]:
    tensors = read_safetensors(path)
    weight = tensors.get("linear.weight")
    if weight is None or weight.ndim != 2:
        raise CorruptFile(f"{path} has no matrix 'linear.weight'", path=str(path))
    bias = tensors.get("linear.bias", np.zeros(weight.shape[0], np.float32))
    if bias.shape != weight.shape[:1]:
        raise CorruptFile(f"{path} has a bias that does not fit its weight", path=str(path))
    return np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(bias, np.float32)
