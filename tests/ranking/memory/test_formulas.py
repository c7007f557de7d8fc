"""Formulas of memories against loops that are written as they are read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.ranking.class_fusion import weighted
from app.ranking.memory.caches import (
    affinities,
    blended,
    unlabelled_cache,
    usual_shots,
)
from app.ranking.memory.composing import all_pairs, paired, softly
from app.ranking.memory.decisions import best_temperature, f1_thresholds, margins
from app.ranking.memory.prototypes import (
    borrowed,
    left_out,
    moved,
    unit,
    without_group_means,
)
from app.ranking.memory.votes import voting_weights
from app.types import F64

ROWS = arrays(np.float64, (6, 4), elements=st.integers(-5, 5).map(float))


# ── TFUP, once more and slowly ───────────────────────────────────────────────────────────────


def softmax(row: F64) -> F64:
    raised = np.exp(row - row.max())
    return np.asarray(raised / raised.sum())


def kl(p: F64, q: F64) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def reference_logits(
    queries: F64, points: F64, classes: F64, shots: int, alpha: float, beta: float
) -> F64:
    """The published recipe, step by step, z-scores and all."""
    told = [softmax(10 * classes @ point) for point in points]
    keys: list[tuple[int, int]] = []
    for label in range(len(classes)):
        surest = sorted(range(len(points)), key=lambda n: -told[n][label])[: 2 * shots]
        usual = sorted(surest, key=lambda n: sum(kl(told[n], told[m]) for m in surest))
        keys += [(n, label) for n in usual[:shots]]
    logits = np.zeros((len(queries), len(classes)))
    for number, query in enumerate(queries):
        own = softmax(10 * classes @ query)
        divergence = np.array([kl(own, told[n]) for n, _ in keys])
        z = (divergence - divergence.mean()) / divergence.std(ddof=1)
        sim = 2 * (1 - (z - z.min()) / (z.max() - z.min()))
        logits[number] = 100 * classes @ query
        for (n, label), alike in zip(keys, sim, strict=True):
            near = float(query @ points[n]) * alike
            logits[number, label] += alpha * math.exp(-(beta - beta * near))
    return logits


def test_the_unlabelled_cache_is_the_published_one() -> None:
    r = np.random.default_rng(0)
    queries, points = unit(r.standard_normal((7, 16))), unit(r.standard_normal((80, 16)))
    classes = unit(r.standard_normal((5, 16)))
    cache = unlabelled_cache(points, classes, 6)
    weights = affinities(queries, cache, classes, 1.0, labelled=False)
    found = blended(queries, classes, cache, weights, alpha=0.3)
    assert found == pytest.approx(reference_logits(queries, points, classes, 6, 0.3, 1.0), abs=1e-9)
    assert np.abs(found - 100 * queries @ classes.T).max() > 0.5
    none = blended(queries, classes, cache, weights, alpha=0.0)
    assert none == pytest.approx(100 * queries @ classes.T)


def test_the_labelled_cache_adds_affinities_of_labels() -> None:
    r = np.random.default_rng(1)
    queries, points = unit(r.standard_normal((3, 8))), unit(r.standard_normal((10, 8)))
    classes = unit(r.standard_normal((4, 8)))
    cache = unlabelled_cache(points, classes, 2)._replace(
        keys=points, values=np.arange(10) % 4, places=np.arange(10)
    )
    weights = affinities(queries, cache, classes, 5.5, labelled=True)
    found = blended(queries, classes, cache, weights, alpha=2.0, scale=50.0)
    wanted = 50 * queries @ classes.T
    for n in range(3):
        for m in range(10):
            wanted[n, m % 4] += 2 * math.exp(-5.5 * (1 - queries[n] @ points[m]))
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(("points", "shots"), [(10, 9), (400, 12), (10_000, 16)])
def test_shots_are_between_nine_and_sixteen(points: int, shots: int) -> None:
    assert usual_shots(points, 10) == shots


# ── prototypes ───────────────────────────────────────────────────────────────────────────────


@given(ROWS, st.lists(st.integers(0, 2), min_size=6, max_size=6),
       st.lists(st.integers(0, 2), min_size=6, max_size=6))  # fmt: skip
def test_centred_means_are_means_of_centred_items(
    rows: F64, classes: list[int], groups: list[int]
) -> None:
    y, p = np.array(classes), np.array(groups)
    of_groups = np.stack(
        [rows[p == g].mean(0) if (p == g).any() else np.zeros(4) for g in range(3)]
    )
    centred = rows - of_groups[p]
    means = np.stack([rows[y == c].mean(0) if (y == c).any() else np.zeros(4) for c in range(3)])
    counts = np.array([[((y == c) & (p == g)).sum() for g in range(3)] for c in range(3)])
    found = without_group_means(means, counts, of_groups)
    for c in range(3):
        if (y == c).any():
            assert found[c] == pytest.approx(centred[y == c].mean(0), abs=1e-9)


@given(ROWS, st.integers(1, 5))
def test_moving_by_one_nth_is_the_mean_and_leaving_out_undoes_it(rows: F64, first: int) -> None:
    mean, count = moved(rows[:first].mean(0), first, rows[first:])
    assert count == 6
    assert mean == pytest.approx(rows.mean(0), abs=1e-9)
    rest = left_out(mean, 6, rows[5])
    assert rest is not None
    assert rest == pytest.approx(rows[:5].mean(0), abs=1e-9)
    assert left_out(rows[0], 1, rows[0]) is None


@pytest.mark.parametrize("momentum", [0.05, 0.2])
def test_a_class_that_moves_is_followed_and_not_by_the_mean(momentum: float) -> None:
    steps = np.arange(400)[:, None] * np.array([[1.0, 0.0]])
    mean, _ = moved(steps[0], 1, steps[1:], momentum)
    assert 399 - mean[0] <= 1 / momentum + 1e-6
    plain, _ = moved(steps[0], 1, steps[1:])
    assert 399 - plain[0] > 150


def test_borrowed_examples_have_the_mean_of_the_class_and_the_spread_of_others() -> None:
    r = np.random.default_rng(2)
    heads = r.standard_normal((500, 3)) * [1, 2, 3] + 7
    made = borrowed(np.array([1.0, 0.0, 0.0]), heads, np.broadcast_to(heads.mean(0), heads.shape))
    assert made.mean(0) == pytest.approx([1, 0, 0], abs=1e-9)
    assert np.cov(made.T) == pytest.approx(np.cov(heads.T))


# ── decisions ────────────────────────────────────────────────────────────────────────────────


@given(
    arrays(np.float64, (9, 2), elements=st.integers(0, 6).map(lambda n: n / 6)),
    arrays(np.int64, (9, 2), elements=st.integers(0, 1)),
)
def test_no_threshold_has_a_better_f1(scores: F64, truth: np.ndarray) -> None:  # type: ignore[type-arg]
    found, reached = f1_thresholds(scores, truth)

    def f1(label: int, threshold: float) -> float:
        given = scores[:, label] >= threshold
        held = truth[:, label] == 1
        return float(2 * (given & held).sum() / max(given.sum() + held.sum(), 1))

    for label in range(2):
        if not truth[:, label].any():
            assert found[label] == np.inf
            continue
        assert f1(label, found[label]) == pytest.approx(reached[label])
        for threshold in {*scores[:, label].tolist()} - {0.0}:
            assert f1(label, threshold) <= reached[label] + 1e-12


def test_temperature_makes_probabilities_as_good_as_they_say() -> None:
    """Scores of known temperature: what is found again is what was planted, roughly."""
    r = np.random.default_rng(4)
    for planted in (0.05, 0.5):
        scores = r.uniform(-1, 1, (4000, 5))
        truth = np.array([r.choice(5, p=softmax(row / planted)) for row in scores])
        assert best_temperature(scores, truth) == pytest.approx(planted, rel=0.15)


def test_a_margin_is_between_the_best_two() -> None:
    assert margins(np.array([[0.2, 0.7, 0.1], [0.5, 0.5, 0.0]])) == pytest.approx([0.5, 0.0])
    assert margins(np.array([[0.4]])) == pytest.approx([0.4])
    assert margins(np.empty((2, 0))).tolist() == [0, 0]


# ── composing ────────────────────────────────────────────────────────────────────────────────


HEADS = arrays(np.float64, (2, 3, 4), elements=st.floats(0.01, 1))
WEIGHTS = arrays(np.float64, (2, 4), elements=st.floats(0, 3))


@given(HEADS, WEIGHTS)
def test_parts_sum_to_one_and_pairs_are_sums(heads: F64, weights: F64) -> None:
    weights[0, 0] += 1
    pairs = all_pairs(4)
    for parts in (weighted(heads, weights), softly(heads, weights)):
        assert parts.sum(axis=(0, 2)) == pytest.approx(np.ones(3))
        assert (parts >= 0).all()
        both = paired(parts, pairs)
        assert both.sum(axis=(0, 2)) == pytest.approx(np.ones(3))
        totals = parts.sum(0)
        wanted = totals[:, pairs[:, 0]] + totals[:, pairs[:, 1]]
        assert both.sum(0) == pytest.approx(wanted / wanted.sum(1, keepdims=True))


@given(arrays(np.float64, (5,), elements=st.floats(-1, 1)), st.floats(0.1, 50))
def test_exponential_weights_are_what_they_say(scores: F64, beta: float) -> None:
    raw = np.exp(-beta * (1 - scores))
    assert voting_weights(scores, "exponential", beta) == pytest.approx(raw / raw.sum())
    assert voting_weights(scores, "uniform").tolist() == [0.2] * 5
    assert voting_weights(scores, "similarity").sum() == pytest.approx(1)
