"""Every layer of every family agrees with its slow twin, whatever the batch and the padding."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.encoders.networks.families import buckets
from app.encoders.networks.heads import Pooled, TokenVectors, build_network
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Activation
from app.encoders.networks.transformer import hidden_name
from tests.encoders.networks.checkpoints import (
    LENGTHS,
    SHAPES,
    Checkpoint,
    Session,
    checkpoint,
    texts,
)
from tests.encoders.reference import bucket

FAMILIES = get_args(FamilyName)
# float32 against float64 through three layers of numbers around 1
CLOSE = 1e-5


def assert_every_layer_agrees(
    made: Checkpoint, tokens: list[list[int]], types: list[list[int]] | None = None
) -> None:
    network = made.network
    names = [hidden_name(layer) for layer in range(len(network.layers) + 1)]
    session = Session(build_network(network, TokenVectors(False), pairs=types is not None), names)
    last, *states = session.run(tokens, types)
    for row, ids in enumerate(tokens):
        expected = made.twin.hidden(ids, None if types is None else types[row])
        assert len(expected) == len(states)
        for layer, (state, wanted) in enumerate(zip(states, expected, strict=True)):
            np.testing.assert_allclose(
                state[row, : len(ids)], wanted, atol=CLOSE, err_msg=f"layer {layer}, text {row}"
            )
        np.testing.assert_allclose(last[row, : len(ids)], expected[-1], atol=CLOSE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_agrees_with_the_reference(family: FamilyName, shape: str) -> None:
    assert_every_layer_agrees(checkpoint(family, shape, seed=1), texts(1))


@pytest.mark.parametrize("activation", ["gelu_tanh", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_activation_agrees_with_the_reference(
    family: FamilyName, activation: Activation
) -> None:
    assert_every_layer_agrees(checkpoint(family, activation=activation, seed=2), texts(2))


@pytest.mark.parametrize("padding_id", [0, 1, 5])
@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_positions_begin_behind_the_padding_token(family: FamilyName, padding_id: int) -> None:
    made = checkpoint(family, padding_id=padding_id)
    # The table has just the rows that the longest text needs behind the skipped ones.
    assert made.network.positions == max(LENGTHS)
    assert_every_layer_agrees(made, texts(3))


@pytest.mark.parametrize("epsilon", [1e-12, 0.1])
def test_the_epsilon_of_norms_is_the_one_given(epsilon: float) -> None:
    assert_every_layer_agrees(checkpoint("bert", epsilon=epsilon), texts(4))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_are_told_apart_by_type_where_the_family_has_types(family: FamilyName) -> None:
    tokens = texts(5)
    types = [[int(place >= len(ids) // 2) for place in range(len(ids))] for ids in tokens]
    assert_every_layer_agrees(checkpoint(family), tokens, types)


def test_distances_of_a_long_text_reach_every_bucket() -> None:
    made = checkpoint("mpnet", "wide heads", tokens=150)
    assert {bucket(key - query) for key in range(150) for query in range(150)} == set(range(32)) - {
        16
    }
    assert_every_layer_agrees(made, texts(6, (150, 17)))


def test_buckets_are_those_of_whole_numbers() -> None:
    distances = np.arange(-600, 601)
    np.testing.assert_array_equal(buckets(distances), [bucket(int(each)) for each in distances])


@cache
def pooling_session(family: FamilyName) -> Session:
    return Session(build_network(checkpoint(family).network, Pooled("mean")))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, max(LENGTHS)), min_size=1, max_size=6), seed=st.integers(0))
def test_a_vector_does_not_depend_on_the_texts_beside_it(
    family: FamilyName, lengths: list[int], seed: int
) -> None:
    tokens = texts(seed % 2**32, lengths)
    session = pooling_session(family)
    together = session.run(tokens)[0]
    for ids, vector in zip(tokens, together, strict=True):
        # Other shapes take other orders of summation in float32.
        np.testing.assert_allclose(session.run([ids])[0][0], vector, atol=2e-6)
