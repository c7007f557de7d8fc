"""Aspects on planted data: what is found, and that each baseline loses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ranking.algebra.subspaces import (
    Form,
    Gate,
    Subspace,
    compared,
    discriminants,
    forgiving,
    gate,
    kinds,
    span,
)
from app.ranking.algebra.vectors import basis, unit
from app.types import F64, I64


def rotated(dimension: int, seed: int = 9) -> F64:
    found: F64 = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension,) * 2))[0]
    return found


def attributed(turn: F64, count: int = 400, seed: int = 0) -> tuple[F64, I64]:
    """Vectors of 32: four values of an attribute along 6 axes, 20 louder axes of something else."""
    random = np.random.default_rng(seed)
    values = 1.2 * random.standard_normal((4, 6))
    labels = random.integers(4, size=count)
    rows = 0.3 * random.standard_normal((count, 32))
    rows[:, :6] += values[labels]
    rows[:, 6:26] += 2.0 * random.standard_normal((count, 20))
    return rows @ turn, labels


def right(form: Form | None, rows: F64, labels: I64, by: str = "cosine") -> float:
    """How often the nearest other row has the same label."""
    plain = Subspace(np.zeros((0, rows.shape[1])), rest=1.0)
    centre = rows.mean(axis=0)
    hits = 0
    for at in range(200):
        found = compared(form or plain, rows[at] - centre, rows - centre, by)
        found[at] = -np.inf
        hits += labels[int(found.argmax())] == labels[at]
    return hits / 200


@pytest.mark.parametrize("axes", ["along", "across"])
def test_a_gate_needs_axes_and_discriminants_do_not(axes: str) -> None:
    turn = np.eye(32) if axes == "along" else rotated(32)
    rows, labels = attributed(turn)
    train, test = rows[200:], rows[:200]
    learned = labels[200:]
    lowrank = discriminants(train, learned)
    like, unlike = train[learned == 0], train[learned != 0]
    plain = right(None, test, labels[:200])
    assert lowrank.rank == 3
    assert plain < 0.65
    assert right(lowrank, test, labels[:200]) > 0.93
    gated = right(gate(like, unlike), test, labels[:200])
    if axes == "along":
        assert gated > plain + 0.05
    else:
        assert gated < plain + 0.05  # it sees nothing that is not along an axis


def test_discriminants_do_not_depend_on_the_basis() -> None:
    rows, labels = attributed(np.eye(32))
    turn = rotated(32)
    one = discriminants(rows, labels)
    other = discriminants(rows @ turn, labels)
    assert np.allclose(one.times(rows) @ turn, other.times(rows @ turn), atol=1e-5)


def test_within_classes_members_lie_one_apart() -> None:
    rows, labels = attributed(np.eye(32), count=4000)
    found = discriminants(rows, labels, shrinkage=1e-6)
    means = np.stack([rows[labels == one].mean(axis=0) for one in range(4)])
    within = (rows - means[labels]) @ found.matrix.T
    assert np.allclose(within.T @ within / len(rows), np.eye(3), atol=1e-3)


def test_examples_fewer_than_dimensions_are_enough() -> None:
    random = np.random.default_rng(1)
    rows = random.standard_normal((12, 300))
    labels = np.repeat([0, 1, 2], 4)
    found = discriminants(rows, labels)
    assert found.matrix.shape == (2, 300)
    assert np.isfinite(found.matrix).all()
    one_each = discriminants(rows[:3], np.arange(3))
    assert np.isfinite(one_each.matrix).all()
    same = discriminants(np.ones((4, 5)), np.array([0, 0, 1, 1]))
    assert same.rank == 0


def test_a_span_is_of_differences() -> None:
    found = span(np.array([[5.0, 0, 0, 0], [5, 1, 0, 0], [5, 0, 1, 0]]))
    assert found.rank == 2
    assert np.allclose(found.times(np.array([[1.0, 2, 3, 4]])), [[0, 2, 3, 0]], atol=1e-9)
    assert np.allclose(found.residue(np.array([[1.0, 2, 3, 4]])), [[1, 0, 0, 4]], atol=1e-9)


forms = st.sampled_from(["subspace", "gate", "forgiving"])


@settings(max_examples=60, deadline=None)
@given(forms, st.integers(0, 10**6), st.sampled_from(["cosine", "distance"]))
def test_comparing_is_what_the_matrix_says(kind: str, seed: int, by: str) -> None:
    random = np.random.default_rng(seed)
    rows, query = random.standard_normal((7, 6)), random.standard_normal(6)
    form: Form
    if kind == "subspace":
        matrix = random.standard_normal((3, 6))
        form, full = Subspace(matrix, 0.2), matrix.T @ matrix + 0.2 * np.eye(6)
    elif kind == "gate":
        weights = random.random(6)
        form, full = Gate(weights), np.diag(weights**2)
    else:
        pairs = random.standard_normal((3, 6))
        form = forgiving(*kinds(pairs), 2.0)
        sigma = pairs.T @ pairs / 3
        eigen = np.linalg.eigvalsh(sigma)
        full = np.linalg.inv(np.eye(6) + 2.0 * sigma / eigen[eigen > 1e-9].mean())
    found = compared(form, query, rows, by)
    if by == "distance":
        expected = -np.sqrt(np.einsum("nd,de,ne->n", rows - query, full, rows - query))
    else:
        lengths = np.einsum("nd,de,ne->n", rows, full, rows) * (query @ full @ query)
        expected = rows @ full @ query / np.sqrt(lengths)
    assert np.allclose(found, expected, atol=1e-7)


def intents(seed: int = 0) -> tuple[F64, F64, F64, I64]:
    """Items of 40 intents that differ in a style of 8 loud directions; pairs of unseen intents."""
    random = np.random.default_rng(seed)
    turn = rotated(48)
    meant = np.zeros((60, 48))
    meant[:, 8:] = random.standard_normal((60, 40))

    def drawn(one: I64) -> F64:
        style = np.zeros((len(one), 48))
        style[:, :8] = 4.0 * random.standard_normal((len(one), 8))
        found: F64 = unit((meant[one] + style + 0.4 * random.standard_normal(style.shape)) @ turn)
        return found

    labels = np.repeat(np.arange(40), 20)
    held = np.repeat(np.arange(40, 60), 6)
    return drawn(labels), drawn(np.arange(40)), drawn(held) - drawn(held), labels


def test_forgiven_styles_let_intents_be_found_and_blurring_alone_does_not() -> None:
    items, queries, differences, labels = intents()

    def recall(strength: float, among: F64) -> float:
        form = forgiving(*kinds(among), strength)
        found = []
        for intent, query in enumerate(queries):
            near = np.argsort(-compared(form, query, items, "distance"))[:20]
            found.append(np.mean(labels[near] == intent))
        return float(np.mean(found))

    exact = recall(0.0, differences)
    even = np.random.default_rng(1).standard_normal(differences.shape)
    by_strength = [recall(strength, differences) for strength in (0.3, 1.0, 10.0)]
    assert exact < 0.4
    assert by_strength == sorted(by_strength)
    assert by_strength[-1] > 0.85
    assert recall(10.0, even) < exact + 0.1  # forgiving every direction alike gives nothing
    assert len(basis(differences)) == 48
