"""Average the weights of models that were fine-tuned from one start: model soups.

The average of several fine-tunes often does better than the best of them, at the price of one. It
only makes sense between weights that belong together: the same tensors, or the same graph, in
float. Everything else is refused here. Whether the average is any good only a task can tell; the
greedy recipe asks one.

Source: Wortsman et al. 2022 (arXiv 2203.05482): uniform soup; greedy soup, recipe 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from app.encoders.safetensors import read_safetensors, safetensors_bytes
from app.errors import CorruptFile, InvalidRequest

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """The weights of one model.

    structure  what must be equal for two models to be averaged: shapes and, of a graph, its nodes
    tensors    every tensor by name
    """

    path: Path
    structure: str
    tensors: Tensors


@dataclass(frozen=True, slots=True)
class Tasted:
    """What the greedy recipe found.

    order   the candidates, best first, by their own scores
    scores  the score of each candidate alone, in the order they were given
    kept    candidates in the soup, in the order they came in
    score   of the soup; never below the best candidate's
    """

    order: list[int]
    scores: list[float]
    kept: list[int]
    score: float


def read_ingredient(path: Path) -> Ingredient:
    """Read a checkpoint (`.safetensors`) or a graph (`.onnx`).

    Raises InvalidRequest for a quantised graph, whose weights cannot be averaged, and for other
    files; CorruptFile for one that cannot be read.
    """
    if path.suffix == ".safetensors":
        tensors: Tensors = read_safetensors(path)
        return Ingredient(path, _digest(_shapes(tensors)), tensors)
    if path.suffix != ".onnx":
        raise InvalidRequest(f"{path}: expected a .safetensors or an .onnx file")
    model = _read_onnx(path)
    quantised = {node.op_type for node in model.graph.node if _is_quantised(node.op_type)}
    if quantised:
        raise InvalidRequest(
            f"{path} is quantised ({', '.join(sorted(quantised))}): average the float models and "
            "quantise the result"
        )
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = [node.SerializeToString(deterministic=True).hex() for node in model.graph.node]
    return Ingredient(path, _digest([nodes, _shapes(tensors)]), tensors)


def check_compatible(ingredients: Sequence[Ingredient]) -> None:
    """Raise InvalidRequest naming the first difference between models that were never one."""
    first = ingredients[0]
    for other in ingredients[1:]:
        if other.structure == first.structure:
            continue
        mine, theirs = dict(_shapes(first.tensors)), dict(_shapes(other.tensors))
        different = sorted(
            name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
        )
        what = f"tensor {different[0]!r} differs" if different else "their nodes differ"
        raise InvalidRequest(f"{first.path} and {other.path} cannot be averaged: {what}")


def average(
    ingredients: Sequence[Ingredient], shares: Sequence[float] | None = None
) -> dict[str, NDArray[Any]]:
    """The weighted mean of every tensor of floats; others must be equal.

    shares   weight of each model; equal ones if None. Only their proportions count
    returns  tensors of the dtypes of the first model

    Sums are taken in float64, so the soup of a model with itself is that model, bit for bit.
    """
    check_compatible(ingredients)
    weights = np.array([1.0] * len(ingredients) if shares is None else shares, np.float64)
    if len(weights) != len(ingredients) or not (weights.sum() > 0 and (weights >= 0).all()):
        raise InvalidRequest("expected one weight for each model, none negative, not all zero")
    weights /= weights.sum()
    averaged: dict[str, NDArray[Any]] = {}
    for name, mine in ingredients[0].tensors.items():
        tensors = [one.tensors[name] for one in ingredients]
        if mine.dtype.kind == "f":
            total = np.zeros(mine.shape, np.float64)
            for share, tensor in zip(weights, tensors, strict=True):
                total += share * tensor
            averaged[name] = total.astype(mine.dtype)
        elif all(np.array_equal(mine, tensor) for tensor in tensors[1:]):
            averaged[name] = mine
        else:
            raise InvalidRequest(f"tensor {name!r} holds {mine.dtype} values that differ")
    return averaged


def greedy(candidates: int, taste: Callable[[Sequence[int]], float]) -> Tasted:
    """Add models from the best to the worst, each only if the soup does not get worse by it.

    candidates  how many models there are
    taste       score of the uniform soup of some of them; higher is better
    """
    scores = [taste([one]) for one in range(candidates)]
    order = sorted(range(candidates), key=lambda one: -scores[one])
    kept, best = [order[0]], scores[order[0]]
    for one in order[1:]:
        score = taste([*kept, one])
        if score >= best:
            kept, best = [*kept, one], score
    return Tasted(order, scores, kept, best)


def soup_bytes(like: Ingredient, tensors: Tensors) -> bytes:
    """The file of a soup, of the kind of an ingredient's."""
    if like.path.suffix == ".safetensors":
        return safetensors_bytes(tensors)
    model = _read_onnx(like.path)
    for place, one in enumerate(model.graph.initializer):
        model.graph.initializer[place].CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(tensors[one.name]), one.name)
        )
    return bytes(model.SerializeToString())


def _read_onnx(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as exc:  # protobuf raises types of its own
        raise CorruptFile(f"{path} is no ONNX graph: {exc}", path=str(path)) from exc


def _is_quantised(kind: str) -> bool:
    return "Quantize" in kind or kind.endswith("Integer") or kind.startswith("QLinear")


def _shapes(tensors: Tensors) -> list[tuple[str, list[Any]]]:
    return [(name, [*tensor.shape, tensor.dtype.str]) for name, tensor in sorted(tensors.items())]


def _digest(structure: Any) -> str:
    return hashlib.sha256(json.dumps(structure).encode()).hexdigest()
