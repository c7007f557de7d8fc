"""Every head agrees with its definition."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnx
import pytest

from app.encoders.calibration import random_rows
from app.encoders.networks import graph as graphs
from app.encoders.networks import heads
from app.encoders.networks.heads import (
    Logits,
    Pool,
    Pooled,
    TokenVectors,
    WordWeights,
    build_network,
    check_steps,
)
from app.encoders.networks.names import FamilyName
from app.encoders.networks.network import Activation, Dense, Linear, Norm
from app.encoders.quantise import quantise
from app.errors import CorruptFile, StoredDataError
from tests.encoders.networks.checkpoints import LABELS, WORDS, Session, checkpoint, texts
from tests.encoders.reference import activate, pool, unit

FAMILIES = get_args(FamilyName)
FLOAT16 = onnx.TensorProto.FLOAT16
CLOSE = 1e-5  # float32 against float64 through three layers of numbers around 1
RANDOM = np.random.default_rng(8)


def linear(out: int, into: int) -> Linear:
    weight = RANDOM.standard_normal((out, into)).astype(np.float32)
    return Linear(weight, RANDOM.standard_normal(out).astype(np.float32))


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("how", get_args(Pool))
def test_pooling_sees_only_the_tokens_that_carry_text(how: Pool, normalise: bool) -> None:
    made, tokens = checkpoint("bert"), texts(1)
    session = Session(build_network(made.network, Pooled(how, normalise)))
    expected = np.stack([pool(how, made.twin.hidden(ids)[-1]) for ids in tokens])
    (vectors,) = session.run(tokens)
    np.testing.assert_allclose(vectors, unit(expected) if normalise else expected, atol=CLOSE)


@pytest.mark.parametrize("kind", ["tanh", "identity", "relu", "gelu"])
def test_steps_come_after_pooling_and_before_normalisation(kind: str) -> None:
    made, tokens = checkpoint("mpnet"), texts(2)
    dense, norm = linear(9, 16), Norm(linear(9, 1).bias, linear(9, 1).bias, 1e-5)
    second = Linear(linear(5, 9).weight, np.zeros(5, np.float32))
    steps = [Dense(dense, kind), norm, Dense(second)]
    session = Session(build_network(made.network, Pooled("mean", steps=steps)))
    assert session.shape == ["text", 5]
    x = np.stack([pool("mean", made.twin.hidden(ids)[-1]) for ids in tokens])
    x = activate(kind, x @ dense.weight.T + dense.bias)
    x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    x = (x * norm.scale + norm.shift) @ second.weight.T
    np.testing.assert_allclose(session.run(tokens)[0], unit(x), atol=CLOSE)


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_token_vectors_are_projected_and_zero_where_no_token_is(
    family: FamilyName, normalise: bool, projected: bool
) -> None:
    made, tokens = checkpoint(family), texts(3)
    steps = [Dense(Linear(linear(7, 16).weight, np.zeros(7, np.float32)))] if projected else []
    session = Session(build_network(made.network, TokenVectors(normalise, steps)))
    assert session.shape == ["text", "token", 7 if projected else 16]
    (vectors,) = session.run(tokens)
    for ids, mine in zip(tokens, vectors, strict=True):
        expected = made.twin.hidden(ids)[-1]
        if projected:
            expected = expected @ steps[0].linear.weight.T
        np.testing.assert_allclose(
            mine[: len(ids)], unit(expected) if normalise else expected, atol=CLOSE
        )
        assert not mine[len(ids) :].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_gives_the_logits_of_pairs(family: FamilyName) -> None:
    made, tokens = checkpoint(family), texts(4)
    types = [[int(2 * place > len(ids)) for place in range(len(ids))] for ids in tokens]
    session = Session(build_network(made.network, Logits(made.classifier), pairs=True))
    assert session.shape == ["text", LABELS]
    expected = np.stack(
        [made.twin.logits(ids, kinds) for ids, kinds in zip(tokens, types, strict=True)]
    )
    np.testing.assert_allclose(session.run(tokens, types)[0], expected, atol=CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_families_with_types_take_them_and_only_for_pairs(family: FamilyName) -> None:
    made = checkpoint(family)
    for pairs in (True, False):
        inputs = Session(build_network(made.network, Pooled(), pairs=pairs)).inputs
        typed = pairs and family in {"bert", "roberta", "electra"}
        assert ("token_type_ids" in inputs) == typed


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_word_weights_are_the_maximum_over_the_tokens_that_carry_text(
    family: FamilyName, activation: Activation
) -> None:
    made, tokens = checkpoint(family, activation=activation), texts(5)
    session = Session(build_network(made.network, WordWeights(made.predictor)))
    assert session.shape == ["text", WORDS]
    (weights,) = session.run(tokens)
    expected = np.stack([made.twin.word_weights(ids) for ids in tokens])
    np.testing.assert_allclose(weights, expected, atol=CLOSE)
    assert (expected == 0).any()
    assert not weights[expected == 0].any()


def test_a_decoder_of_its_own_is_preferred_to_the_table_of_words() -> None:
    made, tokens = checkpoint("bert"), texts(6)
    own = 2 * made.twin.tensors["embeddings.word_embeddings.weight"]
    other = made.with_tensors({"cls.predictions.decoder.weight": own})
    assert (other.predictor.decoder.weight == own).all()
    one, two = (
        Session(build_network(each.network, WordWeights(each.predictor))).run(tokens)[0]
        for each in (made, other)
    )
    assert np.abs(one - two).max() > 0.1


def test_a_step_that_does_not_fit_the_one_before_it_is_refused() -> None:
    with pytest.raises(CorruptFile, match=r"step 1 after .* take 5 numbers, found .* 6"):
        check_steps([Dense(linear(5, 16)), Dense(linear(3, 6))], 16, "model")


@pytest.mark.parametrize("family", FAMILIES)
def test_float16_weights_halve_the_file_and_keep_the_direction(family: FamilyName) -> None:
    made, tokens = checkpoint(family, "wide heads"), texts(7)
    for head in (Pooled("mean"), Logits(made.classifier), WordWeights(made.predictor)):
        full, half = (build_network(made.network, head, half=half) for half in (False, True))
        one, two = (Session(model).run(tokens)[0] for model in (full, half))
        cosines = (unit(np.float64(one)) * unit(np.float64(two))).sum(axis=1)
        # A weight keeps 11 bits: relative errors of 2⁻¹² at most, most of them averaged away.
        assert cosines.min() > 1 - 1e-5
        assert np.abs(one - two).max() > 0
        matrices, halves = (
            sum(len(each.raw_data) for each in model.graph.initializer if len(each.dims) == 2)
            for model in (full, half)
        )
        assert matrices - halves > 0.45 * matrices


def test_only_tables_are_halved_in_a_network_that_one_file_could_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def limit(size_bytes: int) -> None:
        for module in (graphs, heads):
            monkeypatch.setattr(module, "LARGEST_BYTES", size_bytes)

    made, tokens = checkpoint("mpnet"), texts(8)
    full = build_network(made.network, Pooled())
    size_bytes = sum(len(each.raw_data) for each in full.graph.initializer)
    limit(size_bytes)
    assert build_network(made.network, Pooled()) == full
    limit(size_bytes - 1)
    smaller = build_network(made.network, Pooled())
    halves = {each.name for each in smaller.graph.initializer if each.data_type == FLOAT16}
    assert halves == {"words", "positions"}
    one, two = (np.float64(Session(model).run(tokens)[0]) for model in (full, smaller))
    assert 1e-12 < 1 - (unit(one) * unit(two)).sum(axis=1).min() < 1e-5
    limit(size_bytes // 2)
    with pytest.raises(StoredDataError, match=f"weights of at most {size_bytes // 2} bytes"):
        build_network(made.network, Pooled())


def test_weights_beyond_float16_are_refused() -> None:
    made = checkpoint("bert")
    large = np.full((16, 24), 70_000, np.float32)
    network = made.with_tensors({"encoder.layer.1.output.dense.weight": large}).network
    build_network(network, Pooled())
    with pytest.raises(StoredDataError, match=r"layer\.1\.narrow\.weight .*beyond float16"):
        build_network(network, Pooled(), half=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_quantised_heads_stay_near_the_float_ones(family: FamilyName) -> None:
    made, tokens = checkpoint(family), texts(9)
    for head in (Pooled("mean"), WordWeights(made.predictor)):
        full = build_network(made.network, head)
        session = Session(quantise(full, random_rows([2, 3], WORDS, made.network.positions)))
        for ids in tokens:
            one, two = Session(full).run([ids])[0][0], session.run([ids])[0][0]
            # Products of 16 and 24 numbers average little of the rounding away.
            assert unit(np.float64(one)) @ unit(np.float64(two)) > 0.97
