"""Ranking by postings is exact: a brute-force sum over every point agrees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernels import bits as bitset
from app.kernels.postings import WINDOW
from app.postings import bm25 as words
from app.postings.postings import build
from app.postings.search import Weighing, rank, score
from tests.postings.oracles import (
    Row,
    Text,
    bm25,
    growing_sparse,
    growing_words,
    inner_products,
    sparse_postings,
    word_postings,
)

TERMS = st.integers(0, 9)
WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 2.0, -0.5])
ROWS = st.lists(st.dictionaries(TERMS, WEIGHTS, max_size=6), max_size=150)
TEXTS = st.lists(
    st.dictionaries(TERMS, st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=6), max_size=60
)


def marked(slots: set[int], size: int) -> np.ndarray:
    bits = bitset.empty(size)
    bitset.set_slots(bits, np.array(sorted(slots), dtype=np.uint32))
    return bits


def expected(scores: dict[int, float], allowed: set[int], wanted: int) -> dict[int, float]:
    """The best, with all that tie with the last of them."""
    left = {slot: value for slot, value in scores.items() if slot in allowed}
    least = sorted(left.values(), reverse=True)[:wanted][-1:]
    return {slot: value for slot, value in left.items() if value >= least[0]} if least else {}


@settings(deadline=None)  # the first call compiles
@given(ROWS, st.dictionaries(TERMS, WEIGHTS, max_size=6), st.integers(1, 12), st.data())
@pytest.mark.parametrize("grown", [False, True])
def test_the_best_inner_products_are_found_with_their_ties(
    grown: bool, rows: list[Row], query: Row, wanted: int, data: st.DataObject
) -> None:
    allowed = set(data.draw(st.sets(st.integers(0, max(len(rows) - 1, 0)))))
    index = growing_sparse(rows).view(len(rows)) if grown else sparse_postings(rows)
    lists = index.lists(np.array(sorted(query), dtype=np.uint64))
    factors = np.array([query[term] for term in sorted(query)], dtype=np.float64)
    ranked = rank(lists, Weighing(factors), marked(allowed, len(rows)), wanted)
    # Weights are binary fractions, so every sum is exact in any order.
    found = dict(zip(ranked.slots.tolist(), ranked.scores.tolist(), strict=True))
    truth = inner_products(query, rows)
    assert found == expected(truth, allowed, wanted)
    assert ranked.matches == len(truth.keys() & allowed)
    assert sorted(ranked.scores, reverse=True) == ranked.scores.tolist()
    every = score(lists, Weighing(factors), np.arange(len(rows), dtype=np.uint32))
    assert every.tolist() == [truth.get(slot, 0.0) for slot in range(len(rows))]


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("wanted", [1, 10, 3000])
def test_many_windows_are_ranked_as_one_whether_slots_are_looked_up_or_added(
    share: float, wanted: int
) -> None:
    slots, terms = 3 * WINDOW + 77, 12
    drawn = np.random.default_rng(5)
    dense = drawn.integers(-2, 9, (slots, terms)).astype(np.float32)
    dense[drawn.random((slots, terms)) < 0.6] = 0  # many sums are equal, and few rows are empty
    dense[WINDOW : 2 * WINDOW, 1:] = 0
    at, of = np.nonzero(dense)
    bounds = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    index = build(bounds, of.astype(np.uint64), dense[at, of][:, None])
    query = drawn.integers(-3, 4, terms).astype(np.float64)
    allowed = set(np.flatnonzero(drawn.random(slots) < share).tolist())
    ranked = rank(
        index.lists(np.arange(terms, dtype=np.uint64)),
        Weighing(query),
        marked(allowed, slots),
        wanted,
    )
    sums = dense.astype(np.float64) @ query
    truth = {slot: sums[slot] for slot in range(slots) if dense[slot].any()}
    found = dict(zip(ranked.slots.tolist(), ranked.scores.tolist(), strict=True))
    assert found == expected(truth, allowed, wanted)
    assert ranked.matches == len(truth.keys() & allowed)


@settings(deadline=None)  # the first call compiles
@given(TEXTS, st.lists(TERMS, unique=True, min_size=1, max_size=5), st.data())
def test_bm25_over_parts_is_bm25_over_one_index_of_the_living(
    texts: list[Text], query: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    dead = data.draw(st.sets(st.integers(0, max(len(texts) - 1, 0))))
    mix = data.draw(st.sampled_from([(1.0, 1.0), (3.0, 0.5), (1.0, 0.0), (0.0, 2.0)]))
    alive = {slot: text for slot, text in enumerate(texts) if slot not in dead}
    parts = []
    for first, some, grown in ((0, texts[:cut], False), (cut, texts[cut:], True)):
        index = growing_words(some, 2).view(len(some)) if grown else word_postings(some, 2)
        own = {slot - first for slot in alive if first <= slot < first + len(some)}
        parts.append(words.Words(index, marked(own, len(some)), len(own) == len(some), {}))
    weighed, _ = words.weigh(parts, np.array(query, dtype=np.uint64), np.array(mix))
    found = {}
    for first, part, one in zip((0, cut), parts, weighed, strict=True):
        ranked = rank(one.lists, one.weighing, part.live, 1000)
        assert ranked.matches == ranked.slots.size
        found |= dict(zip((ranked.slots + first).tolist(), ranked.scores.tolist(), strict=True))
    truth = bm25(query, alive, mix)
    assert found.keys() == truth.keys()
    for slot, value in found.items():
        assert value == pytest.approx(truth[slot], rel=1e-6)  # norms are float32
