"""Maps: chains fuse without a difference, and each does what it is for."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encoders.pipeline import maps
from app.encoders.pipeline.arrays import read_array, unit
from app.encoders.pipeline.maps import Affine, Bend
from app.errors import CorruptFile
from app.types import F32
from tests.encoders.pipelines import array_bytes


def plain(steps: list[tuple[str, np.ndarray]], rows: np.ndarray) -> np.ndarray:
    for op, value in steps:
        if op == "center":
            rows = rows - value
        elif op == "linear":
            rows = rows @ value.T
        elif op == "truncate":
            rows = rows[:, : int(value)]
        else:
            rows = np.sign(rows) * np.sqrt(np.abs(rows))
    return rows


@given(st.integers(0, 10_000), st.lists(st.sampled_from("clts"), max_size=7))
def test_a_fused_chain_is_the_chain(seed: int, ops: list[str]) -> None:
    random = np.random.RandomState(seed)
    rows, width = random.standard_normal((4, 9)), 9
    steps: list[tuple[str, np.ndarray]] = []
    made: list[Affine | Bend] = []
    for op in ops:
        if op == "c":
            steps.append(("center", random.standard_normal(width)))
            made.append(maps.center(steps[-1][1].astype(np.float32)))
        elif op == "l":
            target = int(random.randint(2, 9))
            steps.append(("linear", random.standard_normal((target, width)) / np.sqrt(width)))
            made.append(maps.linear(steps[-1][1].astype(np.float32)))
            width = target
        elif op == "t":
            width = min(width, int(random.randint(2, 9)))
            steps.append(("truncate", np.array(width)))
            made.append(maps.truncate(width))
        else:
            steps.append(("signed_sqrt", np.zeros(0)))
            made.append(maps.signed_sqrt)
    fused = maps.fuse(made)
    affine = [isinstance(step, Affine) for step in fused]
    assert not any(one and other for one, other in itertools.pairwise(affine))
    bends = ops.count("s")
    expected = plain(steps, rows)
    # A root turns a float's error e near zero into √e.
    np.testing.assert_allclose(
        maps.apply(fused, rows.astype(np.float32)), expected, atol=2e-2 if bends else 1e-5
    )


def test_whitened_vectors_have_unit_covariance_and_find_what_raw_ones_do_not() -> None:
    """A loud nuisance in three directions drowns the quiet ones that tell items apart."""
    random = np.random.RandomState(1)
    quiet = random.standard_normal((80, 16))
    loud = np.zeros((16, 16))
    loud[:3] = 12 * np.linalg.qr(random.standard_normal((16, 16)))[0][:3]

    def view() -> F32:
        nuisance = random.standard_normal((80, 16)) @ loud
        return (quiet + nuisance + 0.03 * random.standard_normal((80, 16))).astype(np.float32)

    first, second, fitted = view(), view(), np.concatenate([view() for _ in range(30)])
    matrix, mean = maps.fit_pca(fitted, 16, whiten=True)
    white = [maps.linear(matrix, mean)]
    covariance = np.cov(maps.apply(white, fitted).T)
    np.testing.assert_allclose(covariance, np.eye(16), atol=0.05)

    def found(one: F32, other: F32) -> float:
        near = (unit(one) @ unit(other).T).argmax(axis=1)
        return float((near == np.arange(80)).mean())

    assert found(first, second) < 0.5
    assert found(maps.apply(white, first), maps.apply(white, second)) > 0.85


def test_pca_keeps_the_most_variance_and_its_signs_are_fixed() -> None:
    random = np.random.RandomState(2)
    rows = (random.standard_normal((200, 8)) * [5, 4, 3, 1, 1, 1, 1, 1]).astype(np.float32)
    matrix, mean = maps.fit_pca(rows, 3, whiten=False)
    kept = maps.apply([maps.linear(matrix, mean)], rows).var(axis=0).sum()
    assert kept > rows.var(axis=0)[:3].sum() * 0.99
    again, _ = maps.fit_pca(rows[::-1].copy(), 3, whiten=False)
    np.testing.assert_allclose(matrix, again, atol=1e-4)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)


def test_centring_undoes_a_common_direction_that_makes_all_vectors_alike() -> None:
    random = np.random.RandomState(3)
    rows = (random.standard_normal((50, 8)) + 20).astype(np.float32)
    raw = unit(rows) @ unit(rows).T
    centred = unit(maps.apply([maps.center(rows.mean(axis=0))], rows))
    assert raw.min() > 0.9
    assert abs(float((centred @ centred.T).mean())) < 0.1


@pytest.mark.parametrize(
    "content",
    [
        b"no array",
        b"PK\x03\x04 no archive either",
        array_bytes(np.ones((2, 2), np.float32)),
        array_bytes(np.array([1, np.nan], np.float32)),
        array_bytes(np.ones(0, np.float32)),
        array_bytes(np.array([1, 2])),
    ],
)
def test_a_file_that_is_no_vector_of_finite_floats_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(content)
    with pytest.raises(CorruptFile):
        read_array(path, "dim")


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptFile):
        read_array(path, "dim")


def test_normalised_rows_have_length_one_and_zeros_stay_zeros() -> None:
    made = unit(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(made, np.array([[0.6, 0.8], [0.0, 0.0]]), rtol=1e-6)
    assert made.dtype == np.float32
