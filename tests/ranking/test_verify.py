"""Checks of a matching: right ones pass, wrong pairs and wrong candidates do not."""

from __future__ import annotations

import numpy as np
import pytest

from app.ranking.tokens.anchors import Anchors
from app.ranking.tokens.dense import Dense, grid_places, match_dense
from app.ranking.tokens.matching import Matching, match
from app.ranking.tokens.mutual import MutualNearest
from app.ranking.tokens.sides import Assignment, Sides
from app.ranking.tokens.verify import cycle, topology, topology_shares
from app.types import F64
from tests.ranking.planted import auc, repeated_texture, unit, warped_grids

NOTHING = unit(np.ones((1, 2)))


def warp(places: F64) -> F64:
    """Bend the plane smoothly, without folding it."""
    y, x = places.T
    return np.stack([2 * y + 0.3 * np.sin(x), x + 0.2 * np.cos(y) - 0.5 * y], axis=1)


def preserved(places: F64, there: F64) -> tuple[float, Assignment, Sides]:
    at = np.arange(len(places))
    found = Assignment(np.stack([at, at], axis=1), np.ones(len(at)), np.ones(len(at)))
    sides = Sides(NOTHING, NOTHING, places, there)
    return topology(sides, found)[0], found, sides


def test_a_smooth_warp_preserves_topology_and_chance_half_of_it() -> None:
    """Row 24."""
    r = np.random.default_rng(0)
    places = r.uniform(0, 10, (100, 2))
    assert preserved(places, warp(places))[0] >= 0.98
    assert preserved(places, places[r.permutation(100)])[0] == pytest.approx(0.5, abs=0.06)
    assert preserved(places, places * [1, -1])[0] == 0
    steps = np.sort(r.uniform(0, 10, (50, 1)), axis=0)
    assert preserved(steps, steps**3)[0] == 1
    assert preserved(steps, steps[r.permutation(50)])[0] == pytest.approx(0.5, abs=0.1)


def test_grids_and_few_pairs_are_no_trouble() -> None:
    y, x = np.divmod(np.arange(49), 7)
    grid = np.stack([y, x], axis=1).astype(np.float64)
    assert preserved(grid, grid)[0] == 1
    for count in range(3):
        assert preserved(grid[:count], grid[:count])[0] == 0
    assert preserved(np.zeros((5, 2)), np.zeros((5, 2)))[0] == 0


def test_wrong_pairs_among_right_ones_are_told_apart() -> None:
    """A fifth of the pairs is wrong."""
    right, wrong, kept_right, kept_wrong = [], [], [], []
    for seed in range(5):
        r = np.random.default_rng(seed)
        places = r.uniform(0, 10, (100, 2))
        there = warp(places)
        bad = r.permutation(100)[:20]
        there[bad] = there[r.permutation(100)[:20]]
        _, found, sides = preserved(places, there)
        shares, kept = topology_shares(sides, found), topology(sides, found)[1]
        good = np.setdiff1d(np.arange(100), bad)
        right.append(shares[good])
        wrong.append(shares[bad])
        kept_right.append(kept[good].mean())
        kept_wrong.append(kept[bad].mean())
    assert auc(np.concatenate(right), np.concatenate(wrong)) >= 0.95
    assert np.mean(kept_right) >= 0.9
    assert np.mean(kept_wrong) <= 0.15


def test_topology_raises_the_precision_of_unverified_matches() -> None:
    plain, checked = [], []
    for seed in range(6):
        pair = repeated_texture(seed, own=0.5)
        found, kept = (
            match(pair.query, pair.candidate, Matching(MutualNearest(), verify), pair.places)
            for verify in (None, "topology")
        )
        plain.append(pair.precision_and_recall(found.pairs))
        checked.append(pair.precision_and_recall(kept.pairs))
    (precision, recall), (better, still) = np.mean(plain, axis=0), np.mean(checked, axis=0)
    assert better >= precision + 0.05
    assert still >= recall - 0.05


def test_topology_tells_the_right_candidate_from_one_of_the_same_words() -> None:
    """The same tokens at other places: every unverified score is the same."""
    how, plain = Matching(MutualNearest(), "topology"), Matching()
    for seed in range(5):
        pair = repeated_texture(seed, own=0.8)
        r = np.random.default_rng(seed)
        mixed = pair.candidate_places[r.permutation(len(pair.candidate))]
        right = match(pair.query, pair.candidate, how, pair.places)
        wrong = match(pair.query, pair.candidate, how, (pair.query_places, mixed))
        assert right.score > 1.5 * wrong.score
        assert match(pair.query, pair.candidate, plain).score == pytest.approx(
            match(pair.query, pair.candidate, plain, (pair.query_places, mixed)).score
        )


def test_the_way_back_tells_true_pairs_from_false() -> None:
    """Row 19: the cycle's error separates them, if costs are smoothed; of raw ones it does not."""

    def separated(how: Dense) -> float:
        right, wrong = [], []
        for seed in range(4):
            grids = warped_grids(seed, 1.0, noise=1.6)
            places = grid_places(16, 16)
            sides = Sides(grids.query, grids.candidate, places, places)
            found = match_dense(sides, how)
            _, _, off = cycle(sides, found)
            far = np.sqrt(((places[found.pairs[:, 1]] - grids.places) ** 2).sum(axis=1))
            right.append(-off[far <= 1.6])
            wrong.append(-off[far > 1.6])
        return auc(np.concatenate(right), np.concatenate(wrong))

    assert separated(Dense()) >= 0.95
    assert separated(Dense((1.0,), smooth_features=0, smooth_cost=0)) < 0.6


def test_the_cycle_leaves_out_cells_that_the_other_grid_does_not_show() -> None:
    grids = warped_grids(0, 2.0)
    plain, checked = (
        match(grids.query, grids.candidate, Matching(Dense(), verify)) for verify in (None, "cycle")
    )
    inside = ((grids.places >= 0) & (grids.places <= 15)).all(axis=1)

    def outside(pairs: list[tuple[int, int, float]]) -> float:
        return float(np.mean([not inside[i] for i, _, _ in pairs]))

    assert outside(checked.pairs) < outside(plain.pairs) - 0.2
    assert checked.score < plain.score


def test_mutual_pairs_come_home_by_themselves() -> None:
    pair = repeated_texture(0, own=0.5)
    found = match(pair.query, pair.candidate, Matching(MutualNearest(), "cycle"))
    assert found.facts["cycle"] == 1.0
    assert Matching(Anchors()).needs_places
