"""Hubs: what a bank of queries takes off their scores, and that nothing is taken where none are."""

from __future__ import annotations

import numpy as np
import pytest

from app.ranking.hubness import METHODS, Penalty, occurrence_skew, similarities, sinkhorn_rows
from app.types import F32, F64, Metric

from .hubs import planted

ITEMS = 1_000
BANK = 500


def tried(hubs: bool, method: str, strength: float) -> tuple[float, float, float, float]:
    """R@1 of queries that the bank lacks, and the skew of what is found: without, and with."""
    queries, items = planted(1, hubs=hubs, items=ITEMS)
    bank, asked = queries[:BANK], queries[BANK:]
    truth = np.arange(BANK, ITEMS)
    raw = (asked @ items.T).astype(np.float64)
    among = similarities(Metric.COSINE, items, bank)
    penalty = Penalty(method, log_rows=sinkhorn_rows(among, 0.05))(among)
    both = [raw, raw - strength * penalty]
    first = [float((scores.argmax(axis=1) == truth).mean()) for scores in both]
    nearest = [np.argsort(-scores, axis=1)[:, :10] for scores in both]
    skew = [occurrence_skew(found, ITEMS) for found in nearest]
    return first[0], first[1], skew[0], skew[1]


@pytest.mark.parametrize(
    ("method", "strength"), [("csls", 0.5), ("csls", 1.0), ("sinkhorn", 1.0), ("center", 1.0)]
)
def test_hubs_lose_what_they_owe_to_being_near_to_all(method: str, strength: float) -> None:
    raw, corrected, skewed, less = tried(True, method, strength)
    assert 0.6 < raw < 0.7
    assert corrected > 0.9
    assert skewed > 5
    assert less < skewed - 2


@pytest.mark.parametrize("method", METHODS)
def test_where_no_hubs_are_nothing_changes(method: str) -> None:
    raw, corrected, skewed, _ = tried(False, method, 0.5)
    assert abs(corrected - raw) <= 0.002
    assert skewed < 1


def test_csls_by_its_formula() -> None:
    """2s − r_x − r_q in plain loops, on a gallery of its own."""
    queries, items = planted(2, hubs=True, items=60)
    bank = queries[:30]
    penalty = Penalty("csls", k=3)(similarities(Metric.COSINE, items, bank))
    for query in queries[30:40]:
        own = sorted((float(query @ item) for item in items), reverse=True)
        local = [sorted((float(u @ item) for u in bank), reverse=True)[:3] for item in items]
        expected = [
            2 * float(query @ item) - sum(near) / 3 - sum(own[:3]) / 3
            for item, near in zip(items, local, strict=True)
        ]
        found = (query @ items.T).astype(np.float64) - 0.5 * penalty
        assert np.argsort(-found).tolist() == np.argsort(expected)[::-1].tolist()


def test_center_is_the_inner_product_with_the_mean_of_the_bank() -> None:
    queries, items = planted(3, hubs=True, items=50)
    penalty = Penalty("center")(similarities(Metric.IP, items, queries))
    np.testing.assert_allclose(penalty, items @ queries.mean(axis=0), atol=1e-6)


def scaled(among: F32, tau: float, iterations: int) -> F64:
    """log b of every column by scaling the whole matrix: the published loop, in plain numbers."""
    kernel = np.exp(among.T.astype(np.float64) / tau)  # rows are the bank, columns the items
    columns = 1 / kernel.sum(axis=0)
    for _ in range(iterations):
        rows = 1 / (kernel @ columns)
        columns = 1 / (rows @ kernel)
    return np.asarray(np.log(columns))


def test_sinkhorn_of_one_item_is_what_scaling_everything_gives_it() -> None:
    queries, items = planted(4, hubs=True, items=80)
    among = similarities(Metric.COSINE, items, queries[:40])
    how = Penalty("sinkhorn", tau=0.1, log_rows=sinkhorn_rows(among, 0.1))
    expected = -0.1 * scaled(among, 0.1, 4)
    np.testing.assert_allclose(how(among), expected, atol=1e-5)
    np.testing.assert_allclose(how(among[7:8]), expected[7:8], atol=1e-5)


def test_a_small_bank_is_used_as_a_whole() -> None:
    among = np.array([[0.1, 0.5]], dtype=np.float32)
    assert Penalty("csls", k=10)(among) == pytest.approx([0.3])


@pytest.mark.parametrize("metric", Metric)
def test_similarities_are_the_scores_of_the_metric(metric: Metric) -> None:
    dice = np.random.default_rng(0)
    vectors, bank = (dice.normal(size=(n, 5)).astype(np.float32) for n in (7, 4))
    found = similarities(metric, vectors, bank)
    for n, vector in enumerate(vectors):
        for m, query in enumerate(bank):
            distance = float(np.linalg.norm(vector - query))
            expected = -distance if metric is Metric.L2 else float(vector @ query)
            assert found[n, m] == pytest.approx(expected, abs=1e-4)


def test_skew_golden() -> None:
    """One item of four is found by all of four queries, and no other one by any."""
    assert occurrence_skew(np.zeros((4, 1), dtype=np.int64), 4) == pytest.approx(
        3 * 0.75**0.5 / 2.25
    )
    assert occurrence_skew(np.array([[0, 1], [2, 3]]), 4) == 0
    assert occurrence_skew(np.array([[0, -1]]), 1) == 0
