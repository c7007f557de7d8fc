"""Pooling of token vectors outside the graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.encoders.pooling import POOLS, pool

F64 = NDArray[np.float64]


def slow_pool(tokens: F64, how: str) -> F64:
    """The oracle: one text [token, dim] without padding, in float64."""
    count = len(tokens)
    places = np.arange(1, count + 1)[:, None]
    slow: dict[str, F64] = {
        "mean": tokens.sum(axis=0) / count,
        "cls": tokens[0],
        "last": tokens[count - 1],
        "max": tokens.max(axis=0),
        "mean_sqrt": tokens.sum(axis=0) / np.sqrt(count),
        "weighted_mean": (tokens * places).sum(axis=0) / places.sum(),
    }
    return slow[how]


@pytest.mark.parametrize("how", POOLS)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    share=st.integers(0, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_pool_is_the_slow_one_wherever_the_padding_is(
    how: str, lengths: list[int], extra: int, share: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    texts = [random.standard_normal((length, 3)) for length in lengths]
    width = max(lengths) + extra
    hidden = np.full((len(texts), width, 3), 1e6, np.float32)
    mask = np.zeros((len(texts), width), np.int64)
    for row, text in enumerate(texts):
        left = (width - len(text)) * share // 10
        hidden[row, left : left + len(text)] = text
        mask[row, left : left + len(text)] = 1
    expected = [slow_pool(text, how) for text in texts]
    np.testing.assert_allclose(pool(hidden, mask, how), expected, atol=1e-5)


def test_golden_vectors() -> None:
    hidden = np.array([[[1, -2], [3, 4], [100, 100]], [[5, 6], [7, 8], [9, 10]]], np.float32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int64)
    golden = {
        "mean": [[2, 1], [7, 8]],
        "cls": [[1, -2], [5, 6]],
        "last": [[3, 4], [9, 10]],
        "max": [[3, 4], [9, 10]],
        "mean_sqrt": [[4 / 2**0.5, 2 / 2**0.5], [21 / 3**0.5, 24 / 3**0.5]],
        "weighted_mean": [[7 / 3, 2], [46 / 6, 52 / 6]],
        "cls+max": [[1, -2, 3, 4], [5, 6, 9, 10]],
    }
    for how, expected in golden.items():
        pooled = pool(hidden, mask, how)
        assert pooled.dtype == np.float32
        np.testing.assert_allclose(pooled, expected, rtol=1e-6, err_msg=how)
    assert set(golden) > set(POOLS)
