"""`config.json` says what is built, or is refused by the key that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.encoders.networks.config import read_config
from app.encoders.networks.families import Architecture, Sizes
from app.errors import StoredDataError

COMMON: dict[str, Any] = {
    "hidden_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "intermediate_size": 80,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 302,
    "vocab_size": 120,
    "pad_token_id": 1,
}
BERT = {"model_type": "bert", **COMMON}
SIZES = Sizes(words=120, positions=302, columns=48, dimension=48, wide=80, layers=3)


def read(folder: Path, config: object) -> Architecture:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return read_config(path)


@pytest.mark.parametrize(
    ("model_type", "family"),
    [
        ("bert", "bert"),
        ("roberta", "roberta"),
        ("xlm-roberta", "roberta"),
        ("camembert", "roberta"),
        ("mpnet", "mpnet"),
        ("electra", "electra"),
    ],
)
def test_a_configuration_becomes_an_architecture(
    tmp_path: Path, model_type: str, family: str
) -> None:
    architecture = read(tmp_path, {"model_type": model_type, **COMMON})
    assert architecture == Architecture(family, 4, 1e-5, "gelu", 1, SIZES)


def test_distilbert_has_keys_and_an_epsilon_of_its_own(tmp_path: Path) -> None:
    config = {
        "model_type": "distilbert",
        "dim": 48,
        "n_heads": 4,
        "n_layers": 3,
        "hidden_dim": 80,
        "activation": "relu",
        "layer_norm_eps": 1e-5,  # of other families; DistilBERT's is fixed
        "max_position_embeddings": 302,
        "vocab_size": 120,
        "pad_token_id": 0,
    }
    expected = Architecture("distilbert", 4, 1e-12, "relu", 0, SIZES)
    assert read(tmp_path, config) == expected


def test_embeddings_of_electra_may_be_narrower(tmp_path: Path) -> None:
    config = {"model_type": "electra", **COMMON, "embedding_size": 32}
    sizes = read(tmp_path, config).sizes
    assert sizes is not None
    assert (sizes.columns, sizes.dimension) == (32, 48)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("gelu", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("relu", "relu"),
    ],
)
def test_activations_are_known_by_their_names(tmp_path: Path, name: str, activation: str) -> None:
    assert read(tmp_path, {**BERT, "hidden_act": name}).activation == activation


def test_what_is_left_out_is_as_the_families_began(tmp_path: Path) -> None:
    left_out = {"hidden_act", "layer_norm_eps", "pad_token_id"}
    config = {key: value for key, value in BERT.items() if key not in left_out}
    architecture = read(tmp_path, config)
    assert (architecture.activation, architecture.layer_norm_eps) == ("gelu", 1e-12)
    assert architecture.padding_id == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "deberta-v2"},
            "model_type: expected one of 'bert', .*, found 'deberta-v2'",
        ),
        ({"model_type": None}, "model_type: expected one of .*, found None"),
        (
            {"position_embedding_type": "relative_key_query"},
            "position_embedding_type: expected 'absolute', found 'relative_key_query'",
        ),
        ({"position_embedding_type": "alibi"}, "expected 'absolute', found 'alibi'"),
        ({"is_decoder": True}, "is_decoder: expected False, found True"),
        ({"add_cross_attention": True}, "add_cross_attention: expected False"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads: expected {}, found"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: expected None"),
        ({"num_experts": 8}, "num_experts: expected None, found 8"),
        ({"hidden_act": "silu"}, "hidden_act: expected one of 'gelu', .*, found 'silu'"),
        ({"hidden_size": None}, "hidden_size: expected a whole number of at least 1, found None"),
        ({"num_attention_heads": 0}, "num_attention_heads: .* found 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers: .* found True"),
        ({"vocab_size": 1.5}, "vocab_size: .* found 1.5"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps: expected a number between 0 and 1"),
        ({"pad_token_id": -1}, "pad_token_id: expected a whole number, found -1"),
    ],
)
def test_what_is_not_built_is_refused_by_its_key(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoredDataError, match=message):
        read(tmp_path, BERT | change)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(StoredDataError, match=r"config\.json"):
        read(tmp_path, content)


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoredDataError, match=r"config\.json cannot be read"):
        read_config(tmp_path / "config.json")
