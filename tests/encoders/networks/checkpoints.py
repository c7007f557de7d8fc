"""Small checkpoints of every family, and graphs of them run on padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from app.encoders.networks.families import (
    Architecture,
    open_tensors,
    read_classifier,
    read_network,
    read_predictor,
)
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Activation, Classifier, Network, WordPredictor
from tests.encoders.reference import STARTS_BEHIND_PADDING, Twin, random_tensors

WORDS = 90
LENGTHS = (1, 2, 7, 19, 40)
LABELS = 3

# heads, dimension, feed-forward, layers
SHAPES = {
    "narrow": (1, 6, 10, 1),
    "usual": (4, 16, 24, 3),
    "wide heads": (2, 24, 18, 2),
}


@dataclass(frozen=True)
class Checkpoint:
    """One family at one shape: its twin, and how the builder reads it."""

    twin: Twin
    architecture: Architecture

    def with_tensors(self, others: Mapping[str, NDArray[np.float32]]) -> Checkpoint:
        """The same with some tensors added or replaced."""
        return replace(self, twin=replace(self.twin, tensors={**self.twin.tensors, **others}))

    def without(self, name: str) -> Checkpoint:
        """The same without one tensor."""
        kept = {each: tensor for each, tensor in self.twin.tensors.items() if each != name}
        return replace(self, twin=replace(self.twin, tensors=kept))

    @property
    def network(self) -> Network:
        return read_network(open_tensors(self.twin.tensors, self.architecture), self.architecture)

    @property
    def classifier(self) -> Classifier:
        tensors = open_tensors(self.twin.tensors, self.architecture)
        return read_classifier(tensors, self.architecture, self.network)

    @property
    def predictor(self) -> WordPredictor:
        tensors = open_tensors(self.twin.tensors, self.architecture)
        return read_predictor(tensors, self.architecture, self.network)


@cache
def checkpoint(
    family: FamilyName,
    shape: str = "usual",
    *,
    seed: int = 0,
    activation: Activation = "gelu",
    epsilon: float = 1e-5,
    padding_id: int = 1,
    tokens: int = max(LENGTHS),
) -> Checkpoint:
    """A checkpoint with exactly as many positions as `tokens` need, and with both heads."""
    heads, dimension, wide, layers = SHAPES[shape]
    tensors = random_tensors(
        seed,
        family=family,
        words=WORDS,
        dimension=dimension,
        wide=wide,
        layers=layers,
        heads=heads,
        positions=tokens + (padding_id + 1 if family in STARTS_BEHIND_PADDING else 0),
        columns=dimension - 2 if family == "electra" else None,
        labels=LABELS,
        predicts=True,
    )
    return Checkpoint(
        Twin(family, tensors, heads, epsilon, activation, padding_id),
        Architecture(family, heads, epsilon, activation, padding_id),
    )


def texts(seed: int, lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, WORDS, length).tolist() for length in lengths]


class Session:
    """A built graph in ONNX Runtime, which also returns values from inside."""

    def __init__(self, model: onnx.ModelProto, expose: Sequence[str] = ()) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        for name in expose:
            copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        self._session = onnxruntime.InferenceSession(
            copy.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self.inputs = [entry.name for entry in self._session.get_inputs()]
        self.shape = self._session.get_outputs()[0].shape

    def run(
        self, tokens: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None
    ) -> list[NDArray[np.float32]]:
        """The outputs for one batch, padded to its longest text with a word of the vocabulary."""
        longest = max(map(len, tokens))
        ids = np.full((len(tokens), longest), 5, np.int64)
        mask, kinds = np.zeros_like(ids), np.ones_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
            kinds[row, : len(text)] = 0 if types is None else types[row]
        feeds: Mapping[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": kinds,
        }
        outputs: list[NDArray[np.float32]] = self._session.run(
            None, {name: feeds[name] for name in self.inputs}
        )
        return outputs
