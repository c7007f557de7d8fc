"""Intervals hold what they promise, pairs find what apart is hidden, and nothing is chance."""

from __future__ import annotations

import numpy as np
import pytest

from app.evaluation.blocks import nearest
from app.evaluation.bootstrap import means, paired, paired_statistic, statistic
from app.evaluation.measures import pearson, spearman


def test_an_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.beta(2, 5, size=(60, 200))  # 200 samples of 60 queries, of mean 2/7
    found = means(values, samples=600)
    inside = np.mean([one.low <= 2 / 7 <= one.high for one in found])
    assert 0.89 <= inside <= 0.99
    assert found[0].value == pytest.approx(values[:, 0].mean())


def test_queries_without_a_value_have_no_part() -> None:
    values = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]])
    first, second = means(values)
    assert (first.value, first.queries) == (0.5, 2)
    assert np.isnan(second.value)
    assert second.queries == 0


def test_a_pair_shows_what_intervals_apart_do_not() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random((80, 1))  # queries differ far more than configurations
    one, other = hard, hard + rng.normal(0.03, 0.03, (80, 1))
    (a,), (b,) = means(one), means(other)
    assert a.low < b.low < a.high  # the intervals overlap
    (found,) = paired(one, other)
    assert 0 < found.low < found.value < found.high
    assert found.p < 0.01
    assert found.wins + found.losses + found.ties == 80
    assert found.wins > found.losses
    (turned,) = paired(other, one)
    assert turned.value == pytest.approx(-found.value)
    assert (turned.wins, turned.losses) == (found.losses, found.wins)


def test_no_difference_is_rarely_called_one() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.random((50, 200)), rng.random((50, 200))
    called = np.mean([found.p < 0.05 for found in paired(one, other, samples=600)])
    assert called < 0.11


def test_three_queries_prove_nothing() -> None:
    one = np.array([[0.1], [0.2], [0.3]])
    (found,) = paired(one, one + np.array([[0.5], [0.4], [0.6]]))
    assert (found.wins, found.losses) == (3, 0)
    assert found.p == pytest.approx(1 / 4, abs=0.05)  # two of eight ways to toss three signs


def test_equal_configurations_tie() -> None:
    values = np.array([[0.5], [1.0]])
    (found,) = paired(values, values)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert (found.wins, found.losses, found.ties) == (0, 0, 2)
    (nothing,) = paired(values, np.full((2, 1), np.nan))
    assert np.isnan(nothing.p)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random((30, 1))
    assert means(values, seed=7) == means(values, seed=7) != means(values, seed=8)


def test_a_measure_of_all_things_together_has_an_interval() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=120)
    good, bad = truth + rng.normal(size=120) * 0.5, truth + rng.normal(size=120) * 2
    found = statistic(lambda at: pearson(good[at], truth[at]), 120)
    assert found.low < pearson(good, truth) == found.value < found.high
    apart = paired_statistic(
        lambda at: spearman(bad[at], truth[at]), lambda at: spearman(good[at], truth[at]), 120
    )
    assert apart.low > 0
    assert apart.p < 0.02


def test_many_queries_are_drawn_in_parts() -> None:
    values = np.random.default_rng(5).random((30_000, 1))
    (found,) = means(values, samples=200)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.2887 / np.sqrt(30_000), rel=0.25)


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_blocks_find_what_one_matrix_finds(block: int, metric: str) -> None:
    rng = np.random.default_rng(6)
    items = rng.integers(-3, 4, (50, 4)).astype(np.float32)  # with ties
    queries = rng.integers(-3, 4, (9, 4)).astype(np.float32)
    allowed = rng.random(50) < 0.7
    places, scores = nearest(queries, items, 60, metric=metric, allowed=allowed, block=block)
    every = queries @ items.T
    if metric == "l2":
        every = -((queries[:, None] - items[None]) ** 2).sum(axis=2)
    for row, own in enumerate(every):
        order = [i for i in np.argsort(-own, kind="stable") if allowed[i]]
        assert places[row].tolist() == order + [-1] * (60 - len(order))
        assert scores[row, : len(order)] == pytest.approx(own[order], abs=1e-4)
