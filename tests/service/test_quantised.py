"""Vectors in fewer bits keep the rules that the documentation states, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.service.quantised import quantise

finite = st.floats(-(2.0**100), 2.0**100, width=32)
matrices = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=finite)


@given(matrices)
def test_bytes_are_the_rounded_shares_of_the_largest_number(vectors: NDArray[np.float32]) -> None:
    codes = quantise(vectors, "int8")
    for row, code in zip(vectors.astype(np.float64), codes, strict=True):
        largest = np.abs(row).max()
        exact = row / largest * 127 if largest else row
        assert np.abs(code - exact).max() <= 0.5 + 1e-4
        assert not largest or np.abs(code).max() == 127
    lifted = quantise(vectors, "uint8")
    np.testing.assert_array_equal(lifted.astype(np.int16) - 128, codes)
    assert (codes.dtype, lifted.dtype) == (np.int8, np.uint8)


@given(matrices)
def test_bits_say_which_numbers_are_above_zero(vectors: NDArray[np.float32]) -> None:
    bits = quantise(vectors, "ubinary")
    unpacked = np.unpackbits(bits, axis=1)
    np.testing.assert_array_equal(unpacked[:, : vectors.shape[1]], vectors > 0)
    assert not unpacked[:, vectors.shape[1] :].any()
    binary = quantise(vectors, "binary")
    np.testing.assert_array_equal(binary.astype(np.int16) + 128, bits)


@pytest.mark.parametrize("dimension", [32, 384, 1024])
def test_eight_bits_keep_the_cosine(dimension: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((200, dimension)).astype(np.float32)
    codes = quantise(vectors, "int8").astype(np.float64)
    cosines = np.einsum("ij,ij->i", vectors, codes) / (
        np.linalg.norm(vectors, axis=1) * np.linalg.norm(codes, axis=1)
    )
    assert cosines.min() > 0.9998
