"""Measures: against definitions spelled out by hand, and their laws."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.measures import ndcg, spearman

NUMBERS = st.lists(st.integers(-50, 50), min_size=3, max_size=30)


def test_spearman_is_the_correlation_of_ranks_with_ties_shared() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: Σdd' / √(Σd² Σd'²) by hand
    one, other = np.array([1, 5, 5, 9]), np.array([0.1, 0.2, 0.3, 0.4])
    assert spearman(one, other) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


@given(NUMBERS)
def test_spearman_sees_only_the_order(values: list[int]) -> None:
    ones = np.array(values, np.float64)
    if len(set(values)) > 1:
        assert spearman(ones, np.exp(ones / 20)) == pytest.approx(1)
        assert spearman(ones, -(ones**3)) == pytest.approx(-1)
    else:
        assert math.isnan(spearman(ones, ones))


def test_ndcg_by_hand() -> None:
    gains = {"a": 2.0, "b": 1.0, "c": 1.0}
    found = 1 / math.log2(2) + 2 / math.log2(4)
    due = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["b", "x", "a"], gains, 10) == pytest.approx(found / due)
    assert ndcg(["b", "x", "a"], gains, 1) == pytest.approx(1 / 2)
    assert math.isnan(ndcg(["a"], {}, 10))
    assert math.isnan(ndcg(["a"], {"a": 0.0}, 10))


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3), min_size=1), st.integers(1, 6))
def test_no_order_is_better_than_the_best_one(gains: dict[str, int], k: int) -> None:
    reached = [ndcg(order, gains, k) for order in permutations("abcde")]
    ideal = sorted("abcde", key=lambda one: -gains.get(one, 0))
    assert max(reached) == pytest.approx(1)
    assert ndcg(ideal, gains, k) == pytest.approx(1)
    assert min(reached) >= 0
