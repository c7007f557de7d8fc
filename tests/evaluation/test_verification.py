"""Verification: golden curves, and every measure once more by counting pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.verification import eer, roc, roc_auc, separation, tar_at_far, ten_fold

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
SAME = np.array([True, True, False, True, False, False])


def test_values_by_hand() -> None:
    curve = roc(SCORES, SAME)
    assert curve.far.tolist() == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert curve.tar.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert roc_auc(curve) == pytest.approx(8 / 9)
    assert tar_at_far(curve, 0.1) == pytest.approx(2 / 3)
    assert tar_at_far(curve, 1 / 3) == 1
    assert eer(curve) == pytest.approx(1 / 3)
    assert separation(SCORES, SAME, 0) == pytest.approx(0.6 - 0.7)


def test_ties_are_one_step() -> None:
    curve = roc(np.array([0.5, 0.5]), np.array([True, False]))
    assert (curve.far.tolist(), curve.tar.tolist()) == ([0, 1], [0, 1])
    assert roc_auc(curve) == eer(curve) == 0.5
    assert tar_at_far(curve, 0.5) == 0  # no threshold accepts just one of them


pairs = st.lists(
    st.tuples(st.integers(0, 9).map(lambda n: n / 9), st.booleans()), min_size=2, max_size=40
).filter(lambda found: 0 < sum(same for _, same in found) < len(found))


@given(pairs)
def test_measures_equal_counting(found: list[tuple[float, bool]]) -> None:
    scores, same = np.array([s for s, _ in found]), np.array([g for _, g in found])
    curve = roc(scores, same)
    equal, different = scores[same], scores[~same]
    above = (equal[:, None] > different).mean() + (equal[:, None] == different).mean() / 2
    assert roc_auc(curve) == pytest.approx(above)
    for far in (0, 0.1, 0.5, 1):
        fitting = [t for t in [*scores, np.inf] if (different >= t).mean() <= far + 1e-12]
        assert tar_at_far(curve, far) == pytest.approx(max((equal >= t).mean() for t in fitting))
    # where the line through all steps meets that of as many errors of either kind
    steps = np.linspace(0, curve.far.size - 1, 4000)
    far = np.interp(steps, np.arange(curve.far.size), curve.far)
    tar = np.interp(steps, np.arange(curve.far.size), curve.tar)
    assert eer(curve) == pytest.approx(far[np.argmin(np.abs(far - (1 - tar)))], abs=0.02)


@given(pairs)
def test_a_monotone_change_of_scores_changes_nothing(found: list[tuple[float, bool]]) -> None:
    scores, same = np.array([s for s, _ in found]), np.array([g for _, g in found])
    one, other = roc(scores, same), roc(np.exp(scores) * 5, same)
    assert roc_auc(one) == pytest.approx(roc_auc(other))
    assert eer(one) == pytest.approx(eer(other))


def test_ten_folds_choose_their_threshold_elsewhere() -> None:
    rng = np.random.default_rng(0)
    same = np.arange(400) % 2 == 0
    mean, error = ten_fold(rng.normal(size=400) + 3 * same, same)
    assert 0.9 < mean < 0.97
    assert 0 < error < 0.03
    perfect, none = ten_fold(same.astype(float), same)
    assert (perfect, none) == (1, 0)
    # with pure noise a threshold learned on the same pairs would do better than chance
    assert ten_fold(rng.normal(size=400), same)[0] < 0.56
    assert np.isnan(ten_fold(np.arange(8.0), np.arange(8) > 3)[0])


def test_easy_negatives_change_a_rate_and_hard_ones_the_gap() -> None:
    """TAR at a FAR moves when negatives are added; the gap tells which kind they were."""
    rng = np.random.default_rng(1)
    same = np.repeat([True, False], 500)
    scores = np.where(same, rng.normal(0.7, 0.1, 1000), rng.normal(0.2, 0.1, 1000))
    easy = np.concatenate((scores, rng.normal(-0.3, 0.05, 500)))
    hard = np.concatenate((scores, rng.normal(0.6, 0.05, 500)))
    kinds = np.concatenate((same, np.zeros(500, bool)))
    assert separation(easy, kinds) >= separation(scores, same) > 0
    assert separation(hard, kinds) < 0
    assert tar_at_far(roc(hard, kinds), 0.01) < tar_at_far(roc(easy, kinds), 0.01) - 0.3


def test_the_gap_shrinks_as_labels_get_wrong() -> None:
    rng = np.random.default_rng(2)
    same = np.repeat([True, False], 1000)
    scores = np.where(same, rng.normal(0.8, 0.1, 2000), rng.normal(0.1, 0.1, 2000))
    gaps = []
    for share in (0.0, 0.02, 0.06, 0.15):
        wrong = rng.random(2000) < share
        gaps.append(separation(scores, same ^ wrong, 0.02))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0 < gaps[0]
