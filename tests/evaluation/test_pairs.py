"""Measures of pairs under draws, against pairs that are written out as often as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.evaluation.bootstrap import statistic
from app.evaluation.pairs import PairMeasures, rank_agreement
from app.evaluation.verification import eer, roc, roc_auc, separation, tar_at_far


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_draw_is_the_pairs_written_out(seed: int, labels: int, of_labels: bool) -> None:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(labels), 3)
    a, b = np.triu_indices(who.size, 1)
    same = who[a] == who[b]
    scores = rng.integers(0, 6, size=a.size) / 4 + same * 0.5  # with ties
    measures = PairMeasures(scores, same, (0.1, 0.3), (who[a], who[b]) if of_labels else None)
    things = labels if of_labels else a.size
    assert measures.things == things
    places = rng.integers(things, size=things)
    counts = np.bincount(places, minlength=things)
    times = counts
    if of_labels:
        times = np.where(same, counts[who[a]], counts[who[a]] * counts[who[b]])
    drawn, drawn_same = np.repeat(scores, times), np.repeat(same, times)
    found = measures.at(places)
    if drawn_same.all() or not drawn_same.any():
        assert np.isnan(found).all()
        return
    curve = roc(drawn, drawn_same)
    expected = [
        roc_auc(curve),
        eer(curve),
        tar_at_far(curve, 0.1),
        tar_at_far(curve, 0.3),
        separation(drawn, drawn_same),
    ]
    assert found == pytest.approx(expected, abs=1e-12)
    assert measures.wholes()["eer"](places) == found[1]


def test_labels_that_hang_together_make_wider_intervals_than_pairs_that_do_not() -> None:
    """Some people are easy and some are hard: their many pairs are no many observations."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 8)
    ease = rng.normal(size=12)
    a, b = np.triu_indices(who.size, 1)
    same = who[a] == who[b]
    scores = np.where(same, 1.5 + ease[who[a]], (ease[who[a]] + ease[who[b]]) / 2)
    scores = scores + rng.normal(size=a.size) * 0.3
    widths = []
    for labels in (None, (who[a], who[b])):
        measures = PairMeasures(scores, same, (0.01,), labels)
        one = statistic(measures.wholes()["roc auc"], measures.things, samples=200)
        assert one.low <= one.value <= one.high
        widths.append(one.high - one.low)
    assert widths[1] > 3 * widths[0]


def test_rankings_that_agree_agree_on_every_pair() -> None:
    assert rank_agreement(np.array([3.0, 1, 2]), np.array([30.0, 10, 20])).tolist() == [1, 1, 1]
    assert rank_agreement(np.array([3.0, 1, 2]), np.array([10.0, 30, 20])).tolist() == [0, 0, 1]
