"""GAP: the golden cases of Google Landmarks, and what it is and is not invariant to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.recognition import gap, rejection_curve


def test_values_by_hand() -> None:
    # right (.9), wrong (.8), right (.7): precisions 1, 2/3
    confidence, correct = np.array([0.7, 0.9, 0.8]), np.array([True, True, False])
    assert gap(confidence, correct, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert gap(confidence, correct, 3) == pytest.approx((1 + 2 / 3) / 3)  # one was not answered
    assert np.isnan(gap(confidence, correct, 0))
    assert gap(np.array([]), np.array([], bool), 3) == 0


def test_distractors_count_against() -> None:
    right = np.array([True, True])
    assert gap(np.array([0.9, 0.8]), right, 2) == 1
    # a query without a true answer was answered, and surer than one that has one
    sure = gap(np.array([0.9, 0.8, 0.85]), np.array([True, True, False]), 2)
    unsure = gap(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]), 2)
    assert sure == pytest.approx((1 + 2 / 3) / 2)
    assert unsure == 1


def test_of_several_predictions_the_surest_counts() -> None:
    confidence = np.array([0.9, 0.5, 0.8])
    correct = np.array([False, True, True])
    query = np.array([0, 0, 1])
    assert gap(confidence, correct, 2, query) == pytest.approx((1 / 2) / 2)
    # equally sure: the first
    tied = gap(np.array([0.9, 0.9]), np.array([True, False]), 1, np.array([0, 0]))
    assert tied == 1


def test_ties_are_one_step_in_any_order() -> None:
    confidence = np.array([0.5, 0.5, 0.5])
    for correct in ([True, False, False], [False, False, True]):
        assert gap(confidence, np.array(correct), 1) == pytest.approx(1 / 3)


def again(confidence: list[float], correct: list[bool], answerable: int) -> float:
    total = 0.0
    for score, good in zip(confidence, correct, strict=True):
        if good:
            above = [c for s, c in zip(confidence, correct, strict=True) if s >= score]
            total += sum(above) / len(above)
    return total / answerable


predictions = st.lists(
    st.tuples(st.integers(0, 12).map(lambda n: n / 12), st.booleans()), min_size=1, max_size=30
)


@given(predictions)
def test_gap_equals_an_independent_writing_of_it(found: list[tuple[float, bool]]) -> None:
    confidence, correct = [c for c, _ in found], [g for _, g in found]
    answerable = sum(correct) + 2
    expected = again(confidence, correct, answerable)
    assert gap(np.array(confidence), np.array(correct), answerable) == pytest.approx(expected)


@given(predictions)
def test_gap_does_not_see_a_monotone_change_of_all_scores(found: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([c for c, _ in found]), np.array([g for _, g in found])
    once = gap(confidence, correct, 40)
    assert gap(np.exp(3 * confidence) - 7, correct, 40) == pytest.approx(once)


def test_gap_sees_a_change_of_scores_that_differs_between_queries() -> None:
    rng = np.random.default_rng(3)
    correct = rng.random(200) < 0.5
    confidence = 0.4 * correct + rng.random(200)
    scale = rng.choice([0.1, 10], 200)  # each query's own: it changes no answer of any query
    well, badly = gap(confidence, correct, 100), gap(confidence * scale, correct, 100)
    assert badly < well - 0.1


def test_the_rejection_curve_trades_strangers_for_answers() -> None:
    thresholds, strangers, answered = rejection_curve(
        np.array([0.9, 0.8, 0.8, 0.1]),
        np.array([True, False, True, False]),
        np.array([True, False, True, True]),
    )
    assert thresholds.tolist() == [0.9, 0.8, 0.1]
    assert strangers.tolist() == [0, 1, 1]
    assert answered == pytest.approx([1 / 3, 2 / 3, 2 / 3])
