"""Take tensors out of a checkpoint by name, each held against the shape that it must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.encoders.networks.network import Linear, Norm
from app.errors import CorruptFile
from app.types import F32

Shape = tuple[int | None, ...]
"""Lengths of axes; None stands for any."""

OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""What checkpoints converted from TensorFlow call the two."""


class Tensors:
    """The tensors of one checkpoint, in float32.

    tensors  by name; float16 and float64 are converted when they are taken
    prefix   taken off the names that have it
    source   where they come from, for messages
    """

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], *, prefix: str = "", source: str = "checkpoint"
    ) -> None:
        self._tensors = {_plain(name, prefix): tensor for name, tensor in tensors.items()}
        self._source = source
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> list[str]:
        return list(self._tensors)

    def take(self, name: str, *shape: int | None) -> F32:
        """A tensor of this shape.

        Raises CorruptFile if there is none of the name, or one of another shape.
        """
        wanted = _brackets(shape)
        if name not in self._tensors:
            raise self.unfit(f"expected a tensor {name!r} of shape {wanted}, found none")
        tensor = self._tensors[name]
        if len(tensor.shape) != len(shape) or any(
            want not in (None, length) for want, length in zip(shape, tensor.shape, strict=True)
        ):
            found = _brackets(tensor.shape)
            raise self.unfit(f"expected tensor {name!r} of shape {wanted}, found {found}")
        self._taken.add(name)
        return tensor.astype(np.float32, copy=False)

    def linear(self, name: str, out: int | None, into: int | None) -> Linear:
        """A product. Raises CorruptFile if weight or bias is missing or of another shape."""
        weight = self.take(f"{name}.weight", out, into)
        return Linear(weight, self.take(f"{name}.bias", len(weight)))

    def maybe_biased(self, name: str, out: int | None, into: int | None) -> Linear:
        """A product that may be without a bias."""
        if f"{name}.bias" in self._tensors:
            return self.linear(name, out, into)
        weight = self.take(f"{name}.weight", out, into)
        return Linear(weight, np.zeros(len(weight), np.float32))

    def norm(self, name: str, dimension: int, epsilon: float) -> Norm:
        """A layer normalisation. Raises CorruptFile as `take`."""
        scale = self.take(f"{name}.weight", dimension)
        return Norm(scale, self.take(f"{name}.bias", dimension), epsilon)

    def left(self, *prefixes: str) -> list[str]:
        """Names below any of the prefixes that were not taken."""
        return [name for name in self._tensors.keys() - self._taken if name.startswith(prefixes)]

    def unfit(self, reason: str) -> CorruptFile:
        """The error that says why this checkpoint cannot be built."""
        return CorruptFile(f"{self._source}: {reason}", path=self._source)


def _plain(name: str, prefix: str) -> str:
    for old, new in OLD_NAMES.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name.removeprefix(prefix)


def _brackets(shape: Shape) -> str:
    return "[" + ", ".join("any" if axis is None else str(axis) for axis in shape) + "]"
