"""Aggregations and matchings as JSON: what is right is read, what is not is named by its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidQuery
from app.ranking.tokens.aggregation import Aggregation, aggregate
from app.ranking.tokens.anchors import Anchors
from app.ranking.tokens.dense import Dense
from app.ranking.tokens.matching import Matching, match
from app.ranking.tokens.mutual import MutualNearest
from app.ranking.tokens.reading import aggregation_from, matching_from
from app.ranking.tokens.second_order import SecondOrder
from app.ranking.tokens.segment import Segment
from app.ranking.tokens.sinkhorn import Sinkhorn
from tests.ranking.planted import ragged, unit


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("max", Aggregation("max")),
        ({"kind": "max", "symmetric": True}, Aggregation("max", symmetric=True)),
        ({"kind": "attend", "tau": 1, "topk": 8}, Aggregation("attend", tau=1.0, topk=8)),
        ("isa", Aggregation("isa", tau=0.01)),
        ({"kind": "isa", "tau": 0.1}, Aggregation("isa", tau=0.1)),
        (
            {"kind": "regulated", "steps": 0, "agreement_tau": 2},
            Aggregation("regulated", steps=0, agreement_tau=2.0),
        ),
    ],
)
def test_aggregations_are_read(raw: object, read: Aggregation) -> None:
    assert aggregation_from(raw, "/aggregate") == read


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("mutual_nn", Matching()),
        ({"kind": "mutual_nn", "ratio": 0.8}, Matching(MutualNearest(0.8))),
        (
            {"kind": "sinkhorn", "tau": 0.1, "dustbin": 0.6, "iterations": 50, "least": 0},
            Matching(Sinkhorn(0.1, 0.6, 50, 0.0)),
        ),
        ({"kind": "graph", "verify": "topology"}, Matching(SecondOrder(), "topology")),
        (
            {"kind": "segment", "gap": None, "reverse": True, "cyclic": True},
            Matching(Segment(gap=None, reverse=True, cyclic=True)),
        ),
        ({"kind": "anchors", "anchors": 64, "radius": 3}, Matching(Anchors(64, 3.0))),
        (
            {"kind": "dense", "scales": [1, 0.5], "smooth_features": 0, "verify": "cycle"},
            Matching(Dense((1.0, 0.5), smooth_features=0.0), "cycle"),
        ),
    ],
)
def test_matchings_are_read(raw: object, read: Matching) -> None:
    assert matching_from(raw, "/match") == read


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (None, ""),
        (3, ""),
        ("maximum", ""),
        ({}, ""),
        ({"kind": "best"}, "/kind"),
        ({"kind": ["max"]}, "/kind"),
        ({"kind": "max", "tau": 0.1}, "/tau"),
        ({"kind": "attend", "tau": 0}, "/tau"),
        ({"kind": "attend", "tau": True}, "/tau"),
        ({"kind": "attend", "tau": "0.1"}, "/tau"),
        ({"kind": "attend", "tau": float("nan")}, "/tau"),
        ({"kind": "attend", "tau": 10**400}, "/tau"),
        ({"kind": "attend", "topk": 0}, "/topk"),
        ({"kind": "attend", "topk": 2.0}, "/topk"),
        ({"kind": "attend", "topk": 1025}, "/topk"),
        ({"kind": "regulated", "steps": 11}, "/steps"),
        ({"kind": "mean", "symmetric": 1}, "/symmetric"),
        ({"kind": "max", "a/b~": 1}, "/a~1b~0"),
    ],
)
def test_faults_of_aggregations_are_named_with_their_place(raw: object, place: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        aggregation_from(raw, "/query/aggregate")
    assert caught.value.pointer == "/query/aggregate" + place


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (None, ""),
        ("hungarian", ""),
        ({"verify": "cycle"}, ""),
        ({"kind": "graph", "verify": "twice"}, "/verify"),
        ({"kind": "graph", "verify": None}, "/verify"),
        ({"kind": "segment", "verify": "cycle"}, "/verify"),
        ({"kind": "graph", "top": 33}, "/top"),
        ({"kind": "graph", "sigma": 0}, "/sigma"),
        ({"kind": "sinkhorn", "tau": 0.001}, "/tau"),
        ({"kind": "sinkhorn", "dustbin": 1.5}, "/dustbin"),
        ({"kind": "sinkhorn", "iterations": 100_000}, "/iterations"),
        ({"kind": "segment", "gap": -1}, "/gap"),
        ({"kind": "anchors", "anchors": 10_000}, "/anchors"),
        ({"kind": "dense", "scales": []}, "/scales"),
        ({"kind": "dense", "scales": [1] * 6}, "/scales"),
        ({"kind": "dense", "scales": [1, 3]}, "/scales/1"),
        ({"kind": "dense", "scales": [True]}, "/scales/0"),
        ({"kind": "dense", "scales": [[1]]}, "/scales/0"),
        ({"kind": "dense", "scales": [2, 2.0]}, "/scales/1"),
        ({"kind": "dense", "smooth_cost": 9}, "/smooth_cost"),
        ({"kind": "dense", "smooth_features": 0.001}, "/smooth_features"),
    ],
)
def test_faults_of_matchings_are_named_with_their_place(raw: object, place: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        matching_from(raw, "/match")
    assert caught.value.pointer == "/match" + place


def test_a_message_never_repeats_what_came() -> None:
    with pytest.raises(InvalidQuery) as caught:
        aggregation_from({"kind": "secret-kind"}, "")
    assert "secret" not in caught.value.detail


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["attend", "regulated", "sinkhorn", "dense", "segment", "graph"])},
    optional={
        name: ANYTHING | st.floats(0, 2) | st.integers(0, 3)
        for name in ("tau", "topk", "steps", "dustbin", "scales", "gap", "top", "verify", "sigma")
    },
)


@given(ANYTHING | FIELDS)
@settings(deadline=None)
def test_whatever_json_holds_is_read_or_refused_and_what_is_read_runs(raw: Any) -> None:
    x = unit(np.random.default_rng(0).standard_normal((4, 8)))
    try:
        aggregation = aggregation_from(raw, "")
    except InvalidQuery:
        pass
    else:
        assert np.isfinite(aggregate(x, *ragged([x]), aggregation)).all()
    try:
        matching = matching_from(raw, "")
    except InvalidQuery:
        return
    assert np.isfinite(match(x, x, matching).score)
