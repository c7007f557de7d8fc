"""The fidelity of a smaller form, on vectors whose distance is planted."""

from __future__ import annotations

import numpy as np
import pytest

from app.encoders.fidelity import compare

RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((200, 32)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def test_a_model_is_wholly_faithful_to_itself() -> None:
    found = compare(VECTORS, VECTORS)
    assert (found.texts, found.neighbours) == (200, 1.0)
    assert found.least == pytest.approx(1, abs=1e-6)


def test_one_bad_text_shows_in_the_least_and_hardly_in_the_mean() -> None:
    other = VECTORS.copy()
    other[7] = -other[7]
    found = compare(VECTORS, other)
    assert found.least == pytest.approx(-1, abs=1e-6)
    assert found.mean == pytest.approx(0.99, abs=1e-6)
    assert found.p01 > 0


def test_noise_costs_neighbours_before_cosine() -> None:
    noisy = VECTORS + 0.05 * RNG.standard_normal(VECTORS.shape).astype(np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    found = compare(VECTORS, noisy)
    assert found.mean > 0.95
    assert found.neighbours is not None
    assert 0.5 < found.neighbours < 0.95
    unrelated = compare(VECTORS, VECTORS[::-1].copy())
    assert unrelated.neighbours is not None
    assert unrelated.neighbours < 0.2


def test_few_texts_have_no_neighbours_to_speak_of() -> None:
    assert compare(VECTORS[:5], VECTORS[:5]).neighbours is None
