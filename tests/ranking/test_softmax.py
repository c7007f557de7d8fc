"""The one operator of soft selection: its limits, its ties, and what takes no part."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.ranking.softmax import softmax_topk

SCORES = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-1, 1)
)
TAUS = st.sampled_from([0.01, 0.1, 1.0, 100.0])


@given(SCORES, TAUS, st.integers(1, 12))
def test_weights_sum_to_one_on_at_most_k_of_the_largest(
    scores: np.ndarray, tau: float, k: int
) -> None:
    weights = softmax_topk(scores, tau, k)
    assert np.allclose(weights.sum(axis=1), 1)
    kept = weights > 0
    assert (kept.sum(axis=1) <= k).all()
    for row, chosen in zip(scores, kept, strict=True):
        assert chosen.all() or row[chosen].min() >= row[~chosen].max() or k > chosen.sum()


@given(SCORES, TAUS)
def test_k_of_all_is_dense_softmax(scores: np.ndarray, tau: float) -> None:
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / tau)
    dense = powers / powers.sum(axis=1, keepdims=True)
    n = scores.shape[1]
    for k in (None, n, n + 3):
        assert np.allclose(softmax_topk(scores, tau, k), dense)


@given(SCORES, TAUS)
def test_k_of_one_is_argmax(scores: np.ndarray, tau: float) -> None:
    weights = softmax_topk(scores, tau, 1)
    assert (weights.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert ((weights == 0) | (weights == 1)).all()


def test_of_equal_scores_at_the_border_the_first_are_kept() -> None:
    weights = softmax_topk(np.array([0.5, 0.9, 0.5, 0.5]), 1.0, 3)
    assert (weights > 0).tolist() == [True, True, True, False]


@given(SCORES, st.integers(1, 5), st.data())
def test_what_is_masked_or_nan_might_as_well_not_be_there(
    scores: np.ndarray, k: int, data: st.DataObject
) -> None:
    mask = data.draw(arrays(np.bool_, scores.shape))
    unknown = np.where(mask, scores, np.nan)
    for weights in (softmax_topk(scores, 0.1, k, mask), softmax_topk(unknown, 0.1, k)):
        for row, seen, got in zip(scores, mask, weights, strict=True):
            assert (got[~seen] == 0).all()
            if seen.any():
                assert np.allclose(got[seen], softmax_topk(row[seen], 0.1, k))
            else:
                assert (got == 0).all()


def test_an_infinite_tau_shares_evenly_among_the_k_best() -> None:
    weights = softmax_topk(np.array([0.1, 0.9, 0.5]), np.inf, 2)
    assert weights.tolist() == [0.0, 0.5, 0.5]


def test_a_tiny_tau_takes_the_best_without_overflow() -> None:
    assert softmax_topk(np.array([-1.0, 1.0, 0.9]), 1e-300).tolist() == [0.0, 1.0, 0.0]
