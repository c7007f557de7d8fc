"""Heads that know different classes: fused they beat the best of them, fitted they beat uniform."""

from __future__ import annotations

import numpy as np
import pytest

from app.ranking.class_fusion import contributions, fit_weights, fused, weighted
from app.types import F64, I64

HEADS, CLASSES = 3, 6


def pooled(probabilities: F64, weights: F64 | None = None) -> F64:
    """The linear pool of all heads."""
    heads, _, classes = probabilities.shape
    own = np.ones((heads, classes)) if weights is None else weights
    return weighted(probabilities, own).sum(axis=0)


def planted(count: int, seed: int) -> tuple[F64, I64]:
    """Head m tells classes 2m and 2m+1 apart from everything; for others it says noise, loudly."""
    dice = np.random.default_rng(seed)
    labels = dice.integers(CLASSES, size=count)
    logits = dice.normal(scale=2.0, size=(HEADS, count, CLASSES))
    for head in range(HEADS):
        for own in (2 * head, 2 * head + 1):
            logits[head, :, own] = np.where(labels == own, 4.0, -2.0) + dice.normal(size=count)
    raised = np.exp(logits)
    return raised / raised.sum(axis=2, keepdims=True), labels


def macro_f1(predicted: I64, labels: I64) -> float:
    found = []
    for one in range(CLASSES):
        both = np.sum((predicted == one) & (labels == one))
        found.append(2 * both / (np.sum(predicted == one) + np.sum(labels == one)))
    return float(np.mean(found))


def test_fused_beats_the_best_head_and_fitted_beats_uniform() -> None:
    trained, known = planted(300, seed=1)
    tested, labels = planted(3_000, seed=2)
    weights = fit_weights(trained, known)
    assert (weights >= 0).all()
    best_head = max(macro_f1(head.argmax(axis=1), labels) for head in tested)
    uniform = macro_f1(pooled(tested).argmax(axis=1), labels)
    fitted = macro_f1(fused(tested, weights).argmax(axis=1), labels)
    assert uniform > best_head + 0.1
    assert fitted > uniform + 0.05
    own = np.array([[1.0 if c // 2 == m else 0.0 for c in range(CLASSES)] for m in range(HEADS)])
    assert weights[own > 0].min() > weights[own == 0].max(), "each head is heard where it knows"


def test_what_is_fitted_is_the_least_there_is() -> None:
    """No step in any direction that is allowed makes the objective less."""
    trained, known = planted(200, seed=3)
    weights = fit_weights(trained, known)

    def objective(w: F64) -> float:
        shares = fused(trained, w)[np.arange(known.size), known]
        apart = w - w.mean(axis=1, keepdims=True)
        penalty = (np.sum(apart**2) + 1e-3 * np.sum(w**2)) / (2 * known.size)
        return float(-np.log(shares).mean() + penalty)

    least = objective(weights)
    dice = np.random.default_rng(0)
    for _ in range(200):
        moved = np.maximum(weights + dice.normal(scale=0.05, size=weights.shape), 0)
        assert objective(moved) >= least - 1e-7


def test_a_class_without_examples_has_the_weights_of_the_others() -> None:
    trained, known = planted(300, seed=4)
    kept = known != 5
    alone = fit_weights(trained[:, kept], known[kept], shared=1e6)
    np.testing.assert_allclose(alone, np.repeat(alone[:, :1], CLASSES, axis=1), atol=1e-3)


def test_a_silent_head_has_no_part() -> None:
    probabilities, _ = planted(4, seed=5)
    silent = probabilities.copy()
    silent[1] = np.nan
    np.testing.assert_allclose(pooled(silent), pooled(probabilities[[0, 2]]))
    nothing = np.full((2, 1, 4), np.nan)
    assert not pooled(nothing).any()
    np.testing.assert_allclose(fused(nothing, np.ones((2, 4))), [[0.25] * 4])


def test_contributions_sum_to_what_is_mixed() -> None:
    probabilities, _ = planted(5, seed=6)
    weights = np.arange(HEADS * CLASSES, dtype=np.float64).reshape(HEADS, CLASSES)
    mixed = contributions(probabilities, weights).sum(axis=0)
    np.testing.assert_allclose(
        mixed / mixed.sum(axis=1, keepdims=True), pooled(probabilities, weights)
    )


def test_golden_pool() -> None:
    probabilities = np.array([[[0.8, 0.2]], [[0.3, 0.7]]])
    weights = np.array([[1.0, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(pooled(probabilities, weights), [[0.8 / 1.6, 0.8 / 1.6]])
    assert fused(probabilities, weights)[0] == pytest.approx([0.5, 0.5])
