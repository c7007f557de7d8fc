"""Measures of ranked answers: golden cases by hand, and twenty lines that say the same again."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from app.evaluation.ranked import (
    MEASURES,
    Measure,
    judged,
    measure_from,
    precision_curve,
    recall_curve,
    values_of,
)


def measured(ranked: list[str], gains: dict[str, float], name: str) -> float:
    return float(values_of([judged(ranked, gains)], [measure_from(name)])[0, 0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # x a x' b, of a, b and c: precisions 1/2 and 2/4
        ("recall@1", 0), ("recall@2", 1 / 3), ("recall@4", 2 / 3), ("recall@100", 2 / 3),
        ("precision@2", 1 / 2), ("precision@4", 1 / 2), ("precision@10", 2 / 10),
        ("hit@1", 0), ("hit@2", 1),
        ("mrr@1", 0), ("mrr@4", 1 / 2),
        ("map@2", (1 / 2) / 2), ("map@4", (1 / 2 + 2 / 4) / 3),
        ("ndcg@4", (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)),
    ],
)  # fmt: skip
def test_values_by_hand(name: str, expected: float) -> None:
    gains = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert measured(["x", "a", "y", "b"], gains, name) == pytest.approx(expected)


def test_grades_weigh_in_ndcg_only() -> None:
    graded = {"a": 3.0, "b": 1.0}
    assert measured(["b", "a"], graded, "ndcg@2") == pytest.approx(
        (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    )
    assert measured(["b", "a"], graded, "map@2") == 1
    assert measured(["b"], {"a": 3.0, "b": 0.0}, "recall@1") == 0  # judged, and not relevant


def test_what_comes_twice_counts_once() -> None:
    twice = ["a", "a", "a", "b"]
    gains = {"a": 1.0, "b": 1.0}
    assert measured(twice, gains, "recall@3") == 1 / 2
    assert measured(twice, gains, "map@4") == pytest.approx((1 + 2 / 4) / 2)
    assert measured(twice, gains, "ndcg@4") < 1


def test_a_query_without_anything_relevant_has_no_value() -> None:
    nothing, something = judged(["x"], {"x": 0.0}), judged([], {"a": 1.0})
    measures = [Measure(kind, 10) for kind in MEASURES]
    values = values_of([nothing, something], measures)
    assert np.isnan(values[0]).all()
    assert (values[1] == 0).all()
    assert recall_curve([nothing], 10) == precision_curve([nothing]) == ([], [])


def again(ranked: list[int], gains: dict[int, float], kind: str, k: int) -> float:
    """The measures once more, as somebody else would write them."""
    relevant = {one for one, gain in gains.items() if gain > 0}
    first = [one for place, one in enumerate(ranked[:k]) if one not in ranked[:place]]
    hits = [one for one in first if one in relevant]
    if kind == "recall":
        return len(hits) / len(relevant)
    if kind == "precision":
        return len(hits) / k
    if kind == "hit":
        return 1.0 if hits else 0.0
    places = sorted(ranked.index(one) + 1 for one in hits)
    if kind == "mrr":
        return 1 / places[0] if places else 0.0
    if kind == "map":
        good = sum((number + 1) / place for number, place in enumerate(places))
        return good / min(len(relevant), k)
    dcg = sum(gains[one] / math.log(ranked.index(one) + 2, 2) for one in hits)
    best = sorted((gains[one] for one in relevant), reverse=True)[:k]
    return dcg / sum(gain / math.log(place + 2, 2) for place, gain in enumerate(best))


@pytest.mark.parametrize("kind", MEASURES)
def test_measures_equal_an_independent_writing_of_them(kind: str) -> None:
    dice = random.Random(5)
    for _ in range(200):
        ranked = [dice.randrange(30) for _ in range(dice.randrange(25))]
        gains = {dice.randrange(30): float(dice.randrange(4)) for _ in range(8)}
        if not any(gains.values()):
            continue
        k = dice.randrange(1, 20)
        found = values_of([judged(ranked, gains)], [Measure(kind, k)])[0, 0]
        assert found == pytest.approx(again(ranked, gains, kind, k)), (ranked, gains, k)


def test_curves() -> None:
    rankings = [judged(["a", "x", "b"], {"a": 1, "b": 1}), judged(["x", "c"], {"c": 1})]
    assert recall_curve(rankings, 3) == ([1, 2, 3], [0.25, 0.75, 1.0])
    levels, precisions = precision_curve(rankings)
    assert levels == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert precisions[5] == pytest.approx((1 + 1 / 2) / 2)
    assert precisions[6] == pytest.approx((2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@", "@10", "dcg@10", "ndcg@1.5", "NDCG@3"])
def test_what_is_no_measure_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected one of recall, .*, an @ and a depth"):
        measure_from(name)
