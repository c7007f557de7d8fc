"""Probabilities from scores: golden values, monotone, and nearer to the truth than the scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.evaluation.classes import calibration_error
from app.ranking.calibration import (
    METHODS,
    calibration_from,
    crossed,
    fit,
    isotonic,
    margin_scale,
    platt,
)
from app.types import F64


def planted(count: int, seed: int) -> tuple[F64, np.ndarray]:
    """Cosines that run from .2 to .9, and match with probability logistic(12 s − 8)."""
    dice = np.random.default_rng(seed)
    scores = dice.uniform(0.2, 0.9, size=count)
    return scores, dice.uniform(size=count) < 1 / (1 + np.exp(8 - 12 * scores))


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_probabilities_are_nearer_than_raw_scores(method: str) -> None:
    scores, matches = planted(2_000, seed=1)
    others, known = planted(5_000, seed=2)
    raw = calibration_error(others, known)
    found = calibration_error(fit(method, scores, matches)(others), known)
    assert raw > 0.12
    assert found < raw / 3
    held = calibration_error(crossed(method, scores, matches), matches)
    assert held < calibration_error(scores, matches) / 3


def test_platt_finds_the_curve() -> None:
    found = platt(*planted(20_000, seed=3))
    assert (found.slope, found.offset) == pytest.approx((12, -8), rel=0.06)


def test_platt_of_what_a_threshold_separates_stays_finite() -> None:
    """Golden: two pairs at ±1 with targets 2/3 and 1/3 make a slope of log 2."""
    found = platt(np.array([-1.0, 1.0]), np.array([False, True]))
    assert (found.slope, found.offset) == pytest.approx((np.log(2), 0.0))


def test_platt_never_falls() -> None:
    found = platt(np.array([0.1, 0.2, 0.8, 0.9]), np.array([True, True, False, False]))
    assert found.slope == 0
    assert found(np.array([0.0, 1.0])) == pytest.approx([0.5, 0.5])


def test_isotonic_pools_what_falls() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = isotonic(scores, np.array([False, True, False, True, True]))
    assert found(scores) == pytest.approx([0.0, 0.5, 0.5, 1.0, 1.0])
    assert found(np.array([-9.0, 1.5, 3.5, 9.0])) == pytest.approx([0.0, 0.25, 0.75, 1.0])


@given(
    scores=arrays(np.float64, st.integers(2, 60), elements=st.floats(-5, 5, width=32)),
    data=st.data(),
    method=st.sampled_from(METHODS),
)
def test_it_never_turns_an_order_and_survives_json(
    scores: F64, data: st.DataObject, method: str
) -> None:
    flags = st.booleans()
    matches = data.draw(arrays(np.bool_, scores.size, elements=flags))
    matches[0], matches[-1] = True, False
    found = fit(method, scores, matches)
    asked = np.sort(np.concatenate([scores, np.linspace(-9, 9, 50)]))
    values = found(asked)
    assert (np.diff(values) >= -1e-12).all()
    assert (values >= 0).all()
    assert (values <= 1).all()
    again = calibration_from(json.loads(json.dumps(found.json())))
    np.testing.assert_array_equal(again(asked), values)


wide = st.floats(-1e30, 1e30)


@given(
    scores=arrays(np.float64, st.integers(2, 20), elements=wide | st.floats(-1e-300, 1e-300)),
    method=st.sampled_from(METHODS),
)
def test_scores_of_any_size_make_curves_that_can_be_kept(scores: F64, method: str) -> None:
    matches = np.arange(scores.size) % 2 == 0
    again = calibration_from(json.loads(json.dumps(fit(method, scores, matches).json())))
    values = again(np.append(scores, [-1e38, 1e38]))
    assert ((values >= 0) & (values <= 1)).all()


def test_what_is_unknown_stays_unknown() -> None:
    for method in METHODS:
        found = fit(method, np.array([0.1, 0.2]), np.array([False, True]))
        assert np.isnan(found(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"method": "platt", "slope": 1},
        {"method": "platt", "slope": -1, "offset": 0},
        {"method": "platt", "slope": True, "offset": 0},
        {"method": "platt", "slope": float("nan"), "offset": 0},
        {"method": "isotonic", "scores": [], "values": []},
        {"method": "isotonic", "scores": [1, 1], "values": [0, 1]},
        {"method": "isotonic", "scores": [1, 2], "values": [1, 0]},
        {"method": "isotonic", "scores": [1, 2], "values": [0, 2]},
        {"method": "isotonic", "scores": [1, "2"], "values": [0, 1]},
        {"method": "isotonic", "scores": "12", "values": "01"},
        {"method": "isotonic", "scores": [1, 2], "values": [0, float("inf")]},
    ],
)
def test_what_is_no_calibration_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="not"):
        calibration_from(raw)


def test_error_of_known_bins() -> None:
    probabilities = np.array([0.1, 0.1, 0.9, 0.9])
    matches = np.array([False, True, True, True])
    assert calibration_error(probabilities, matches, bins=2) == pytest.approx(0.25)
    assert calibration_error(np.array([2.0, -1.0]), np.array([True, False])) == 0


def test_margin_scale_golden() -> None:
    assert margin_scale(np.array([0.8]), 1_000) == pytest.approx(np.log(999 * 9) / 0.2)
    assert margin_scale(np.array([0.1]), 2) == 32
