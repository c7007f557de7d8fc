"""Thresholds, rates and their intervals, against sums and plain counting."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.memory.verification import (
    clopper_pearson,
    confidence,
    equal_error,
    incomplete_beta,
    interval_over_labels,
    rate,
    rejecting_threshold,
    threshold_for,
)

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=40).map(
    lambda found: np.array(found, dtype=np.float64) / 8
)
shares = st.floats(0, 1)


def tail(k: int, n: int, p: float) -> float:
    """P(X ≥ k) of n tosses, exactly."""
    q = Fraction(p)
    return float(sum(math.comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k, n + 1)))


@pytest.mark.parametrize("n", [1, 2, 7, 30, 90])
@pytest.mark.parametrize("p", [0.0, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0])
def test_the_beta_function_is_the_tail_of_a_binomial(n: int, p: float) -> None:
    for k in {1, (n + 1) // 2, n}:
        assert incomplete_beta(k, n - k + 1, p) == pytest.approx(tail(k, n, p), abs=1e-11)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_ends_where_the_count_becomes_surprising(pair: tuple[int, int]) -> None:
    hits, of = pair
    low, high = clopper_pearson(hits, of)
    assert 0 <= low <= hits / of <= high <= 1
    if hits:
        assert tail(hits, of, low) == pytest.approx(0.025, abs=1e-9)
    if hits < of:
        assert 1 - tail(hits + 1, of, high) == pytest.approx(0.025, abs=1e-9)


def test_intervals_of_many_pairs() -> None:
    """No hit in n: the upper end solves (1 − p)^n = α / 2."""
    for n in (100, 10_000, 3_000_000):
        low, high = clopper_pearson(0, n)
        assert low == 0
        assert high == pytest.approx(-math.expm1(math.log(0.025) / n), rel=1e-9)
    low, high = clopper_pearson(1_000, 1_000_000)
    assert 0.00093 < low < 0.00095
    assert 0.00106 < high < 0.00107


@given(scores, shares)
def test_the_threshold_keeps_the_target_and_no_lower_one_does(
    impostors: np.ndarray, far: float
) -> None:  # type: ignore[type-arg]
    threshold = threshold_for(impostors, far)
    assert rate(impostors, threshold).share <= far + 1e-9
    lower = impostors[impostors < threshold]
    if lower.size:  # the next score below would let it in, and be too many
        assert rate(impostors, float(lower.max())).share > far - 1e-9


@given(scores, shares)
def test_the_rejecting_threshold_is_the_mirror(genuine: np.ndarray, frr: float) -> None:  # type: ignore[type-arg]
    threshold = rejecting_threshold(genuine, frr)
    assert np.mean(genuine <= threshold) <= frr + 1e-9
    above = genuine[genuine > threshold]
    if above.size:
        assert np.mean(genuine <= above.min()) > frr - 1e-9


def test_a_threshold_holds_on_pairs_that_it_has_not_seen() -> None:
    """The rate of false accepts on the other half lies in the interval of what was aimed at; a
    threshold that was merely guessed (the middle between the two means) is far outside of it."""
    r = np.random.default_rng(5)
    genuine, impostors = r.normal(0.6, 0.1, 20_000), r.normal(0.1, 0.12, 400_000)
    threshold = threshold_for(impostors[:200_000], 0.001)
    held_out = rate(impostors[200_000:], threshold)
    assert held_out.low <= 0.001 <= held_out.high
    guessed = rate(impostors[200_000:], float(genuine.mean() + impostors.mean()) / 2)
    assert guessed.low > 0.01
    assert rate(genuine, threshold).share > 0.9


def test_pairs_of_the_same_people_are_not_independent() -> None:
    """Some people are like everybody. Intervals as if pairs were independent miss the true rates
    most of the time; those over people hold nearly as often as they say."""
    r = np.random.default_rng(6)

    def seen(people: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        like = r.normal(0, 0.7, people)
        scores = like[:, None] + like[None] + r.normal(0, 1, (people, people))
        upper = np.triu_indices(people, 1)
        accepted = np.zeros((people, people))
        accepted[upper] = scores[upper] >= 2.0
        compared = np.zeros((people, people))
        compared[upper] = 1.0
        return accepted, compared

    accepted, compared = seen(2000)
    true = accepted.sum() / compared.sum()
    as_pairs = over_people = 0
    for trial in range(60):
        accepted, compared = seen(60)
        low, high = clopper_pearson(int(accepted.sum()), int(compared.sum()))
        as_pairs += low <= true <= high
        low, high = interval_over_labels(accepted, compared, draws=300, seed=trial)
        over_people += low <= true <= high
    assert as_pairs < 0.7 * 60
    assert over_people > 0.85 * 60


def test_intervals_of_what_cannot_be_told_are_everything() -> None:
    assert interval_over_labels(np.zeros((1, 1)), np.zeros((1, 1))) == (0.0, 1.0)
    assert interval_over_labels(np.ones(4), np.ones(4)) == (1.0, 1.0)


def test_equal_errors_are_equal() -> None:
    r = np.random.default_rng(1)
    share, threshold = equal_error(r.normal(1, 1, 50_000), r.normal(-1, 1, 50_000))
    assert share == pytest.approx(0.1587, abs=0.005)
    assert threshold == pytest.approx(0, abs=0.05)


def test_confidence_is_the_share_of_genuine_pairs_at_a_score() -> None:
    """Two normals of equal spread have a logistic posterior: slope Δ/σ², middle between them."""
    r = np.random.default_rng(2)
    found = confidence(r.normal(0.7, 0.1, 30_000), r.normal(0.3, 0.1, 90_000))
    assert found.middle == pytest.approx(0.5, abs=0.005)
    assert found.slope == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize("genuine", [[0.9, 0.95], [0.9], [0.1]])
def test_confidence_of_few_or_separate_pairs_is_finite(genuine: list[float]) -> None:
    found = confidence(np.array(genuine), np.array([0.2, 0.3, 0.3]))
    told = found.of(np.array([-1.0, 0.2, 0.9, 5.0]))
    assert np.isfinite(told).all()
    assert (np.diff(told) >= 0).all()
