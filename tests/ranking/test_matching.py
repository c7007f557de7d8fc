"""Matchers on planted pairs: each beats the plain one where it claims to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidQuery
from app.ranking.tokens.anchors import Anchors, spread
from app.ranking.tokens.dense import Dense, grid_places
from app.ranking.tokens.matching import Matcher, Matching, match
from app.ranking.tokens.mutual import MutualNearest, clearness
from app.ranking.tokens.second_order import MOST_PAIRS, SecondOrder
from app.ranking.tokens.segment import Segment
from app.ranking.tokens.sinkhorn import Sinkhorn, transport
from tests.ranking.planted import Pair, auc, repeated_texture, unit, warped_grids

MATCHERS: list[Matcher] = [
    MutualNearest(), MutualNearest(0.9), Sinkhorn(), SecondOrder(), Segment(),
    Segment(cyclic=True, reverse=True), Anchors(), Dense(),
]  # fmt: skip


def quality(how: Matching, pairs: list[Pair]) -> tuple[float, float]:
    """Mean precision and recall."""
    both = [p.precision_and_recall(match(p.query, p.candidate, how, p.places).pairs) for p in pairs]
    precision, recall = np.mean(both, axis=0)
    return float(precision), float(recall)


# ── what holds for all of them ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verify", [None, "topology", "cycle"])
@pytest.mark.parametrize("by", MATCHERS, ids=str)
def test_gains_sum_to_the_score_and_weights_are_shares(by: Matcher, verify: str | None) -> None:
    r = np.random.default_rng(0)
    query = unit(r.standard_normal((16, 8)))
    for n in (1, 4, 25):
        candidate = unit(r.standard_normal((n, 8)))
        side = round(n**0.5)
        places = grid_places(4, 4), grid_places(side, side)
        found = match(query, candidate, Matching(by, verify), places)  # type: ignore[arg-type]
        assert found.gains.sum() == pytest.approx(found.score)
        assert len(found.gains) == len(found.pairs)
        assert all(0 <= i < 16 and 0 <= j < n and 0 <= w <= 1 for i, j, w in found.pairs)
        assert [i for i, _, _ in found.pairs] == sorted(i for i, _, _ in found.pairs) or (
            isinstance(by, Segment) and by.cyclic
        )


@pytest.mark.parametrize("by", [by for by in MATCHERS if not isinstance(by, Dense)], ids=str)
def test_a_set_matched_with_itself_finds_itself(by: Matcher) -> None:
    r = np.random.default_rng(1)
    x = unit(r.standard_normal((30, 32)))
    places = r.uniform(0, 10, (30, 2))
    if isinstance(by, Segment) and by.reverse:
        by = Segment(cyclic=True)
    found = match(x, x, Matching(by), (places, places))
    assert {(i, j) for i, j, _ in found.pairs} == {(i, i) for i in range(30)}


# ── mutual nearest neighbours ────────────────────────────────────────────────────────────────


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 8), st.sampled_from([1.0, 0.8]))
@settings(max_examples=40)
def test_mutual_pairs_are_each_others_best(seed: int, m: int, n: int, ratio: float) -> None:
    r = np.random.default_rng(seed)
    query, candidate = unit(r.standard_normal((m, 6))), unit(r.standard_normal((n, 6)))
    products = (query @ candidate.T).astype(np.float64)
    expected = set()
    for i, j in np.ndindex(m, n):
        if products[i].argmax() == j and products[:, j].argmax() == i:
            apart = np.sort(np.sqrt(2 - 2 * products[i]))
            if ratio == 1 or n == 1 or apart[0] <= ratio * apart[1]:
                expected.add((i, j))
    found = match(query, candidate, Matching(MutualNearest(ratio))).pairs
    assert {(i, j) for i, j, _ in found} == expected


def test_one_token_has_no_rival() -> None:
    assert clearness(np.array([[0.3]])).tolist() == [0.0]


# ── sinkhorn ─────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20), st.floats(0, 1))
@settings(max_examples=40)
def test_transport_keeps_its_marginals(seed: int, m: int, n: int, dustbin: float) -> None:
    """A dustbin below most similarities forces pairs, and that converges slowly."""
    r = np.random.default_rng(seed)
    similarity = r.uniform(-1, 1, (m, n))
    plan, error = transport(similarity, Sinkhorn(tau=0.1, dustbin=dustbin, iterations=500))
    assert error <= 1e-3
    assert np.allclose(plan.sum(axis=1), [*[1] * m, n], atol=1e-3)
    assert np.allclose(plan.sum(axis=0), [*[1] * n, m], atol=1e-3)


def test_the_default_transport_of_a_texture_has_converged() -> None:
    pair = repeated_texture(0, own=0.3)
    assert match(pair.query, pair.candidate, Matching(Sinkhorn())).facts["marginal_error"] <= 1e-3


@pytest.mark.parametrize("dustbin", [-1.0, 1.0])
def test_the_sharpest_transport_stays_finite(dustbin: float) -> None:
    similarity = np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    plan, _ = transport(similarity, Sinkhorn(tau=0.01, dustbin=dustbin, iterations=1000))
    assert np.isfinite(plan).all()


def test_transport_beats_mutual_neighbours_where_tokens_are_ambiguous() -> None:
    """Row 41."""
    pairs = [repeated_texture(seed, own=0.3) for seed in range(6)]
    plain, better = quality(Matching(), pairs), quality(Matching(Sinkhorn()), pairs)
    assert better[0] > plain[0] + 0.05
    assert better[1] > plain[1] + 0.05


def test_clutter_goes_to_the_dustbin() -> None:
    kept, thrown = [], []
    for seed in range(4):
        pair = repeated_texture(seed, own=0.6, words=40)
        plan, _ = transport((pair.query @ pair.candidate.T).astype(np.float64), Sinkhorn())
        in_dustbin = plan[:-1, -1]
        kept.append(in_dustbin[pair.partner >= 0])
        thrown.append(in_dustbin[pair.partner < 0])
    assert auc(np.concatenate(thrown), np.concatenate(kept)) >= 0.9


# ── second order ─────────────────────────────────────────────────────────────────────────────


def test_second_order_is_decisive_where_tokens_repeat() -> None:
    """Row 8: single tokens do not tell which window of the façade they are."""
    pairs = [repeated_texture(seed, own=0.3) for seed in range(6)]
    plain, soft = quality(Matching(), pairs), quality(Matching(Sinkhorn()), pairs)
    precision, recall = quality(Matching(SecondOrder()), pairs)
    assert precision >= 0.95
    assert recall >= 0.9
    assert max(plain[1], soft[1]) < 0.6
    assert max(plain[0], soft[0]) < 0.75


def test_second_order_reports_the_scale_and_ignores_rotation() -> None:
    pair = repeated_texture(0, own=0.3)
    turned = pair.candidate_places @ np.array([[0.0, 3.0], [-3.0, 0.0]])
    found, far = (
        match(pair.query, pair.candidate, Matching(SecondOrder()), (pair.query_places, places))
        for places in (pair.candidate_places, turned)
    )
    assert {p[:2] for p in found.pairs} == {p[:2] for p in far.pairs}
    assert far.facts["scale"] == pytest.approx(3 * float(found.facts["scale"]), rel=0.01)


def test_second_order_is_bounded_and_survives_places_that_coincide() -> None:
    r = np.random.default_rng(0)
    query, candidate = unit(r.standard_normal((300, 8))), unit(r.standard_normal((40, 8)))
    found = match(
        query, candidate, Matching(SecondOrder()), (np.zeros((300, 2)), np.zeros((40, 2)))
    )
    assert found.facts["tried"] == MOST_PAIRS
    assert np.isfinite(found.score)


def test_one_pair_has_nobody_to_agree_with() -> None:
    x = unit(np.ones((1, 4)))
    assert match(x, x, Matching(SecondOrder(top=1))).pairs == [] or len(x) == 1


# ── anchors ──────────────────────────────────────────────────────────────────────────────────


def test_anchors_find_what_mutual_neighbours_do_not_with_a_third_of_the_products() -> None:
    """Row 19."""
    pairs = [repeated_texture(seed, points=300, clutter=60, words=40, own=0.2) for seed in range(3)]
    plain = quality(Matching(), pairs)
    precision, recall = quality(Matching(Anchors()), pairs)
    assert precision > plain[0] + 0.2
    assert recall > plain[1] + 0.2
    for pair in pairs:
        facts = match(pair.query, pair.candidate, Matching(Anchors()), pair.places).facts
        assert int(facts["compared"]) <= 0.3 * len(pair.query) * len(pair.candidate)


def test_without_anchors_that_agree_nothing_is_matched() -> None:
    r = np.random.default_rng(0)
    x, places = unit(r.standard_normal((2, 4))), r.uniform(0, 1, (2, 2))
    assert match(x, x, Matching(Anchors()), (places, places)).pairs == []


def test_anchors_need_places() -> None:
    how = Matching(Anchors())
    assert how.needs_places
    with pytest.raises(InvalidQuery, match="places"):
        match(unit(np.ones((3, 4))), unit(np.ones((3, 4))), how)


def test_spread_places_are_far_from_each_other() -> None:
    places = grid_places(10, 10)
    chosen = places[spread(places, 9)]
    apart = np.sqrt(((chosen[:, None] - chosen) ** 2).sum(axis=-1)) + np.eye(9) * 100
    assert len(chosen) == 9
    assert apart.min() >= 3


# ── dense ────────────────────────────────────────────────────────────────────────────────────

SCALES = (1.0, 2.0, 0.5)


def found_within(how: Dense, scale: float, noise: float = 0.8) -> float:
    """PCK@0.1 of a grid of 16."""
    shares = []
    for seed in range(3):
        grids = warped_grids(seed, scale, noise=noise)
        found = match(grids.query, grids.candidate, Matching(how))
        shares.append(grids.near(found.pairs, 16, within=1.6))
    return float(np.mean(shares))


def test_smoothed_features_and_costs_beat_each_alone() -> None:
    """Row 2."""
    raw, features, costs, both = (
        found_within(Dense((1.0,), smooth_features=tau, smooth_cost=rounds), 1.0, noise=1.6)
        for tau, rounds in ((0, 0), (0.2, 0), (0, 4), (0.2, 4))
    )
    assert raw < 0.2
    assert costs > raw + 0.5
    assert both >= max(features, costs) + 0.02


def test_the_surest_scale_beats_every_fixed_one() -> None:
    fixed = {
        one: np.mean([found_within(Dense((one,)), scale) for scale in SCALES]) for one in SCALES
    }
    chosen = np.mean([found_within(Dense(SCALES), scale) for scale in SCALES])
    assert chosen > max(fixed.values()) + 0.15


def test_dense_reads_the_grid_from_places_and_refuses_what_is_none() -> None:
    r = np.random.default_rng(0)
    x = unit(r.standard_normal((6, 16)))
    how = Matching(Dense((1.0,)))
    found = match(x, x, how, (grid_places(2, 3), grid_places(2, 3)))
    assert [j for _, j, _ in found.pairs] == list(range(6))
    for places in (
        None,
        (grid_places(2, 3)[::-1].copy(), grid_places(2, 3)),
        (r.uniform(size=(6, 2)),) * 2,
    ):
        with pytest.raises(InvalidQuery, match="grid"):
            match(x, x, how, places)


def test_the_kind_is_what_a_query_calls_it() -> None:
    names = {Matching(by).kind for by in MATCHERS}
    assert names == {"mutual_nn", "sinkhorn", "graph", "segment", "anchors", "dense"}
