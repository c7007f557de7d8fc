"""Pooling of token vectors outside the graph."""

from __future__ import annotations

import numpy as np

from app.encoders.pooling import normalise, pool_cls, pool_mean

HIDDEN = np.array([[[1, 2], [3, 4], [100, 100]], [[5, 6], [7, 8], [9, 10]]], np.float32)


def test_the_mean_leaves_padding_out() -> None:
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int64)
    np.testing.assert_array_equal(pool_mean(HIDDEN, mask), [[2, 3], [7, 8]])


def test_cls_is_the_first_token() -> None:
    np.testing.assert_array_equal(pool_cls(HIDDEN), [[1, 2], [5, 6]])


def test_normalised_rows_have_length_one_and_zeros_stay_zeros() -> None:
    unit = normalise(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(unit, np.array([[0.6, 0.8], [0.0, 0.0]]), rtol=1e-6)
    assert unit.dtype == np.float32
