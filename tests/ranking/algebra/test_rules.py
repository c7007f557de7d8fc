"""Scores of several similarities: golden values, and the laws of sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.algebra import rules
from app.types import F64

lists = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=n, max_size=n
    ).map(np.array)
)


def test_golden_values() -> None:
    both = np.array([[0.9, 0.2, -0.5], [0.4, 0.6, -0.1]])
    assert rules.greatest(both).tolist() == [0.9, 0.6, -0.1]
    assert rules.least(both).tolist() == [0.4, 0.2, -0.5]
    assert np.allclose(rules.less(both, 0.5), [0.7, -0.1, -0.5])
    assert np.allclose(rules.less(both[:1], 0.5), both[0])
    assert np.allclose(rules.sum_scores(both, both[:1]), both[1])


def test_best_score_keeps_winners_above_losers() -> None:
    positive, negative = np.array([[0.1, 0.9, -0.6]]), np.array([[0.0, 0.95, -0.5]])
    found = rules.best_score(positive, negative)
    assert np.allclose(found, [0.5 * (1 + 0.1 / 1.1), -0.5 * (1 + 0.95 / 1.95), -1 / 3])
    # With negatives alone, what is least like them comes first.
    alone = rules.best_score(np.zeros((0, 3)), negative)
    assert np.argsort(-alone).tolist() == [2, 0, 1]
    assert np.argsort(-rules.best_score(positive, np.zeros((0, 3)))).tolist() == [1, 0, 2]


def test_where_no_similarity_is_negative_the_order_is_the_manuals() -> None:
    random = np.random.default_rng(0)
    p, n = random.random((3, 200)), random.random((2, 200))
    manual = np.where(p.max(0) > n.max(0), p.max(0), -(n.max(0) ** 2))
    assert (np.argsort(rules.best_score(p, n)) == np.argsort(manual)).all()


def test_discovery_counts_pairs_first_and_asks_the_target_then() -> None:
    target = np.array([0.9, 0.1, 0.5, 0.6])
    positive = np.array([[0.1, 0.9, 0.9, 0.9], [0.1, 0.9, 0.9, 0.2]])
    negative = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    assert np.argsort(-rules.discover(target, positive, negative)).tolist() == [2, 1, 3, 0]
    loss = rules.context(positive, negative)
    assert np.allclose(loss, [-0.8 - 2e-5, 0, 0, -0.3 - 1e-5])


@given(lists, st.randoms())
def test_union_and_intersection_obey_the_laws_of_sets(found: F64, random: st.DataObject) -> None:
    order = list(range(len(found)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for operation in (rules.greatest, rules.least):
        assert (operation(found[order]) == operation(found)).all()
        assert (operation(np.repeat(found, 2, axis=0)) == operation(found)).all()
        assert (operation(found[:1]) == found[0]).all()
    absorbed = rules.least(np.stack([found[0], rules.greatest(found)]))
    assert (absorbed == found[0]).all()
