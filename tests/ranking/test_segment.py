"""Segment alignment: the compiled programme equals trying everything, and finds what is planted."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.ranking.tokens.matching import Matching, match
from app.ranking.tokens.segment import Segment, match_segment
from app.ranking.tokens.sides import Assignment, Sides
from app.types import F64
from tests.ranking.planted import shared_stretch, unit

SIMILARITIES = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(-1, 1, width=16)
)
HOWS = st.builds(
    Segment,
    threshold=st.sampled_from([0.0, 0.25, 0.5]),
    gap=st.sampled_from([None, 0.0, 0.25, 0.75]),
    reverse=st.booleans(),
)


class Given(Sides):
    """Sides of which only the products matter."""

    def __init__(self, similarity: F64) -> None:
        m, n = similarity.shape
        super().__init__(np.empty((m, 0), np.float32), np.empty((n, 0), np.float32))
        self.__dict__["similarity"] = similarity


def best_by_trying(similarity: F64, how: Segment) -> float:
    """Try every chain of pairs that rises on both sides."""
    if how.reverse:
        similarity = similarity[:, ::-1]
    m, n = similarity.shape

    def longer(i: int, j: int) -> float:
        best = 0.0
        for k, o in product(range(i + 1, m), range(j + 1, n)):
            skipped = (k - i - 1) + (o - j - 1)
            if how.gap is None and skipped:
                continue
            worth = similarity[k, o] - how.threshold - skipped * (how.gap or 0)
            best = max(best, worth + longer(k, o))
        return best

    return max(0.0, *(similarity[i, j] - how.threshold + longer(i, j) for i, j in np.ndindex(m, n)))


def best_of_loops(similarity: F64, how: Segment) -> float:
    m, n = similarity.shape
    return max(
        best_by_trying(np.roll(similarity, (-i, -j), (0, 1)), how) for i, j in np.ndindex(m, n)
    )


def worth(found: Assignment) -> float:
    return float((found.weights * found.worth).sum())


@given(SIMILARITIES, HOWS)
@settings(max_examples=150, deadline=None)
def test_the_programme_finds_what_trying_every_chain_finds(similarity: F64, how: Segment) -> None:
    found = match_segment(Given(similarity), how)
    assert worth(found) == pytest.approx(best_by_trying(similarity, how), abs=1e-9)
    i, j = found.pairs[:, 0], found.pairs[:, 1]
    assert (np.diff(i) > 0).all()
    assert (np.diff(j) < 0).all() if how.reverse else (np.diff(j) > 0).all()


@given(SIMILARITIES, HOWS)
@settings(max_examples=150, deadline=None)
def test_loops_are_as_good_as_the_best_way_to_cut_them_open(similarity: F64, how: Segment) -> None:
    loops = Segment(how.threshold, how.gap, how.reverse, cyclic=True)
    found = match_segment(Given(similarity), loops)
    best = best_of_loops(similarity, how)
    assert len(set(found.pairs[:, 0].tolist())) == len(found.pairs)
    assert len(set(found.pairs[:, 1].tolist())) == len(found.pairs)
    if found.facts["exact"]:
        assert worth(found) == pytest.approx(best, abs=1e-9)
    else:
        assert how.gap is not None, "without gaps it is always exact"
        assert 0 <= worth(found) <= best + 1e-9


def test_two_equal_loops_match_all_round_wherever_they_are_cut() -> None:
    loop = unit(np.random.default_rng(0).standard_normal((12, 16)))
    for turn in (0, 5):
        how = Matching(Segment(cyclic=True))
        found = match(loop, np.roll(loop, turn, axis=0), how)
        assert [(j - i) % 12 for i, j, _ in found.pairs] == [turn] * 12
        assert found.score == pytest.approx(0.5)
        assert found.facts["exact"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cyclic", [False, True])
def test_a_planted_stretch_is_found(reverse: bool, cyclic: bool) -> None:
    """Row 33; mutual nearest neighbours know no order, and find pairs outside of it."""
    overlaps, plain = [], []
    for seed in range(8):
        both = shared_stretch(seed, reverse=reverse, round_the_end=cyclic)
        how = Matching(Segment(reverse=reverse, cyclic=cyclic))
        found = match(both.query, both.candidate, how)
        overlaps.append(both.overlap(found.pairs))
        plain.append(both.overlap(match(both.query, both.candidate, Matching()).pairs))
        assert all(both.partners[i - both.at] == j for i, j, _ in found.pairs[1:-1])
    assert min(overlaps) >= 0.9
    assert np.mean(plain) < 0.85


def test_a_stretch_in_the_wrong_direction_is_not_found() -> None:
    both = shared_stretch(1, reverse=True)
    assert match(both.query, both.candidate, Matching(Segment())).score < 0.1
    assert match(both.query, both.candidate, Matching(Segment(reverse=True))).score > 0.2


def test_gaps_are_paid_for_and_counted() -> None:
    r = np.random.default_rng(0)
    query = unit(r.standard_normal((10, 64)))
    candidate = np.concatenate([query[:5], unit(r.standard_normal((2, 64))), query[5:]])
    found = match(query, candidate, Matching(Segment(gap=0.5)))
    assert found.facts["gaps"] == 2
    assert found.score == pytest.approx((10 * 0.5 - 2 * 0.5) / 10, abs=1e-5)
    closed = match(query, candidate, Matching(Segment(gap=None)))
    assert closed.score == pytest.approx(5 * 0.5 / 10, abs=1e-5)


def test_nothing_alike_is_no_segment() -> None:
    x = unit(np.random.default_rng(0).standard_normal((3, 8)))
    for cyclic in (False, True):
        found = match(x, -x, Matching(Segment(threshold=0.99, cyclic=cyclic)))
        assert (found.score, found.pairs, found.facts["query_from"]) == (0, [], -1)
