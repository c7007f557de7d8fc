"""Classification, calibration, clusters and hubs: by hand, and by counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from app.evaluation.classes import (
    adjusted_rand,
    calibration_error,
    mutual_information,
    purity,
    scores,
    vote,
)
from app.evaluation.hubs import hubness


def test_scores_by_hand() -> None:
    found = scores(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0]))
    assert found.accuracy == found.micro_f1 == 3 / 5
    # F1: 2·2/(3+3), 2·1/(1+2), 0
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found.mean_recall == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_a_refusal_is_wrong_for_accuracy_and_no_decision_for_f1() -> None:
    found = scores(np.array([0, 1]), np.array([0, -1]))
    assert found.accuracy == 1 / 2
    assert found.micro_f1 == pytest.approx(2 / 3)
    assert found.mean_recall == 1 / 2
    nobody = scores(np.array([0, 1]), np.array([-1, -1]))
    assert (nobody.accuracy, nobody.macro_f1, nobody.micro_f1) == (0, 0, 0)


def test_rare_classes_weigh_in_macro_f1_only() -> None:
    truth = np.array([0] * 98 + [1, 2])
    lazy = scores(truth, np.zeros(100, int))
    assert lazy.accuracy == 0.98
    assert lazy.macro_f1 < 0.34


def test_calibration() -> None:
    right = np.array([True, True, False, False])
    assert calibration_error(np.array([1, 1, 0, 0]), right) == 0
    assert calibration_error(np.array([0.5] * 4), right) == 0
    assert calibration_error(np.array([0.9] * 4), right) == pytest.approx(0.4)
    assert calibration_error(np.array([0.9, 0.9, 0.3, 0.3]), right) == pytest.approx(0.2)


def test_votes() -> None:
    assert vote(["a", "b", "b"], [0.9, 0.4, 0.4]) == ("a", pytest.approx(0.9 / 1.7))
    assert vote(["b", "a"], [0.5, 0.5]) == ("b", 0.5)
    assert vote(["b", "a", "a"], [-1, -2, -3]) == ("a", pytest.approx(2 / 3))
    assert vote([], []) == (None, 0)


def test_clusters_equal_counting_of_pairs() -> None:
    rng = np.random.default_rng(4)
    truth, groups = rng.integers(4, size=60), rng.integers(3, size=60)
    together = [
        (truth[i] == truth[j], groups[i] == groups[j]) for i, j in combinations(range(60), 2)
    ]
    both = sum(a and b for a, b in together)
    one, other = sum(a for a, _ in together), sum(b for _, b in together)
    chance = one * other / len(together)
    expected = (both - chance) / ((one + other) / 2 - chance)
    assert adjusted_rand(truth, groups) == pytest.approx(expected)
    assert abs(expected) < 0.1
    assert 0 < mutual_information(truth, groups) < 0.15


def test_the_same_groups_by_other_names() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    renamed = np.array([7, 7, 0, 0, 3])
    for measure in (adjusted_rand, mutual_information, purity):
        assert measure(truth, renamed) == pytest.approx(1)
    one = np.zeros(5, int)
    assert adjusted_rand(truth, one) == pytest.approx(0)
    assert mutual_information(truth, one) == pytest.approx(0)
    assert purity(truth, one) == 2 / 5


def test_hubs_show_in_the_skew() -> None:
    rng = np.random.default_rng(6)
    even = np.bincount(rng.integers(500, size=5000), minlength=500)
    hubs = even.copy()
    hubs[:5] += 400
    assert abs(hubness(even).skew) < 1 < 5 < hubness(hubs).skew
    assert hubness(np.array([0, 0, 0, 4])) == (pytest.approx(1.1547, abs=1e-4), 4, 0.75)
    assert hubness(np.array([2, 2])).skew == 0
