"""Read a model's `config.json`: its family, its sizes, and what tensors' shapes do not tell.

What the builder does not know is refused by name. A feature that was passed over would not stop the
build: it would make vectors that are wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from app.encoders.networks.families import Architecture, Sizes
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Activation
from app.errors import StoredDataError

MODEL_TYPES: dict[str, FamilyName] = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "distilbert": "distilbert",
    "mpnet": "mpnet",
    "electra": "electra",
}
"""`model_type` → the family that reads such checkpoints."""

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

FIRST_EPSILON = 1e-12  # of norms, as BERT had it: what is meant where nothing is said

ONLY: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
    "num_experts": (None, 0, 1),
}
"""Keys that would change the network, and the values that are built; a missing key is fine."""

_KEYS = {
    "dimension": "hidden_size",
    "heads": "num_attention_heads",
    "layers": "num_hidden_layers",
    "wide": "intermediate_size",
    "activation": "hidden_act",
}
_DISTILBERT_KEYS = {
    "dimension": "dim",
    "heads": "n_heads",
    "layers": "n_layers",
    "wide": "hidden_dim",
    "activation": "activation",
}


def read_config(path: Path) -> Architecture:
    """Read the configuration of a model.

    Raises StoredDataError if it cannot be read, if a key is missing or no whole number, or if it
    asks for something that is not built: the message names the key and what is.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StoredDataError(f"{path} cannot be read: {exc}", path=str(path)) from exc
    if not isinstance(config, dict):
        raise StoredDataError(f"{path} is not a JSON object", path=str(path))
    return _Config(path, config).architecture()


class _Config:
    """A parsed configuration, and its path for messages."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self._path, self._config = path, config

    def architecture(self) -> Architecture:
        family = MODEL_TYPES[self._one_of("model_type", tuple(MODEL_TYPES), None)]
        for key, values in ONLY.items():
            if key in self._config and self._config[key] not in values:
                self._fail(key, repr(values[0]), self._config[key])
        keys = _DISTILBERT_KEYS if family == "distilbert" else _KEYS
        dimension = self._whole(keys["dimension"])
        columns = dimension
        if family == "electra":
            columns = self._whole("embedding_size", dimension)
        return Architecture(
            family=family,
            heads=self._whole(keys["heads"]),
            # DistilBERT's is no setting.
            layer_norm_eps=FIRST_EPSILON if family == "distilbert" else self._epsilon(),
            activation=ACTIVATIONS[self._one_of(keys["activation"], tuple(ACTIVATIONS), "gelu")],
            padding_id=self._padding_id(),
            sizes=Sizes(
                words=self._whole("vocab_size"),
                positions=self._whole("max_position_embeddings"),
                columns=columns,
                dimension=dimension,
                wide=self._whole(keys["wide"]),
                layers=self._whole(keys["layers"]),
            ),
        )

    def _one_of(self, key: str, known: tuple[str, ...], default: str | None) -> str:
        value = self._config.get(key, default)
        if not isinstance(value, str) or value not in known:
            self._fail(key, "one of " + ", ".join(map(repr, known)), value)
        return value

    def _whole(self, key: str, default: int | None = None) -> int:
        value = self._config.get(key, default)
        if type(value) is not int or value < 1:
            self._fail(key, "a whole number of at least 1", value)
        return value

    def _epsilon(self) -> float:
        value = self._config.get("layer_norm_eps", FIRST_EPSILON)
        if not isinstance(value, float) or not 0 < value < 1:
            self._fail("layer_norm_eps", "a number between 0 and 1", value)
        return value

    def _padding_id(self) -> int:
        value = self._config.get("pad_token_id")
        if value is None:
            return 1
        if type(value) is not int or value < 0:
            self._fail("pad_token_id", "a whole number", value)
        return value

    def _fail(self, key: str, expected: str, found: Any) -> NoReturn:
        shown = repr(found)[:80]
        raise StoredDataError(
            f"{self._path}: {key}: expected {expected}, found {shown}", path=str(self._path)
        )
