"""Read the files of a checkpoint: one file of tensors or several, and the modules after pooling.

Layout as model hubs have it: `model.safetensors`, or `model.safetensors.index.json` that maps each
tensor to one of several files beside it; and folders such as `2_Dense` of sentence-transformers,
each with a `config.json` and a `model.safetensors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from app.encoders.networks.network import Activation, Dense, Norm
from app.encoders.networks.tensors import Tensors
from app.encoders.safetensors import read_safetensors
from app.errors import CorruptFile, StoredDataError

MODULE_WEIGHTS = "model.safetensors"
MODULE_CONFIG = "config.json"

DENSE_ACTIVATIONS: dict[str, Activation] = {
    "Tanh": "tanh",
    "Identity": "identity",
    "ReLU": "relu",
    "GELU": "gelu",
}
"""Last part of the class name that a module's configuration gives → the activation."""

NORM_EPSILON = 1e-5  # torch's default, which modules do not store


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a checkpoint, of one file or of all that its index names.

    Raises CorruptFile if a file is no safetensors file, or the index does not fit its files.
    """
    if path.suffix != ".json":
        return read_safetensors(path)
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
        # Names only: an index must not lead out of the model's folder.
        fits = all(Path(file).name == file for file in files)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CorruptFile(f"{path} has no weight_map of file names", path=str(path)) from exc
    if not fits:
        raise CorruptFile(f"{path} names files that are not beside it", path=str(path))
    tensors: dict[str, NDArray[Any]] = {}
    for file in files:
        if not (path.parent / file).is_file():
            raise CorruptFile(f"{path} names {file}, which is not there", path=str(path))
        tensors |= read_safetensors(path.parent / file)
    missing = places.keys() - tensors.keys()
    if missing:
        raise CorruptFile(
            f"{path} names tensor {min(missing)!r}, which is in none of its files", path=str(path)
        )
    return tensors


def read_module(folder: Path) -> Dense | Norm:
    """Read a `Dense` or `LayerNorm` module of sentence-transformers.

    Raises StoredDataError if its configuration is of another module, CorruptFile if its tensors do
    not fit.
    """
    path = folder / MODULE_CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StoredDataError(f"{path} cannot be read: {exc}", path=str(path)) from exc
    tensors = Tensors(
        read_safetensors(folder / MODULE_WEIGHTS), source=str(folder / MODULE_WEIGHTS)
    )
    config = config if isinstance(config, dict) else {}
    if {"in_features", "out_features"} <= config.keys():
        kind = str(config.get("activation_function", "Identity")).rsplit(".", maxsplit=1)[-1]
        if kind not in DENSE_ACTIVATIONS:
            raise StoredDataError(
                f"{path}: activation_function: expected one of {', '.join(DENSE_ACTIVATIONS)}, "
                f"found {kind!r}",
                path=str(path),
            )
        linear = tensors.maybe_biased("linear", config["out_features"], config["in_features"])
        return Dense(linear, DENSE_ACTIVATIONS[kind])
    if "dimension" in config:
        return tensors.norm("norm", config["dimension"], NORM_EPSILON)
    raise StoredDataError(
        f"{path}: expected in_features and out_features (Dense) or dimension (LayerNorm)",
        path=str(path),
    )
