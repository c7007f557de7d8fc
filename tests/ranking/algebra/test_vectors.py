"""Sums, projections and groups: golden values and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.ranking.algebra.vectors import (
    basis,
    combined,
    grouped_mean,
    groups,
    mean,
    rejected,
    spread,
    unit,
)
from app.types import F64

rows = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=st.floats(-1, 1, width=32)
)


def test_golden_values() -> None:
    a, b = np.array([3.0, 4.0, 0.0]), np.array([0.0, 1.0, 0.0])
    assert unit(a).tolist() == [0.6, 0.8, 0.0]
    assert combined(np.stack([a, b]), np.array([1.0, -2.0])).tolist() == [3.0, 2.0, 0.0]
    assert np.allclose(rejected(a, b[None]), [3.0, 0.0, 0.0])
    assert unit(np.zeros(3)).tolist() == [0, 0, 0]


@given(rows, st.randoms())
def test_sums_are_the_same_to_the_last_bit_in_every_order(
    vectors: F64, random: st.DataObject
) -> None:
    order = list(range(len(vectors)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert (mean(vectors) == mean(vectors[order])).all()
    weights = np.linspace(-1, 2, len(vectors))
    assert (combined(vectors, weights) == combined(vectors[order], weights[order])).all()


@given(rows)
def test_what_is_rejected_is_gone_and_rejecting_twice_changes_nothing(vectors: F64) -> None:
    vector = np.arange(1.0, 6.0)
    once = rejected(vector, vectors)
    kept = basis(vectors)
    assert np.allclose(kept @ once, 0, atol=1e-6)
    assert np.allclose(rejected(once, vectors), once, atol=1e-6)


@pytest.mark.parametrize("shape", [(80, 200), (200, 80), (100, 100), (5, 300)])
def test_a_basis_by_squares_spans_what_the_decomposition_spans(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((shape[0], 4)) @ random.standard_normal((4, shape[1]))
    found = basis(vectors)
    assert found.shape == (4, shape[1])
    assert np.allclose(found @ found.T, np.eye(4), atol=1e-6)
    assert np.allclose(vectors @ found.T @ found, vectors, atol=1e-5)


def test_groups_are_chains_of_near_duplicates_whatever_the_order() -> None:
    angles = np.radians([0, 10, 20, 90, 95, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    threshold = float(np.cos(np.radians(11)))
    assert groups(vectors, threshold).tolist() == [0, 0, 0, 1, 1, 2]
    order = [3, 5, 1, 0, 4, 2]
    assert groups(vectors[order], threshold).tolist() == [0, 1, 2, 2, 0, 2]


def test_a_group_counts_once_however_many_members_it_has() -> None:
    vectors = np.eye(3)
    twice = np.concatenate([vectors, np.repeat(vectors[:1], 9, axis=0)])
    assert np.allclose(
        grouped_mean(twice, groups(twice, 0.9)), grouped_mean(vectors, groups(vectors, 0.9))
    )
    assert not np.allclose(unit(mean(twice)), unit(mean(vectors)), atol=0.3)


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(0, 1000))
def test_repeating_a_thing_changes_nothing(times: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((4, 24)))
    again = np.concatenate([vectors, np.repeat(vectors[:1], times, axis=0)])
    found = grouped_mean(again, groups(again, 0.95))
    assert np.allclose(found, grouped_mean(vectors, groups(vectors, 0.95)))
    shuffled = again[random.permutation(len(again))]
    assert np.allclose(found, grouped_mean(shuffled, groups(shuffled, 0.95)))


def test_groups_that_cancel_each_other_out_are_nothing() -> None:
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert not grouped_mean(opposite, groups(opposite, 0.9)).any()


@settings(max_examples=30)
@given(st.integers(1, 8))
def test_spread_rows_lie_apart(count: int) -> None:
    clusters = np.repeat(np.eye(8) * 10, 4, axis=0) + np.tile(np.arange(4) / 100, 8)[:, None]
    chosen = spread(clusters, count)
    assert len(set(chosen.tolist())) == count
    assert len({at // 4 for at in chosen.tolist()}) == count
