"""Coefficients over concepts against the conditions of their optimum; operations and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ranking.algebra.concepts import (
    clustered,
    coefficients,
    explained,
    shared,
    united,
    without,
)
from app.ranking.algebra.vectors import unit
from app.types import F64


def problem(seed: int, concepts: int, dimension: int, lean: float = 0.3) -> tuple[F64, F64]:
    random = np.random.default_rng(seed)
    found = unit(random.standard_normal((concepts, dimension)) + lean)
    mixed = random.exponential(size=(3, concepts)) * (random.random((3, concepts)) < 0.4)
    return found, mixed @ found + 0.2 * random.standard_normal((3, dimension))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 24), st.integers(2, 40), st.sampled_from([0, 0.05, 0.5])
)
def test_coefficients_meet_the_conditions_of_the_optimum(
    seed: int, concepts: int, dimension: int, sparsity: float
) -> None:
    rows, vectors = problem(seed, concepts, dimension)
    alpha = coefficients(rows, vectors, sparsity)
    slope = (vectors - alpha @ rows) @ rows.T - sparsity / 2  # of minus half the objective
    assert (alpha >= 0).all()
    assert np.abs(slope[alpha > 0]).max(initial=0) < 1e-5
    assert slope[alpha == 0].max(initial=-1) < 1e-5


def test_equal_concepts_are_no_singular_system() -> None:
    rows, vectors = problem(1, 6, 20)
    doubled = np.concatenate([rows, rows])
    alpha = coefficients(doubled, vectors)
    assert np.isfinite(alpha).all()
    assert np.allclose(alpha @ doubled, coefficients(rows, vectors) @ rows, atol=1e-5)


def test_golden_coefficients() -> None:
    rows = np.array([[1.0, 0.0], [0.6, 0.8]])
    assert np.allclose(coefficients(rows, np.array([[1.6, 0.8]])), [[1, 1]], atol=1e-6)
    # Outside of the cone the nearest face is taken, not the negative solution.
    assert np.allclose(coefficients(rows, np.array([[1.0, -0.5]])), [[1, 0]], atol=1e-6)
    assert np.allclose(coefficients(rows, np.array([[-1.0, -1.0]])), [[0, 0]])
    assert np.allclose(coefficients(np.eye(2), np.array([[1.0, 0.1]]), 0.4), [[0.8, 0]])


alphas = st.lists(
    st.lists(st.floats(0, 2, width=32), min_size=4, max_size=4), min_size=1, max_size=4
).map(np.array)


@given(alphas, st.randoms())
def test_laws_of_operations(found: F64, random: st.DataObject) -> None:
    order = list(range(len(found)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for operation in (united, shared):
        assert (operation(found[order]) == operation(found)).all()  # commutes
        assert (operation(np.concatenate([found, found])) == operation(found)).all()  # idempotent
        assert (operation(found[:1]) == found[0]).all()  # of one: itself
    assert (shared(found) <= united(found)).all()
    assert (without(np.stack([found[0], found[0]])) == 0).all()  # a \ a is empty
    # (a \ b) and (a ∩ b) make a again, with two.
    both = np.stack([found[0], found[-1]])
    assert np.allclose(without(both) + shared(both), found[0])


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_what_is_made_of_concepts_does_not_depend_on_lengths(seed: int, scale: float) -> None:
    rows, vectors = problem(seed, 8, 16)
    vectors = np.maximum(vectors, 0) + 0.1
    one = coefficients(rows, unit(vectors))
    other = coefficients(rows, unit(vectors * scale))
    assert np.allclose(one, other, atol=1e-6)


def test_explained_is_the_share_that_lies_in_the_concepts() -> None:
    rows = np.eye(3)[:2]
    vector = np.array([0.6, 0.0, 0.8])
    alpha = coefficients(rows, vector[None])[0]
    assert explained(rows, alpha, vector) == pytest.approx(0.36, abs=1e-6)
    assert explained(rows, alpha, np.zeros(3)) == 0


def test_clusters_are_found_again_and_do_not_depend_on_the_run() -> None:
    random = np.random.default_rng(3)
    centres = unit(random.standard_normal((6, 32)))
    rows = np.repeat(centres, 40, axis=0) + 0.05 * random.standard_normal((240, 32))
    found = clustered(rows, 6, seed=1)
    assert np.sort((unit(found) @ centres.T).max(axis=0))[0] > 0.99
    assert (clustered(rows, 6, seed=1) == found).all()
    assert len(clustered(np.zeros((5, 4)), 3, seed=0)) == 0
    assert len(clustered(rows[:1].repeat(9, axis=0), 4, seed=0)) == 1
