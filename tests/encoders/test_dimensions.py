"""Shorter vectors: which are allowed, and what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.base import EncoderInfo
from app.encoders.dimensions import lengths_in_words, makes, shortened

INFO = EncoderInfo("m", 8, 9, "text", "ready", "", 0, "tests", "m@1")


@given(st.integers(-2, 10))
def test_an_encoder_makes_its_own_length_and_those_it_was_made_for(dimension: int) -> None:
    assert makes(INFO, dimension) == (dimension == 8)
    assert makes(replace(INFO, dimensions=(2, 4)), dimension) == (dimension in (2, 4, 8))
    assert makes(replace(INFO, dimensions="any"), dimension) == (1 <= dimension <= 8)


def test_the_lengths_are_said_in_words() -> None:
    assert lengths_in_words(INFO) == "8 numbers"
    assert lengths_in_words(replace(INFO, dimensions=(2, 4))) == "2, 4, 8 numbers"
    assert lengths_in_words(replace(INFO, dimensions="any")) == "1 to 8 numbers"


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_cut_vectors_are_the_first_numbers_at_length_one(dimension: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32)
    cut = shortened(vectors, dimension, renormalise=True)
    assert cut.flags.c_contiguous
    assert cut.dtype == np.float32
    if dimension < 8:
        first = vectors[:, :dimension].astype(np.float64)
        expected = first / np.linalg.norm(first, axis=1, keepdims=True)
        np.testing.assert_allclose(cut, expected, atol=1e-6)
        plain = shortened(vectors, dimension, renormalise=False)
        np.testing.assert_array_equal(plain, vectors[:, :dimension])


def test_whole_vectors_are_not_touched() -> None:
    vectors = np.ones((2, 8), np.float32)
    assert shortened(vectors, 8, renormalise=True) is vectors


@pytest.mark.parametrize("renormalise", [True, False])
def test_zeros_stay_zeros(renormalise: bool) -> None:
    assert not shortened(np.zeros((1, 8), np.float32), 3, renormalise=renormalise).any()
