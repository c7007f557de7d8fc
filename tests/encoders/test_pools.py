"""Pools: their formulas, their limits, and planted data on which a plain mean loses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.codebook import cross_query, fit_words, vlad
from app.encoders.pipeline.pools import (
    attend,
    gem,
    orth_fuse,
    regions,
    softmax_topk,
    topk_attn,
    with_context,
)
from app.types import F32


def tokens_of(seed: int, count: int = 9, width: int = 6) -> F32:
    return np.random.RandomState(seed).standard_normal((count, width)).astype(np.float32)


# ── formulas ─────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 1000), st.integers(1, 12))
def test_gem_goes_from_the_mean_to_the_maximum(seed: int, count: int) -> None:
    tokens = np.abs(tokens_of(seed, count)) + 0.1
    np.testing.assert_allclose(gem(tokens, 1.0), tokens.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(gem(tokens, 3.0), (tokens**3).mean(axis=0) ** (1 / 3), rtol=1e-5)
    np.testing.assert_allclose(gem(tokens, 5000.0), tokens.max(axis=0), rtol=2e-3)


def test_gem_of_large_numbers_does_not_overflow() -> None:
    assert np.isfinite(gem(np.full((3, 2), 1e30, np.float32), 9.0)).all()


@given(st.integers(0, 1000), st.integers(0, 9), st.floats(0.05, 5.0))
def test_soft_choices_are_shares_of_at_most_k(seed: int, k: int, temperature: float) -> None:
    scores = tokens_of(seed)
    shares = softmax_topk(scores, temperature, k)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    if 0 < k < scores.shape[1]:
        assert (np.count_nonzero(shares, axis=1) <= k).all()
    best = shares[np.arange(len(scores)), scores.argmax(axis=1)]
    np.testing.assert_array_equal(best, shares.max(axis=1))


def test_a_soft_choice_of_one_is_argmax_and_a_hot_one_is_the_mean() -> None:
    scores = np.array([0.3, 2.0, -1.0], np.float32)
    np.testing.assert_array_equal(softmax_topk(scores, 1.0, 1), [0, 1, 0])
    np.testing.assert_allclose(softmax_topk(scores, 1e6), 1 / 3, rtol=1e-5)


def test_topk_attention_keeps_the_most_activated_tokens() -> None:
    tokens = np.array([[1, -5], [0, 1], [3, 3]], np.float32)
    np.testing.assert_allclose(topk_attn(tokens, 2), [2, -1])
    np.testing.assert_allclose(topk_attn(tokens, 9), tokens.mean(axis=0), rtol=1e-6)


def test_attention_of_one_query_is_the_plain_formula() -> None:
    tokens, query = tokens_of(1), tokens_of(2, 1)[0]
    logits = tokens.astype(np.float64) @ query / np.sqrt(6)
    weights = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(attend(tokens, query), weights @ tokens, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 1000))
def test_what_is_fused_is_orthogonal_to_the_global_vector(seed: int) -> None:
    tokens, anchor = tokens_of(seed), tokens_of(seed + 1, 1)[0]
    fused = orth_fuse(tokens, anchor, 0.5)
    np.testing.assert_array_equal(fused[:6], anchor)
    assert abs(float(fused[6:] @ anchor)) < 1e-5 * float(anchor @ anchor) + 1e-6
    alone = [token - (token @ anchor) / (anchor @ anchor) * anchor for token in tokens]
    np.testing.assert_allclose(fused[6:], 0.5 * np.mean(alone, axis=0), atol=1e-5)


def test_fusing_with_no_weight_leaves_the_global_vector() -> None:
    anchor = tokens_of(3, 1)[0]
    np.testing.assert_array_equal(orth_fuse(tokens_of(2), anchor, 0.0)[6:], 0)
    np.testing.assert_array_equal(orth_fuse(tokens_of(2), np.zeros(6, np.float32), 1.0)[:6], 0)


def test_context_of_no_weight_changes_nothing_and_any_context_keeps_lengths() -> None:
    tokens = tokens_of(4)
    found = regions(tokens, 3, 0.1)
    np.testing.assert_array_equal(with_context(tokens, found, 0.0, 0.1), tokens)
    moved = with_context(tokens, found, 0.7, 0.1)
    np.testing.assert_allclose(
        np.linalg.norm(moved, axis=1), np.linalg.norm(tokens, axis=1), rtol=1e-5
    )


@given(st.integers(0, 1000))
def test_residuals_are_the_plain_loop(seed: int) -> None:
    tokens, words = tokens_of(seed), tokens_of(seed + 1, 4)
    sums = np.zeros((4, 6))
    for token in tokens.astype(np.float64):
        word = int(((token - words) ** 2).sum(axis=1).argmin())
        sums[word] += token - words[word]
    rows = np.array([row / (np.linalg.norm(row) or 1.0) for row in sums])
    flat = rows.reshape(-1) / np.linalg.norm(rows)
    np.testing.assert_allclose(vlad(tokens, words, 0.0), flat, atol=1e-5)
    # A cold soft assignment is the hard one, unless two words are equally near.
    gaps = np.sort(((tokens[:, None] - words) ** 2).sum(axis=2), axis=1)
    if (gaps[:, 1] - gaps[:, 0]).min() > 0.05:
        np.testing.assert_allclose(vlad(tokens, words, 1e-3), flat, atol=1e-4)


def test_cross_query_similarity_is_what_a_graph_of_the_same_matrices_computes() -> None:
    """The trained head of others runs as an ONNX graph; ours must be the same numbers."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    tokens, queries, reference = tokens_of(1), tokens_of(2, 5), tokens_of(3, 5, 4)
    names = {"q": queries, "rt": reference.T.copy(), "s": np.array(6**-0.5, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["tokens"], ["tt"]),
            helper.make_node("MatMul", ["q", "tt"], ["raw"]),
            helper.make_node("Mul", ["raw", "s"], ["scaled"]),
            helper.make_node("Softmax", ["scaled"], ["shares"], axis=1),
            helper.make_node("MatMul", ["shares", "tokens"], ["p"]),
            helper.make_node("MatMul", ["rt", "p"], ["cs"]),
            helper.make_node("LpNormalization", ["cs"], ["columns"], axis=0, p=2),
            helper.make_node("Flatten", ["columns"], ["flat"], axis=0),
            helper.make_node("LpNormalization", ["flat"], ["out"], axis=1, p=2),
        ],
        "head",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["m", 6])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in names.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"tokens": tokens})
    np.testing.assert_allclose(cross_query(tokens, queries, reference), expected[0], atol=1e-5)


# ── planted data: what each is for, and that a mean does not do it ───────────────────────────


def recall_at_1(first: list[F32], second: list[F32]) -> float:
    """Share of items whose second view is nearest to their first."""
    one, other = unit(np.stack(first)), unit(np.stack(second))
    return float(((one @ other.T).argmax(axis=1) == np.arange(len(one))).mean())


def cluttered(items: int = 60) -> tuple[list[F32], list[F32], F32]:
    """Two views of each item: 4 tokens of its own among 8 of clutter, drawn from 64 words."""
    random = np.random.RandomState(5)
    words = unit(random.standard_normal((64, 24)).astype(np.float32))
    own = [random.choice(64, 4, replace=False) for _ in range(items)]
    common = unit(random.standard_normal((6, 24)).astype(np.float32))

    def view(item: int) -> F32:
        clutter = common[random.randint(0, 6, 8)] * 1.5
        tokens = np.concatenate([words[own[item]], clutter])
        return (tokens + 0.05 * random.standard_normal(tokens.shape)).astype(np.float32)

    views = [[view(item) for item in range(items)] for _ in range(2)]
    return views[0], views[1], words


def test_residuals_find_items_among_clutter_where_a_mean_does_not() -> None:
    first, second, _ = cluttered()
    words = fit_words(np.concatenate(first), 24, seed=1)
    mean = recall_at_1([t.mean(axis=0) for t in first], [t.mean(axis=0) for t in second])
    residual = recall_at_1(
        [vlad(t, words, 0.1) for t in first], [vlad(t, words, 0.1) for t in second]
    )
    assert mean < 0.2
    assert residual > 0.95


def test_a_reference_halves_the_vector_and_keeps_most() -> None:
    first, second, _ = cluttered()
    words = fit_words(np.concatenate(first), 24, seed=1)
    reference = np.linalg.qr(np.random.RandomState(2).standard_normal((24, 24)))[0][:, :12]
    reference = reference.astype(np.float32)
    half = recall_at_1(
        [vlad(t, words, 0.1, reference) for t in first],
        [vlad(t, words, 0.1, reference) for t in second],
    )
    assert half > 0.9


def test_cross_query_similarity_without_training_is_no_pool() -> None:
    """What the documentation warns of: random matrices find less than residuals by far."""
    first, second, _ = cluttered()
    random = np.random.RandomState(3)
    queries, reference = (
        random.standard_normal(shape).astype(np.float32) for shape in ((24, 24), (24, 24))
    )
    untrained = recall_at_1(
        [cross_query(t, queries, reference) for t in first],
        [cross_query(t, queries, reference) for t in second],
    )
    words = fit_words(np.concatenate(first), 24, seed=1)
    residual = recall_at_1(
        [vlad(t, words, 0.1) for t in first], [vlad(t, words, 0.1) for t in second]
    )
    assert untrained < 0.3 < 0.95 < residual


def test_gem_and_topk_find_salient_tokens_that_a_mean_drowns() -> None:
    random = np.random.RandomState(6)
    own = np.abs(random.standard_normal((50, 32))).astype(np.float32) * 3

    def view(item: int) -> F32:
        faint = np.abs(random.standard_normal((40, 32)))
        return np.concatenate([own[item : item + 1], faint]).astype(np.float32)

    first, second = ([view(item) for item in range(50)] for _ in range(2))
    found = {
        "mean": recall_at_1([t.mean(axis=0) for t in first], [t.mean(axis=0) for t in second]),
        "gem": recall_at_1([gem(t, 3.0) for t in first], [gem(t, 3.0) for t in second]),
        "topk": recall_at_1([topk_attn(t, 1) for t in first], [topk_attn(t, 1) for t in second]),
    }
    assert found["mean"] < 0.9 < found["gem"]
    assert found["gem"] <= found["topk"] == 1.0


def test_a_query_finds_the_tokens_that_it_is_for() -> None:
    random = np.random.RandomState(7)
    sign = 4 * unit(random.standard_normal((1, 16)).astype(np.float32))[0]
    own = random.standard_normal((40, 16)).astype(np.float32)
    own -= np.outer(own @ sign, sign) / (sign @ sign)

    def view(item: int) -> F32:
        clutter = 2 * random.standard_normal((20, 16))
        clutter -= np.outer(clutter @ sign, sign) / (sign @ sign)
        return np.concatenate([own[item : item + 1] + sign, clutter]).astype(np.float32)

    first, second = ([view(item) for item in range(40)] for _ in range(2))
    mean = recall_at_1([t.mean(axis=0) for t in first], [t.mean(axis=0) for t in second])
    found = recall_at_1(
        [attend(t, sign, 0.5) for t in first], [attend(t, sign, 0.5) for t in second]
    )
    assert mean < 0.6
    assert found > 0.95


def test_fusion_finds_what_only_local_tokens_know() -> None:
    """Items in pairs with one global vector; the local tokens tell them apart."""
    random = np.random.RandomState(8)
    anchors = np.repeat(random.standard_normal((20, 16)), 2, axis=0).astype(np.float32)
    local = random.standard_normal((40, 16)).astype(np.float32)

    def view(item: int) -> tuple[F32, F32]:
        noise = 0.3 * random.standard_normal((6, 16))
        anchor = anchors[item] + 0.05 * random.standard_normal(16)
        # How much of the global vector a token carries differs from view to view.
        carried = random.uniform(-6, 6, (6, 1)) * anchor
        return (carried + local[item] + noise).astype(np.float32), anchor.astype(np.float32)

    first, second = ([view(item) for item in range(40)] for _ in range(2))
    alone = recall_at_1([g for _, g in first], [g for _, g in second])
    mean = recall_at_1([t.mean(axis=0) for t, _ in first], [t.mean(axis=0) for t, _ in second])
    fused = recall_at_1(
        [orth_fuse(t, g, 1.0) for t, g in first], [orth_fuse(t, g, 1.0) for t, g in second]
    )
    assert alone < 0.7
    assert mean < 0.7
    assert fused > 0.95


def test_context_tells_equal_tokens_of_different_objects_apart() -> None:
    """One ambiguous token, seen with one of two kinds of surroundings."""
    random = np.random.RandomState(9)
    surroundings = unit(random.standard_normal((2, 16)).astype(np.float32))
    ambiguous = unit(random.standard_normal((1, 16)).astype(np.float32))[0]

    def seen(kind: int) -> F32:
        around = surroundings[kind] + 0.1 * random.standard_normal((7, 16))
        token = ambiguous + 0.05 * random.standard_normal(16)
        return np.concatenate([token[None], around]).astype(np.float32)

    kinds = [item % 2 for item in range(40)]
    raw = [seen(kind) for kind in kinds]
    known = [with_context(t, regions(t, 2, 0.3), 2.0, 1.0) for t in raw]

    def accuracy(tokens: list[F32]) -> float:
        first = unit(np.stack([t[0] for t in tokens]))
        near = first @ first.T - 2 * np.eye(len(first))
        return float(np.mean([kinds[j] == kinds[i] for i, j in enumerate(near.argmax(axis=1))]))

    assert accuracy(raw) < 0.75
    assert accuracy(known) > 0.95


def test_a_few_regions_keep_what_late_interaction_finds_with_all_tokens() -> None:
    random = np.random.RandomState(10)
    parts = random.standard_normal((60, 4, 24)).astype(np.float32)

    def view(item: int) -> F32:
        which = np.repeat(np.arange(4), 12)
        return (parts[item][which] + 0.4 * random.standard_normal((48, 24))).astype(np.float32)

    first, second = ([unit(view(item)) for item in range(60)] for _ in range(2))

    def found(queries: list[F32], items: list[F32]) -> float:
        scores = [[(q @ x.T).max(axis=1).sum() for x in items] for q in queries]
        return float((np.argmax(scores, axis=1) == np.arange(len(queries))).mean())

    every = found(first, second)
    few = found(*([unit(regions(t, 4, 0.1)) for t in side] for side in (first, second)))
    assert few >= 0.95 * every
    assert every > 0.95


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_words_are_fitted_the_same_for_the_same_seed_and_lower_the_distance(seed: int) -> None:
    tokens = tokens_of(seed, 80)
    one, other = (fit_words(tokens, 5, seed) for _ in range(2))
    np.testing.assert_array_equal(one, other)

    def spread(words: F32) -> float:
        return float(((tokens[:, None] - words) ** 2).sum(axis=2).min(axis=1).sum())

    assert spread(one) <= spread(tokens[:5]) * 1.05


def test_words_of_equal_tokens_can_be_fitted() -> None:
    with np.errstate(all="raise"):
        words = fit_words(np.ones((7, 3), np.float32), 3, 0)
    assert words.shape == (3, 3)


@pytest.mark.parametrize("k", [1, 3])
def test_regions_of_a_single_token_are_that_token(k: int) -> None:
    token = tokens_of(1, 1)
    np.testing.assert_allclose(regions(token, k, 0.1), token, rtol=1e-5)
