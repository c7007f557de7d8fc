"""Aggregators: equal to their formulas written out, whatever stands beside; better than pooling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ranking.tokens import aggregation
from app.ranking.tokens.aggregation import Aggregation, aggregate, contributions
from app.types import F32, F64
from tests.ranking.planted import clutter, noisy_queries, ragged, unit

KINDS = ("mean", "max", "lse", "attend", "isa", "regulated")
SOFT = ("lse", "attend", "isa", "regulated")
HOWS = [
    Aggregation(kind, tau=tau, topk=topk, symmetric=symmetric)
    for kind in KINDS
    for tau, topk in ((0.05, None), (0.2, 3))
    for symmetric in (False, True)
]


def tokens(seed: int, count: int, d: int = 16) -> F32:
    return unit(np.random.default_rng(seed).standard_normal((count, d)))


# ── the formulas, one token at a time ────────────────────────────────────────────────────────


def soft(scores: list[float], tau: float, k: int | None) -> list[float]:
    order = sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:k]
    powers = [
        math.exp((scores[j] - max(scores)) / tau) if j in order else 0.0 for j in range(len(scores))
    ]
    return [power / sum(powers) for power in powers]


def cosine(a: F64, b: F64) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def slow_one_way(query: F64, candidate: F64, how: Aggregation) -> float:
    values, attended = [], []
    for q in query:
        row = [float(q @ x) for x in candidate]
        if how.kind == "mean":
            values.append(cosine(q, candidate.mean(axis=0)))
        elif how.kind == "max":
            values.append(max(row))
        elif how.kind == "lse":
            part = sorted(row, reverse=True)[: how.topk]
            total = sum(math.exp(s / how.tau) for s in part) / len(part)
            values.append(how.tau * math.log(total))
        elif how.kind == "isa":
            weights = soft(soft(row, how.tau, how.topk), how.tau, how.topk)
            values.append(sum(w * s for w, s in zip(weights, row, strict=True)))
        else:
            v = sum(w * x for w, x in zip(soft(row, how.tau, how.topk), candidate, strict=True))
            values.append(cosine(q, v))
            attended.append(v / np.sqrt(v @ v))
    shares = [1 / len(values)] * len(values)
    if how.kind == "regulated":
        aligned = [q * v for q, v in zip(query, attended, strict=True)]
        for _ in range(how.steps):
            whole = sum(share * a for share, a in zip(shares, aligned, strict=True))
            shares = soft([cosine(a, whole) for a in aligned], how.agreement_tau, None)
    return sum(share * value for share, value in zip(shares, values, strict=True))


def slow(query: F32, candidate: F32, how: Aggregation) -> float:
    q, x = query.astype(np.float64), candidate.astype(np.float64)
    if not how.symmetric:
        return slow_one_way(q, x, how)
    return (slow_one_way(q, x, how) + slow_one_way(x, q, how)) / 2


@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize("lengths", [(5, 5, 5), (1, 7, 3, 7, 2), (1,)])
def test_scores_are_what_the_formulas_say(how: Aggregation, lengths: tuple[int, ...]) -> None:
    query = tokens(1, 4)
    sets = [tokens(2 + i, length) for i, length in enumerate(lengths)]
    scores = aggregate(query, *ragged(sets), how)
    assert np.allclose(scores, [slow(query, one, how) for one in sets], atol=2e-6)


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_scores_do_not_depend_on_neighbours_or_blocks(
    how: Aggregation, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = tokens(1, 6)
    sets = [tokens(10 + i, 1 + i * 7 % 11) for i in range(20)]
    together = aggregate(query, *ragged(sets), how)
    alone = [float(aggregate(query, *ragged([one]), how)[0]) for one in sets]
    assert np.allclose(together, alone, atol=2e-6)
    monkeypatch.setattr(aggregation, "BLOCK", 64)
    assert np.allclose(aggregate(query, *ragged(sets), how), alone, atol=2e-6)


# ── limits ───────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=30)
def test_limits_of_tau_and_steps(seed: int, m: int, n: int) -> None:
    query, candidate = tokens(seed, m), tokens(seed + 1, n)
    one = ragged([candidate])

    def score(how: Aggregation) -> float:
        return float(aggregate(query, *one, how)[0])

    products = (query @ candidate.T).astype(np.float64)
    best, even = products.max(axis=1).mean(), products.mean()
    pooled = score(Aggregation("mean"))
    assert score(Aggregation("attend", tau=1e6)) == pytest.approx(pooled, abs=1e-4)
    assert score(Aggregation("lse", tau=1e6)) == pytest.approx(even, abs=1e-4)
    assert score(Aggregation("isa", tau=1e6)) == pytest.approx(even, abs=1e-4)
    for kind in ("attend", "lse", "isa"):
        assert score(Aggregation(kind, tau=1e-5)) == pytest.approx(best, abs=2e-4)
        assert score(Aggregation(kind, topk=1)) == pytest.approx(best, abs=1e-6)
    attend = score(Aggregation("attend"))
    assert score(Aggregation("regulated", steps=0)) == pytest.approx(attend, abs=1e-9)
    assert score(Aggregation("regulated", agreement_tau=1e9)) == pytest.approx(attend, abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from(KINDS), st.booleans())
@settings(max_examples=30)
def test_a_copy_scores_highest_and_order_does_not_matter(
    seed: int, kind: str, symmetric: bool
) -> None:
    how = Aggregation(kind, symmetric=symmetric)  # type: ignore[arg-type]  # sampled from its kinds
    query, candidate = tokens(seed, 4), tokens(seed + 1, 6)
    turned = aggregate(query[::-1].copy(), *ragged([candidate[::-1].copy()]), how)
    assert np.allclose(turned, aggregate(query, *ragged([candidate]), how), atol=2e-6)
    if symmetric:
        back = aggregate(candidate, *ragged([query]), how)
        assert np.allclose(turned, back, atol=2e-6)
    one = query[:1]
    assert aggregate(one, *ragged([one]), how)[0] == pytest.approx(1, abs=1e-6)


def test_regulation_settles_within_ten_steps() -> None:
    search = noisy_queries(0, noisy=4, items=30)
    candidates = ragged(list(search.candidates))
    for query in search.queries[:10]:
        ten, eleven = (
            aggregate(query, *candidates, Aggregation("regulated", steps=steps))
            for steps in (10, 11)
        )
        assert np.abs(ten - eleven).max() < 0.01
        assert np.median(np.abs(ten - eleven)) < 1e-3


# ── contributions ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_contributions_sum_to_the_score(how: Aggregation) -> None:
    for seed in range(10):
        query, candidate = tokens(seed, 5), tokens(seed + 50, 9)
        for one in (how, replace(how, tau=0.01)):
            score = aggregate(query, *ragged([candidate, tokens(7, 3)]), one)[0]
            cells = contributions(query, candidate, one)
            assert cells.shape == (5, 9)
            assert cells.sum() == pytest.approx(score, abs=1e-6)


def test_masks_leave_nothing_of_tokens_that_cancel() -> None:
    """Two opposite tokens have no mean: no NaN may come of it."""
    x = tokens(0, 1)
    opposite = np.concatenate([x, -x])
    for kind in KINDS:
        how = Aggregation(kind, tau=1e6)
        assert np.isfinite(aggregate(tokens(1, 2), *ragged([opposite]), how)).all()
        assert np.isfinite(contributions(tokens(1, 2), opposite, how)).all()


@pytest.mark.parametrize("kind", ["max", "lse", "attend", "isa", "regulated"])
def test_the_token_that_contributes_most_is_in_the_planted_region(kind: str) -> None:
    """The pointing game, row 30(b): pooling spreads what it found over the clutter too."""
    search = clutter(3, items=100, relevant=4, others=16, noise=1.0)

    def points(how: Aggregation) -> float:
        tops = [
            contributions(query, own, how).sum(axis=0).argmax()
            for query, own in zip(search.queries, search.candidates, strict=True)
        ]
        return float(np.mean(np.array(tops) < 4))

    assert points(Aggregation(kind)) >= 0.95  # type: ignore[arg-type]  # one of its kinds


# ── against their baselines, on planted data ─────────────────────────────────────────────────


def test_late_interaction_finds_what_pooling_loses_in_clutter() -> None:
    """Rows 7, 25 and 50: 4 tokens of 36 are relevant."""
    search = clutter(0, others=32)
    pooled = search.rank_1(Aggregation("mean"))
    assert pooled < 0.4
    for how in (
        Aggregation("max"),
        Aggregation("lse"),
        Aggregation("attend"),
        Aggregation("attend", topk=2),
        Aggregation("isa", tau=0.01),
    ):
        assert search.rank_1(how) >= 0.94, how


def test_sparse_attention_stays_flat_as_clutter_grows_and_dense_falls() -> None:
    """Row 50, where τ is too soft to do it alone."""
    searches = [clutter(1, others=others, noise=1.2) for others in (8, 64)]
    dense, sparse = (
        [search.rank_1(Aggregation("attend", tau=1.0, topk=topk)) for search in searches]
        for topk in (None, 4)
    )
    assert dense[0] - dense[1] > 0.2
    assert abs(sparse[0] - sparse[1]) <= 0.02
    assert sparse[1] > dense[1] + 0.2


def test_regulation_beats_the_one_shot_mean_where_query_tokens_are_noise() -> None:
    """Row 55: rises, then stays."""
    searches = [noisy_queries(seed, noisy=5) for seed in range(3)]

    def rank_1(steps: int) -> float:
        return float(np.mean([s.rank_1(Aggregation("regulated", steps=steps)) for s in searches]))

    none, one, two, three, five = map(rank_1, (0, 1, 2, 3, 5))
    assert one > none + 0.05
    assert min(two, three) >= one - 0.01
    assert abs(five - three) <= 0.01
    pooled = np.mean([search.rank_1(Aggregation("mean")) for search in searches])
    assert pooled < none


def test_regulation_does_no_harm_where_all_query_tokens_match() -> None:
    search = noisy_queries(0, noisy=0)
    once = search.rank_1(Aggregation("regulated", steps=0))
    assert abs(search.rank_1(Aggregation("regulated", steps=3)) - once) <= 0.005
