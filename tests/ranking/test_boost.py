"""Factors of attributes: the documented formulas by golden values, and what holds for all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.boost import DECAYS, LARGEST, MIXES, MODIFIERS, boosted, decayed, mixed, modified

NAN = float("nan")


@pytest.mark.parametrize(
    ("how", "apart", "expected"),
    [
        # origin 0, offset 2, scale 10, decay .5: worked out by hand
        ("exp", [0, 2, 12, 22, 7], [1, 1, 0.5, 0.25, math.sqrt(0.5)]),
        ("gauss", [0, 2, 12, 22, 7], [1, 1, 0.5, 0.0625, 0.5**0.25]),
        ("linear", [0, 2, 12, 22, 7, 23], [1, 1, 0.5, 0, 0.75, 0]),
    ],
)
def test_decay_by_golden_values(how: str, apart: list[float], expected: list[float]) -> None:
    found = decayed(np.array(apart, dtype=float), how, scale=10, offset=2, decay=0.5)
    assert found.tolist() == pytest.approx(expected)


def test_decay_as_the_documentation_writes_it() -> None:
    scale, offset, decay, apart = 7.0, 1.5, 0.33, 5.0
    past = max(0.0, apart - offset)
    sigma2 = -(scale**2) / (2 * math.log(decay))
    lambda_ = math.log(decay) / scale
    s = scale / (1 - decay)
    one = np.array([apart])
    assert decayed(one, "gauss", scale, offset, decay)[0] == pytest.approx(
        math.exp(-(past**2) / (2 * sigma2))
    )
    assert decayed(one, "exp", scale, offset, decay)[0] == pytest.approx(math.exp(lambda_ * past))
    assert decayed(one, "linear", scale, offset, decay)[0] == pytest.approx(max((s - past) / s, 0))


@given(
    st.sampled_from(DECAYS),
    st.lists(st.floats(0, 1e300), min_size=1),
    st.floats(1e-6, 1e9),
    st.floats(0, 1e9),
    st.floats(0.001, 0.999),
)
def test_decay_falls_and_stays_a_share(
    how: str, apart: list[float], scale: float, offset: float, decay: float
) -> None:
    found = decayed(np.sort(np.array(apart)), how, scale, offset, decay)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) <= 1e-12).all()
    assert (
        decayed(np.array([offset + scale]), how, scale, offset, decay)[0]
        == pytest.approx(decay, rel=1e-3)
        or offset > 1e6 * scale
    )
    assert np.isnan(decayed(np.array([NAN]), how, scale, offset, decay)[0])


@pytest.mark.parametrize(
    ("modifier", "expected"),
    [
        ("none", 3.0), ("log", math.log10(3)), ("log1p", math.log10(4)), ("log2p", math.log10(5)),
        ("ln", math.log(3)), ("ln1p", math.log(4)), ("ln2p", math.log(5)), ("square", 9.0),
        ("sqrt", math.sqrt(3)), ("reciprocal", 1 / 3),
    ],
)  # fmt: skip
def test_modifiers_by_golden_values(modifier: str, expected: float) -> None:
    assert modified(np.array([2.0]), modifier, 1.5)[0] == pytest.approx(expected)


def test_every_modifier_has_its_golden_value_and_no_value_is_told_apart() -> None:
    assert len(MODIFIERS) == 10
    assert np.isnan(modified(np.array([-1.0, 0.0, NAN]), "log")).all()  # log 0 is −∞: no number
    assert modified(np.array([0.5]), "log").tolist() == [0.0]  # −.3 counts as 0
    assert modified(np.array([1e200]), "square").tolist() != [LARGEST]  # past float64: nothing
    assert modified(np.array([1e100]), "none").tolist() == [LARGEST]


FACTORS = np.array([[2.0, NAN, NAN], [3.0, 0.5, NAN]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("multiply", [2 * 3 * 4, 2, 1]), ("sum", [2 + 12, 2, 1]), ("avg", [14 / 5, 0.5, 1]),
        ("first", [2, 2, 1]), ("max", [12, 2, 1]), ("min", [2, 2, 1]),
    ],
)  # fmt: skip
def test_several_functions_are_mixed(how: str, expected: list[float]) -> None:
    assert mixed(FACTORS, [1, 4], how).tolist() == pytest.approx(expected)


def test_every_mix_is_tested_and_no_function_at_all_is_neutral() -> None:
    for how in MIXES:
        assert mixed(np.full((1, 2), NAN), [3], how).tolist() == [1, 1]


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=2).map(sorted),
    st.lists(st.floats(0, 10), min_size=2, max_size=2).map(sorted),
)
def test_a_product_never_turns_an_order_around(scores: list[float], factors: list[float]) -> None:
    """A larger factor is never worse, nor is a larger score: also below zero."""
    for factor in factors:
        low, high = boosted(np.array(scores), np.full(2, factor), "multiply")
        assert low <= high
    for score in scores:
        low, high = boosted(np.full(2, score), np.array(factors), "multiply")
        assert low <= high


def test_a_plain_product_would_turn_it_around() -> None:
    scores, factors = np.array([-4.0, -4.0]), np.array([2.0, 1.0])
    plain, ours = scores * factors, boosted(scores, factors, "multiply")
    assert plain[0] < plain[1]  # the boosted one lies behind
    assert ours.tolist() == [-2.0, -4.0]  # half the distance


def test_the_other_modes() -> None:
    scores, factors = np.array([-1.0, 0.5]), np.array([2.0, 0.1])
    found = {
        mode: boosted(scores, factors, mode).tolist()
        for mode in ("sum", "avg", "max", "min", "replace")
    }
    assert found == {
        "sum": [1.0, 0.6], "avg": [0.5, 0.3], "max": [2.0, 0.5], "min": [-1.0, 0.1],
        "replace": [2.0, 0.1],
    }  # fmt: skip
