"""Fusing lists: golden values, what scale and order do, and heads that complement each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.ranking.calibration import Calibration
from app.ranking.fusion import METHODS, NORMALISATIONS, POSITIVE, Fusion, Normalisation, fuse
from app.types import F64

NAN = math.nan

halves = st.integers(-40, 40).map(lambda n: n / 2)
lists = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=halves | st.just(NAN)
)
ALL = [Normalisation(kind, curve=Calibration("platt", 0.5, 0.1)) for kind in NORMALISATIONS] + [
    Normalisation("softmax", tau=2.0),
    Normalisation("temperature", tau=3.0),
]
UNMOVED = [Normalisation(kind) for kind in ("minmax", "z", "dbsf", "rank", "softmax")]


# ── golden values ────────────────────────────────────────────────────────────────────────────


def test_rrf_golden_values() -> None:
    """By hand: ranks 1, 2, 3 and −, 1, 2, of weights 1 and 2."""
    found = fuse(np.array([[9.0, 8.0, 7.0], [NAN, 0.9, 0.1]]), Fusion("rrf", (1.0, 2.0)))
    assert found == pytest.approx([1 / 61, 1 / 62 + 2 / 61, 1 / 63 + 2 / 62])


def test_rrf_shares_ranks_of_equal_scores() -> None:
    found = fuse(np.array([[5.0, 5.0, 4.0]]), Fusion("rrf", rank_constant=0))
    assert found == pytest.approx([1, 1, 1 / 3])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Normalisation("none"), [4, 2, 0, NAN]),
        (Normalisation("minmax"), [1, 0.5, 0, NAN]),
        (Normalisation("z"), [1.5**0.5, 0, -(1.5**0.5), NAN]),
        (Normalisation("dbsf"), [0.5 + 1.5**0.5 / 6, 0.5, 0.5 - 1.5**0.5 / 6, NAN]),
        (Normalisation("rank"), [1, 2 / 3, 1 / 3, NAN]),
        (Normalisation("softmax", tau=2), np.array([1, math.e**-1, math.e**-2, NAN]) / 1.503215),
        (Normalisation("temperature", tau=4), [1, 0.5, 0, NAN]),
        (Normalisation("temperature", top=2), [4, 2, 0, NAN]),
        (Normalisation("calibrated", curve=Calibration("platt", 0, 0)), [0.5, 0.5, 0.5, NAN]),
    ],
)
def test_normalisations_golden(how: Normalisation, expected: list[float]) -> None:
    np.testing.assert_allclose(how(np.array([4.0, 2.0, 0.0, NAN])), expected, rtol=1e-6)


def test_methods_golden() -> None:
    both = np.array([[0.5, 0.2], [0.1, NAN]])
    assert fuse(both, Fusion("sum", (2.0, 1.0))) == pytest.approx([1.1, 0.5])
    assert fuse(both, Fusion("max", (1.0, 10.0))) == pytest.approx([1.0, 1.0])
    assert fuse(both, Fusion("product", (1.0, 2.0))) == pytest.approx([0.005, 0.002])
    assert fuse(both, Fusion("sum", floor=-1.0)) == pytest.approx([0.6, -0.8])


def test_lists_may_be_normalised_each_in_its_way() -> None:
    each = (Normalisation("minmax"), Normalisation("none"))
    assert fuse(np.array([[4.0, 2.0], [0.1, 0.2]]), Fusion("sum", normalise=each)) == pytest.approx(
        [1.1, 0.2]
    )


# ── laws ─────────────────────────────────────────────────────────────────────────────────────


@given(lists, st.sampled_from(UNMOVED), st.integers(1, 9), halves)
def test_scale_and_shift_do_nothing_where_that_is_said(
    scores: F64, how: Normalisation, scale: float, shift: float
) -> None:
    np.testing.assert_allclose(how(scale * scores[0] + shift), how(scores[0]), atol=1e-9)


@given(lists, st.integers(1, 9), halves)
def test_temperature_orders_the_same_at_any_scale_and_shift(
    scores: F64, scale: float, shift: float
) -> None:
    how = Fusion("sum", normalise="temperature")
    moved = scores.copy()
    moved[0] = scale * moved[0] + shift
    before, after = fuse(scores, how), fuse(moved, how)
    np.testing.assert_allclose(after - after[0], before - before[0], atol=1e-6)


@given(lists, st.sampled_from(ALL))
def test_an_order_is_never_turned(scores: F64, how: Normalisation) -> None:
    one = scores[0]
    found = how(one)
    assert (np.isnan(found) == np.isnan(one)).all()
    above = one[:, None] > one[None, :]
    assert not (above & (found[:, None] < found[None, :])).any()
    same = one[:, None] == one[None, :]
    assert not (same & (found[:, None] != found[None, :])).any()


@given(lists, st.sampled_from(METHODS), st.sampled_from(ALL), st.data())
def test_better_everywhere_is_never_worse_together(
    scores: F64, method: str, how: Normalisation, data: st.DataObject
) -> None:
    weight = st.integers(0, 3).map(float)
    weights = data.draw(st.tuples(*[weight] * len(scores)))
    found = fuse(scores, Fusion(method, weights, how))
    assert np.isfinite(found).all()
    known = np.where(np.isnan(scores), -np.inf, scores)
    for one in range(scores.shape[1]):
        for other in range(scores.shape[1]):
            if (known[:, one] >= known[:, other]).all():
                assert found[one] >= found[other] - 1e-9


@given(lists)
def test_a_list_of_nothing_says_nothing(scores: F64) -> None:
    assume(not np.isnan(scores).all(axis=1).any())
    more = np.vstack([scores, np.full(scores.shape[1], NAN)])
    for method in ("rrf", "sum"):
        how = Fusion(method, normalise="minmax")
        np.testing.assert_allclose(fuse(more, how), fuse(scores, how))


@given(
    arrays(np.float64, (3, 6), elements=st.floats(-1e38, 1e38) | st.just(NAN)),
    st.sampled_from(METHODS),
    st.sampled_from(ALL),
    st.sampled_from([0.0, 1e-9, 1.0, 1e9]),
)
def test_what_is_fused_is_a_number(
    scores: F64, method: str, how: Normalisation, weight: float
) -> None:
    assert np.isfinite(fuse(scores, Fusion(method, (weight,) * 3, how))).all()


# ── planted heads ────────────────────────────────────────────────────────────────────────────


def complementary(seed: int, count: int = 100, queries: int = 300) -> tuple[F64, F64]:
    """Two heads over one gallery: of each query one, by chance, knows the answer (place 0) and the
    other one has an idea. Their scores differ by ten in scale."""
    dice = np.random.default_rng(seed)
    heads = dice.normal(size=(2, queries, count)) * 0.1
    knows = dice.integers(2, size=queries)
    heads[knows, np.arange(queries), 0] += 0.35
    heads[1 - knows, np.arange(queries), 0] += 0.2
    return heads[0], 10 * heads[1] + 3


def hits_first(first: F64, second: F64, how: Fusion) -> float:
    fused = [fuse(np.stack(pair), how) for pair in zip(first, second, strict=True)]
    return float(np.mean([one.argmax() == 0 for one in fused]))


@pytest.mark.parametrize(
    "how",
    [
        Fusion("rrf"),
        *[
            Fusion(method, normalise=Normalisation(kind))
            for method in ("sum", "max", "product")
            for kind in ("minmax", "z", "dbsf", "softmax", "temperature")
            # A temperature leaves the shift: the largest of several then says which list it is of.
            if (method == "sum" or kind != "temperature")
            and (method != "product" or kind in POSITIVE)
        ],
    ],
    ids=lambda how: f"{how.method} {getattr(how.normalise, 'kind', '')}",
)
def test_complementary_heads_are_better_together_than_the_best_of_them(how: Fusion) -> None:
    first, second = complementary(seed=1)
    best = max(float((one.argmax(axis=1) == 0).mean()) for one in (first, second))
    fused = hits_first(first, second, how)
    assert fused > best + 0.03
    assert hits_first(10 * first, second, how) == fused, "a head ten times as large is the same"
    if how.method == "sum":
        raw = hits_first(first, second, Fusion("sum"))
        assert raw < fused - 0.05, "scores that are not comparable are not to be added"


def test_a_temperature_of_few_scores_punishes_the_head_that_knows() -> None:
    """So the default is taken from more than the paper's handful."""
    first, second = complementary(seed=1)
    few, more = (Fusion("sum", normalise=Normalisation("temperature", top=top)) for top in (5, 50))
    assert hits_first(first, second, few) < hits_first(first, second, more) - 0.05
