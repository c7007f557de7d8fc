"""Greedy choices against their definitions, and on planted aspects that plain top-k misses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.diversity import Cap, capped, cosine_rows, dpp, gaussian_rows, mmr
from app.types import F32, F64


def vectors(seed: int, n: int, d: int = 6) -> F32:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def relevances(seed: int, n: int) -> F64:
    return np.sort(np.random.default_rng(seed + 1).uniform(size=n))[::-1]


def kernel(points: F32) -> Any:
    unit = points.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


def rows(points: F32) -> Any:
    return cosine_rows(points, np.ones(len(points), bool))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(6))
def test_mmr_is_its_definition(seed: int, weight: float) -> None:
    points, relevance = vectors(seed, 12), relevances(seed, 12)
    similar = kernel(points)
    expected: list[int] = []
    for _ in range(12):
        open_ = [i for i in range(12) if i not in expected]
        worth = {
            i: weight * relevance[i]
            - (1 - weight) * (max(similar[i, j] for j in expected) if expected else 0.0)
            for i in open_
        }
        expected.append(max(open_, key=lambda i: (round(worth[i], 9), -i)))
    assert mmr(relevance, rows(points), 12, weight).places == expected


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_dpp_is_the_greedy_choice_by_determinants(seed: int, strength: float) -> None:
    points, relevance = vectors(seed, 10), relevances(seed, 10)
    theta = 1 - strength
    quality = np.exp(theta / (2 * (1 - theta)) * relevance)
    whole = quality[:, None] * kernel(points) * quality[None, :]
    expected: list[int] = []
    for _ in range(6):  # as many as there are dimensions
        open_ = [i for i in range(10) if i not in expected]
        log_det = {
            i: np.linalg.slogdet(whole[np.ix_([*expected, i], [*expected, i])]) for i in open_
        }
        expected.append(max(open_, key=lambda i: (round(log_det[i][1], 9), -i)))
    found = dpp(relevance, rows(points), 6, strength)
    assert found.places == expected
    # What the steps say they gain adds up to the determinant.
    part = whole[np.ix_(expected, expected)]
    assert sum(found.worth) == pytest.approx(strength * np.linalg.slogdet(part)[1], abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 15))
def test_without_diversity_the_order_is_that_of_relevance(seed: int, n: int) -> None:
    points, relevance = vectors(seed, n), relevances(seed, n)
    assert mmr(relevance, rows(points), n, 1.0).places == list(range(n))
    assert dpp(relevance, rows(points), n, 0.0).places == list(range(n))


@given(st.integers(0, 10_000), st.integers(2, 15), st.integers(1, 14), st.booleans())
def test_what_is_chosen_first_does_not_depend_on_how_many_are_wanted(
    seed: int, n: int, few: int, by_distance: bool
) -> None:
    points, relevance = vectors(seed, n), relevances(seed, n)
    similar = (gaussian_rows if by_distance else cosine_rows)(points, np.ones(n, bool))
    for whole, part in (
        (mmr(relevance, similar, n, 0.5), mmr(relevance, similar, few, 0.5)),
        (dpp(relevance, similar, n, 0.5), dpp(relevance, similar, few, 0.5)),
    ):
        assert part.places == whole.places[:few]
        assert len(set(whole.places)) == len(whole.places)


def aspects(seed: int) -> tuple[F64, F32, list[int]]:
    """Fifty candidates about five things; the ten most relevant are about one of them."""
    random = np.random.default_rng(seed)
    centres = np.eye(5, 16)
    about = [0] * 10 + [1 + n % 4 for n in range(40)]
    points = centres[about] + 0.1 * random.normal(size=(50, 16))
    relevance = np.concatenate([np.linspace(1.0, 0.9, 10), np.linspace(0.85, 0.5, 40)])
    return relevance, points.astype(np.float32), about


@pytest.mark.parametrize("seed", range(5))
def test_the_best_five_alone_are_about_one_thing_of_five(seed: int) -> None:
    relevance, points, about = aspects(seed)
    assert len({about[place] for place in range(5)}) == 1  # what plain top-k finds
    by_mmr = mmr(relevance, rows(points), 5, 0.5).places
    by_dpp = dpp(relevance, rows(points), 5, 0.5).places
    assert len({about[place] for place in by_mmr}) == 5
    assert len({about[place] for place in by_dpp}) == 5
    assert by_mmr[0] == by_dpp[0] == 0  # the most relevant one leads all the same


def test_a_determinant_tells_what_the_nearest_chosen_one_does_not() -> None:
    """c lies in the span of a and b, at 45° to each; d is as far from its nearest, and new."""
    half = np.sqrt(0.5)
    points = np.array([[1, 0, 0], [0, 1, 0], [half, half, 0], [half, 0, half]], dtype=np.float32)
    same = np.zeros(4)
    assert mmr(same, rows(points), 3, 0.5).places == [0, 1, 2]  # both are .71 from the nearest
    assert dpp(same, rows(points), 3, 0.5).places == [0, 1, 3]


def test_copies_are_pushed_back_and_dpp_never_takes_one() -> None:
    points = np.repeat(np.eye(3, 8, dtype=np.float32), 4, axis=0)
    relevance = np.linspace(1, 0.5, 12)
    assert mmr(relevance, rows(points), 3, 0.3).places == [0, 4, 8]
    assert dpp(relevance, rows(points), 12, 0.5).places == [0, 4, 8]


def test_of_equal_candidates_the_earlier_is_chosen() -> None:
    points = np.tile(np.array([[0.3, 0.1, 0.7]], np.float32), (9, 1))
    assert mmr(np.full(9, 0.4), rows(points), 9, 0.5).places == list(range(9))
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert mmr(np.zeros(8), rows(ring), 4, 0.5).places == [0, 4, 2, 6]


def test_one_without_a_vector_is_like_nothing_else() -> None:
    points = np.array([[1, 0], [0, 0], [1, 0.01]], dtype=np.float32)
    has = np.array([True, False, True])
    for make in (cosine_rows, gaussian_rows):
        assert make(points, has)(1).tolist() == [0, 1, 0]
        assert mmr(np.array([1, 0.2, 0.9]), make(points, has), 3, 0.3).places == [0, 1, 2]


def test_distances_have_no_unit() -> None:
    points = vectors(3, 9)
    once = gaussian_rows(points, np.ones(9, bool))(4)
    again = gaussian_rows(1000 * points, np.ones(9, bool))(4)
    np.testing.assert_allclose(once, again, rtol=1e-5)
    assert (
        np.linalg.eigvalsh(
            np.stack([gaussian_rows(points, np.ones(9, bool))(i) for i in range(9)])
        ).min()
        > -1e-9
    )


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=2, unique=True), max_size=25), st.integers(1, 3)
)
def test_a_cap_holds_and_takes_whatever_it_may(values: list[list[int]], most: int) -> None:
    n = len(values)
    points, relevance = vectors(1, n), relevances(1, n)
    for found in (
        capped(n, n, Cap(values, most)),
        mmr(relevance, rows(points), n, 0.5, Cap(values, most)),
    ):
        counts = Counter(value for place in found.places for value in values[place])
        assert all(count <= most for count in counts.values())
        for left in set(range(n)) - set(found.places):
            assert any(counts[value] == most for value in values[left])
    assert capped(n, n, Cap(values, most)).places == sorted(capped(n, n, Cap(values, most)).places)
