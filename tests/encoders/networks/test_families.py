"""Checkpoints are read by any of their names, and refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from app.encoders.networks.families import Sizes, open_tensors, read_network
from app.encoders.networks.heads import Logits, Pooled, WordWeights, build_network
from app.encoders.networks.names import FAMILIES, FamilyName
from app.errors import CorruptFile
from tests.encoders.networks.checkpoints import WORDS, Checkpoint, checkpoint

NAMES = get_args(FamilyName)
SIZES = Sizes(words=WORDS, positions=40, columns=16, dimension=16, wide=24, layers=3)


def ones(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("family", NAMES)
def test_names_with_and_without_the_prefix_of_the_family_give_the_same_graph(
    family: FamilyName,
) -> None:
    made, prefix = checkpoint(family), FAMILIES[family].prefix
    body = ("embeddings", "encoder", "transformer", "pooler")
    prefixed = {
        prefix + name if name.startswith(body) else name: tensor
        for name, tensor in made.twin.tensors.items()
    }
    other = replace(made, twin=replace(made.twin, tensors=prefixed))
    for one, two in (
        (Pooled(), Pooled()),
        (Logits(made.classifier), Logits(other.classifier)),
        (WordWeights(made.predictor), WordWeights(other.predictor)),
    ):
        assert build_network(made.network, one) == build_network(other.network, two)


def test_norms_may_have_their_old_names() -> None:
    made = checkpoint("bert")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in made.twin.tensors.items()
    }
    assert "encoder.layer.0.output.LayerNorm.gamma" in old
    other = replace(made, twin=replace(made.twin, tensors=old))
    assert build_network(other.network, Pooled()) == build_network(made.network, Pooled())


def test_weights_in_half_and_double_precision_are_read() -> None:
    made = checkpoint("bert")
    half = {name: tensor.astype(np.float16) for name, tensor in made.twin.tensors.items()}
    double = {name: tensor.astype(np.float64) for name, tensor in half.items()}
    one, two = (made.with_tensors(each) for each in (half, double))
    assert build_network(one.network, Pooled()) == build_network(two.network, Pooled())


def test_tables_of_numbers_that_some_checkpoints_store_are_passed_over() -> None:
    made = checkpoint("bert").with_tensors(
        {"embeddings.position_ids": np.arange(40).reshape(1, 40)}
    )
    assert len(made.network.layers) == 3


@pytest.mark.parametrize("family", NAMES)
def test_every_tensor_of_the_network_is_needed_and_named_when_it_is_missing(
    family: FamilyName,
) -> None:
    made = checkpoint(family)
    network = [
        name
        for name in made.twin.tensors
        if name.startswith(("embeddings", "encoder", "transformer"))
    ]
    assert len(network) > 40
    # As config.json would give them: else a missing last layer could only be guessed.
    sizes = replace(
        SIZES,
        columns=made.network.embeddings.words.shape[1],
        positions=len(made.twin["embeddings.position_embeddings.weight"]),
    )
    made = replace(made, architecture=replace(made.architecture, sizes=sizes))
    for name in network:
        with pytest.raises(CorruptFile) as caught:
            _ = made.without(name).network
        assert repr(name) in str(caught.value)


def refused(made: Checkpoint) -> str:
    with pytest.raises(CorruptFile) as caught:
        _ = made.network
    return str(caught.value)


def test_a_tensor_of_another_shape_is_named_with_both_shapes() -> None:
    name = "encoder.layer.1.intermediate.dense.weight"
    message = refused(checkpoint("bert").with_tensors({name: ones(24, 15)}))
    assert f"expected tensor '{name}' of shape [24, 16], found [24, 15]" in message
    bias = "encoder.layer.1.intermediate.dense.bias"
    assert "of shape [24], found [1, 24]" in refused(
        checkpoint("bert").with_tensors({bias: ones(1, 24)})
    )


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.1.output.adapters.news.adapter_down.0.weight",
        "encoder.layer.0.crossattention.self.query.weight",
        "encoder.layer.0.mlp.experts.mlp.w1",
        "encoder.layer.2.attention.self.distance_embedding.weight",
        "encoder.layer.3.output.dense.weight",
        "encoder.relative_attention_bias.weight",
        "embeddings.word_embeddings_layer_norm.weight",
    ],
)
def test_a_part_that_the_family_does_not_have_is_named(name: str) -> None:
    made = checkpoint("bert").with_tensors({name: ones(2)})
    made = replace(made, architecture=replace(made.architecture, sizes=SIZES))
    assert f"found also {name!r}" in refused(made)


def test_sizes_of_the_configuration_are_held_against_the_tensors() -> None:
    made = checkpoint("bert")
    for change, found in (
        ({"words": 91}, f"word_embeddings.weight' of shape [91, 16], found [{WORDS}, 16]"),
        ({"positions": 41}, "position_embeddings.weight' of shape [41, 16], found [40, 16]"),
        ({"wide": 23}, "intermediate.dense.weight' of shape [23, 16], found [24, 16]"),
        ({"layers": 4}, "'encoder.layer.3.attention.self.query.weight' of shape [16, 16]"),
        ({"layers": 2}, "of 2 layers, found also 'encoder.layer.2.attention"),
    ):
        sizes = replace(SIZES, **change)
        assert found in refused(replace(made, architecture=replace(made.architecture, sizes=sizes)))


def test_heads_must_divide_the_dimension() -> None:
    made = checkpoint("bert")
    architecture = replace(made.architecture, heads=5)
    assert "expected heads that divide 16, found 5" in refused(
        replace(made, architecture=architecture)
    )


def test_more_padding_than_positions_is_refused() -> None:
    made = checkpoint("roberta")
    architecture = replace(made.architecture, padding_id=41)
    assert "expected more than 42 positions, found 42" in refused(
        replace(made, architecture=architecture)
    )


@pytest.mark.parametrize("family", NAMES)
def test_a_head_that_is_not_there_is_named(family: FamilyName) -> None:
    made, names = checkpoint(family), FAMILIES[family]
    with pytest.raises(CorruptFile, match=f"{names.classifier.out}.weight"):
        _ = made.without(f"{names.classifier.out}.weight").classifier
    with pytest.raises(CorruptFile, match=f"{names.predictor.norm}.bias"):
        _ = made.without(f"{names.predictor.norm}.bias").predictor
    with pytest.raises(CorruptFile, match=names.predictor.biases[0]):
        _ = made.without(names.predictor.biases[0]).predictor


def test_no_tensors_at_all_are_refused() -> None:
    architecture = checkpoint("bert").architecture
    with pytest.raises(CorruptFile, match="word_embeddings"):
        read_network(open_tensors({}, architecture), architecture)
