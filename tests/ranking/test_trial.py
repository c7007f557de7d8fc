"""Trials of changed scores: golden values, and that a choice is not flattered."""

from __future__ import annotations

import numpy as np
import pytest

from app.evaluation.measures import ndcg
from app.ranking.trial import chosen_apart, due_of, judged


def test_an_order_is_judged_as_the_other_measure_judges_it() -> None:
    dice = np.random.default_rng(0)
    scores = dice.integers(20, size=(50, 15)).astype(np.float64)
    right = dice.uniform(size=(50, 15)) < 0.2
    counts = right.sum(axis=1) + dice.integers(3, size=50)  # some were not found at all
    found = judged(scores, right, due_of(counts))
    for query in range(50):
        ranked = sorted(range(15), key=lambda c: (-scores[query, c], c))
        gains = {c: 1.0 for c in range(15) if right[query, c]}
        gains |= {f"lost {n}": 1.0 for n in range(int(counts[query]) - len(gains))}
        expected = ndcg(ranked, gains, 10) if gains else 0.0
        assert found.ndcg[query] == pytest.approx(expected)
        assert found.first[query] == right[query, ranked[0]]


def test_what_is_not_there_is_not_right() -> None:
    scores = np.array([[0.5, -np.inf]])
    assert judged(scores, np.array([[False, True]]), due_of(np.array([1]))).ndcg == [0.0]


def test_the_best_of_many_that_do_nothing_does_not_win() -> None:
    """A hundred tries of noise: by its own queries the best seems to gain, by others not."""
    wins, seeming = 0, []
    for seed in range(20):
        dice = np.random.default_rng(seed)
        raw = dice.uniform(size=200)
        tried = raw + dice.normal(scale=0.3, size=(100, 200))
        seeming.append(float((tried.mean(axis=1) - raw.mean()).max()))
        verdict = chosen_apart(raw, tried)
        wins += verdict.gain > 2 * verdict.error
    assert min(seeming) > 0.03
    assert wins <= 3


def test_what_is_better_wins_and_what_is_worse_is_not_chosen() -> None:
    dice = np.random.default_rng(1)
    raw = dice.uniform(size=100)
    better = raw + 0.1 + dice.normal(scale=0.1, size=100)
    verdict = chosen_apart(raw, np.stack([raw - 0.2, better]))
    assert verdict.wins
    assert verdict.gain == pytest.approx(0.1, abs=0.03)
    worse = chosen_apart(raw, np.stack([raw - 0.2]))
    assert (worse.gain, worse.error, worse.wins) == (0.0, 0.0, False)
    assert not chosen_apart(raw, np.empty((0, 100))).wins
