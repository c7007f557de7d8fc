"""Laws of compositions, what they refuse, and that they go together with the rest of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidQuery, LikewiseError, LimitExceeded, PointNotFound
from app.ranking.scores import scores
from app.types import F32, Metric
from tests.query.asking import Found, ask, collection, unit

RANDOM = np.random.default_rng(11)
ROWS = unit(RANDOM.standard_normal((60, 8)))
HAVING = [{"kind": f"k{at % 4}", "n": at} for at in range(60)]
POINTS = collection(ROWS, HAVING)
TEXTS = {f"t{at}": unit(RANDOM.standard_normal(8)) for at in range(6)}
EVERY = 60


def asked(query: Mapping[str, Any], **more: Any) -> Found:
    return ask(POINTS, query, TEXTS, k=more.pop("k", EVERY), **more)


def alike(one: Found, other: Found) -> None:
    assert one.ids == other.ids
    assert one.scores == pytest.approx(other.scores, abs=1e-6)


leaves = st.one_of(
    st.integers(0, 59).map(lambda at: {"id": at}),
    st.sampled_from(sorted(TEXTS)).map(lambda text: {"text": text}),
)
several = st.lists(leaves, min_size=2, max_size=4)
CONCEPTS = {"field": "kind"}


@settings(max_examples=25, deadline=None)
@given(several, st.randoms())
def test_union_and_intersection_commute_exactly(terms: list[Any], random: Any) -> None:
    shuffled = list(terms)
    random.shuffle(shuffled)
    for node in ("union", "intersect"):
        one, other = asked({node: terms}), asked({node: shuffled})
        assert (one.ids, one.scores) == (other.ids, other.scores)
        with_texts = {"concepts": [f"t{at}" for at in range(6)], "sparsity": 0}
        try:
            found = asked({node: terms, **with_texts})
        except InvalidQuery:
            continue
        assert found.ids == asked({node: shuffled, **with_texts}).ids


@settings(max_examples=25, deadline=None)
@given(leaves)
def test_of_one_thing_and_of_one_thing_twice_it_is_itself(leaf: Any) -> None:
    alone = asked(leaf)
    for query in (
        {"union": [leaf]},
        {"intersect": [leaf]},
        {"union": [leaf, leaf]},
        {"intersect": [leaf, leaf]},
        {"sum": [leaf]},
        {"sum": [leaf, {"of": leaf, "weight": 3}]},
        {"compose": [leaf, leaf], "mix": 0.3},
        {"set": [leaf], "background": "none"},
        {"attributes": [leaf]},
        {"recommend": {"positive": [leaf]}},
        {"recommend": {"positive": [leaf], "strategy": "sum_scores"}},
        {"add": [leaf, {"text": "t0"}], "weight": 0},
        {"uncertain": {"of": leaf, "pairs": [[1, 2]], "strength": 0}},
    ):
        found = asked(query)
        assert [id_ for id_ in found.ids if id_ in alone.ids] == [
            id_ for id_ in alone.ids if id_ in found.ids
        ]


@settings(max_examples=25, deadline=None)
@given(several, st.floats(0.1, 20))
def test_scale_of_weights_makes_no_difference(terms: list[Any], scale: float) -> None:
    weighted = [{"of": term, "weight": 1 + at} for at, term in enumerate(terms)]
    scaled = [{"of": term, "weight": scale * (1 + at)} for at, term in enumerate(terms)]
    alike(asked({"sum": weighted}), asked({"sum": scaled}))


@settings(max_examples=25, deadline=None)
@given(leaves, leaves, st.floats(0.1, 0.7))
def test_what_is_subtracted_and_added_again_leaves_nothing_changed(
    a: Any, b: Any, weight: float
) -> None:
    same = {"sum": [a, {"of": b, "weight": weight}, {"of": b, "weight": -weight}], "keep": True}
    alike(asked(same), asked({"sum": [a], "keep": True}))


@settings(max_examples=25, deadline=None)
@given(leaves)
def test_a_thing_less_itself_is_refused(leaf: Any) -> None:
    for query in (
        {"subtract": [leaf, leaf]},
        {"reject": [leaf, leaf]},
        {"subtract": [leaf, leaf], "concepts": CONCEPTS},
    ):
        with pytest.raises(InvalidQuery, match=r"nothing") as refused:
            asked(query)
        assert refused.value.pointer == "/query"


@settings(max_examples=20, deadline=None)
@given(several, st.randoms())
def test_sets_and_recommendations_do_not_depend_on_the_order(terms: list[Any], random: Any) -> None:
    shuffled = list(terms)
    random.shuffle(shuffled)
    for build in (
        lambda given: {"set": given},
        lambda given: {"recommend": {"positive": given, "negative": [1, 2]}},
        lambda given: {"recommend": {"positive": given, "strategy": "best_score"}},
        lambda given: {"attributes": given},
    ):
        one, other = asked(build(terms)), asked(build(shuffled))
        assert (one.ids, one.scores) == (other.ids, pytest.approx(other.scores, abs=1e-12))


# ── golden values ────────────────────────────────────────────────────────────────────────────────


def similar(vector: Any, rows: F32 = ROWS) -> Any:
    return rows @ unit(vector)


def best(worth: Any, but: tuple[int, ...] = (), k: int = 5) -> list[int]:
    order = np.argsort(-np.asarray(worth), kind="stable")
    return [int(at) for at in order if at not in but][:k]


MU = ROWS.mean(axis=0)
GOLDEN: dict[str, tuple[dict[str, Any], Any, tuple[int, ...]]] = {
    "sum": (
        {"sum": [{"id": 0}, {"of": {"id": 1}, "weight": -0.5}]},
        similar(ROWS[0] - 0.5 * ROWS[1]),
        (0, 1),
    ),
    "sum, centred": (
        {"sum": [{"id": 0}, {"of": {"id": 1}, "weight": 2}], "center": True},
        similar(ROWS[0] + 2 * ROWS[1] - 3 * MU),
        (0, 1),
    ),
    "reject": (
        {"reject": [{"id": 0}, {"id": 1}]},
        similar(ROWS[0] - (ROWS[0] @ ROWS[1]) * ROWS[1]),
        (0, 1),
    ),
    "compose": (
        {"compose": {"id": 4, "text": "t1"}, "mix": 0.25},
        similar(0.75 * ROWS[4] + 0.25 * TEXTS["t1"]),
        (4,),
    ),
    "set": ({"set": [5, 6, 7]}, similar(ROWS[5:8].mean(axis=0) - MU), (5, 6, 7)),
    "label": (
        {"label": {"field": "kind", "value": "k1"}, "background": "collection"},
        similar(ROWS[1::4].mean(axis=0) - MU),
        (),
    ),
    "union": (
        {"union": [{"id": 0}, {"text": "t2"}]},
        np.maximum(similar(ROWS[0]), similar(TEXTS["t2"])),
        (0,),
    ),
    "intersect": (
        {"intersect": [{"id": 0}, {"text": "t2"}]},
        np.minimum(similar(ROWS[0]), similar(TEXTS["t2"])),
        (0,),
    ),
    "subtract, scores": (
        {"subtract": [{"id": 0}, {"id": 1}], "by": "scores", "weight": 0.5},
        similar(ROWS[0]) - 0.5 * np.maximum(similar(ROWS[1]), 0),
        (0, 1),
    ),
    "average_vector": (
        {"recommend": {"positive": [0, 1], "negative": [2]}},
        similar(ROWS[0] + ROWS[1] - ROWS[2]),
        (0, 1, 2),
    ),
    "best_score": (
        {"recommend": {"positive": [0], "negative": [2], "strategy": "best_score"}},
        np.where(
            similar(ROWS[0]) > similar(ROWS[2]),
            1 + similar(ROWS[0]),
            -1 - similar(ROWS[2]),
        ),
        (0, 2),
    ),
    "context": (
        {"context": [{"positive": 0, "negative": 1}, {"positive": 2, "negative": 3}]},
        np.minimum(similar(ROWS[0]) - similar(ROWS[1]) - 1e-5, 0)
        + np.minimum(similar(ROWS[2]) - similar(ROWS[3]) - 1e-5, 0),
        (0, 1, 2, 3),
    ),
    "discover": (
        {"discover": {"target": 0, "context": [{"positive": 1, "negative": 2}]}},
        np.sign(similar(ROWS[1]) - similar(ROWS[2])) + similar(ROWS[0]) / 10,
        (0, 1, 2),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_order(name: str) -> None:
    query, worth, named = GOLDEN[name]
    assert asked(query, k=5).ids == best(worth, named)
    keeping = {**query, "keep": True}
    if "recommend" in query or "discover" in query:
        (node,) = query
        keeping = {node: {**query[node], "keep": True}}
    assert asked(keeping, k=5).ids == best(worth)


@pytest.mark.parametrize("metric", [Metric.IP, Metric.L2])
def test_other_metrics(metric: Metric) -> None:
    rows = (3 * np.random.default_rng(1).standard_normal((40, 6))).astype(np.float32)
    backend = collection(rows, [{"kind": at % 2} for at in range(40)], metric)

    def expect(query: Mapping[str, Any], worth: Any, but: tuple[int, ...]) -> None:
        assert ask(backend, query, k=5).ids == best(worth, but)

    def near(vector: Any) -> Any:
        return scores(metric, np.asarray(vector, dtype=np.float32), rows)

    total = rows[0] + 2 * rows[1]
    expect(
        {"sum": [{"id": 0}, {"of": {"id": 1}, "weight": 2}]},
        near(total if metric is Metric.IP else total / 3),
        (0, 1),
    )
    expect({"intersect": [{"id": 0}, {"id": 1}]}, np.minimum(near(rows[0]), near(rows[1])), (0, 1))
    expect({"set": [3, 4], "background": "none"}, near(rows[3:5].mean(axis=0)), (3, 4))
    both = {"positive": [0, 1], "negative": [2], "strategy": "sum_scores"}
    expect({"recommend": both}, near(rows[0]) + near(rows[1]) - near(rows[2]), (0, 1, 2))
    expect({"label": {"field": "kind", "value": 1}}, near(rows[1::2].mean(axis=0)), ())
    for query in (
        {"intersect": [{"id": 0}, {"id": 1}], "concepts": {"field": "kind"}},
        {"condition": {"of": 0, "labels": "kind"}},
        {"uncertain": {"of": 0, "pairs": [[1, 2]]}},
        {"set": [1, 2], "center": True} if metric is Metric.IP else {"reject": [{"id": 0}] * 2},
    ):
        with pytest.raises(InvalidQuery, match=metric.value):
            ask(backend, query)


def test_what_float32_does_not_hold_is_refused() -> None:
    rows = np.full((3, 4), 3e38, dtype=np.float32)
    backend = collection(rows, metric=Metric.IP)
    with pytest.raises(InvalidQuery, match="float32"):
        ask(backend, {"sum": [{"id": 0}, {"id": 1}]})


# ── with the rest of a query ─────────────────────────────────────────────────────────────────────

NODES: list[dict[str, Any]] = [
    *(query for query, _, _ in GOLDEN.values()),
    {"add": [{"id": 0}, {"text": "t0"}]},
    {"attributes": ["t0", "t1", "t2"]},
    {"set": [1, 2, 3], "center": True},
    {"intersect": [{"id": 0}, {"text": "t0"}], "concepts": ["t0", "t1", "t2"]},
    {"union": [{"id": 0}, {"text": "t0"}], "concepts": {"kmeans": 6}},
    {"subtract": [{"id": 0}, {"id": 1}], "concepts": {"field": "kind"}, "center": False},
    {"condition": {"of": 0, "texts": ["t0", "t1", "t2"]}},
    {"condition": {"of": 0, "labels": "kind"}},
    {"condition": {"of": 0, "text": "t1"}},
    {"condition": {"of": 0, "like": [1, 2], "unlike": [3, 4]}},
    {"condition": {"of": 0, "like": [1, 2], "unlike": [3, 4], "method": "gate"}},
    {"condition": {"of": 0, "mode": "change", "from": "t1", "to": "t2"}},
    {"condition": {"of": 0, "mode": "change", "texts": ["t0", "t1", "t3"], "to": "t0"}},
    {"uncertain": {"of": {"text": "t4"}, "labels": {"field": "kind", "values": ["k0", "k1"]}}},
]


@pytest.mark.parametrize("query", NODES, ids=lambda query: next(iter(query)))
def test_every_node_goes_with_filters_prefetch_fusion_rescoring_and_grouping(query: Any) -> None:
    every = asked(query)
    passing = {id_: score for id_, score in zip(every.ids, every.scores, strict=True) if id_ < 30}
    filtered = asked(query, filter={"n": {"$lt": 30}})
    assert filtered.ids == list(passing)
    assert filtered.scores == pytest.approx(list(passing.values()), abs=1e-5)
    source = [{"vector": ROWS[9].tolist(), "k": 20}]
    scored = asked(query, members={"prefetch": source})
    assert scored.ids == [id_ for id_ in every.ids if id_ in set(scored.ids)]
    assert len(scored.ids) >= 12
    fused = asked(query, members={"prefetch": [{"query": query, "k": 60}], "fuse": "rrf"})
    assert fused.ids[0] == every.ids[0]
    rescored = ask(
        POINTS,
        {"text": "t5"},
        TEXTS,
        k=EVERY,
        members={"rescore": {"query": query, "candidates": 60}},
    )
    assert [id_ for id_ in rescored.ids if id_ in every.ids] == every.ids
    grouped = asked(query, members={"group_by": {"field": "kind", "groups": 2, "size": 2}})
    assert len(grouped.ids) == 4
    assert grouped.ids[0] == every.ids[0]
    for told in every.composed:
        assert {"node", "at", "ms"} <= told.keys()


def test_rules_are_scored_by_rules_around_them() -> None:
    inner = {"intersect": [{"id": 0}, {"id": 1}]}
    found = asked({"sum": [inner, {"of": {"text": "t0"}, "weight": 2}]})
    worth = np.minimum(similar(ROWS[0]), similar(ROWS[1])) + 2 * similar(TEXTS["t0"])
    assert found.ids == best(worth, (0, 1), 60)
    outer = asked({"union": [inner, {"id": 7}]})
    worth = np.maximum(np.minimum(similar(ROWS[0]), similar(ROWS[1])), similar(ROWS[7]))
    assert outer.ids == best(worth, (0, 1, 7), 60)
    with pytest.raises(InvalidQuery, match="one vector") as refused:
        asked({"reject": [{"id": 3}, inner]})
    assert refused.value.pointer == "/query/reject/1"


def test_an_answer_says_whether_the_rule_saw_everything() -> None:
    query = {"intersect": [{"id": 0}, {"id": 1}], "candidates": 5}
    assert asked(query, k=3).exact is False
    assert asked({**query, "candidates": 60}, k=3).exact is True
    assert asked({"union": [{"id": 0}, {"id": 1}]}, k=3).exact is True


# ── what is refused, and where ───────────────────────────────────────────────────────────────────

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"sum": []}, "/query/sum", "at least 1"),
    ({"sum": [{"id": 1}], "weight": 2}, "/query/weight", "no such member"),
    ({"sum": [{"of": {"id": 1}, "weight": "x"}]}, "/query/sum/0/weight", "number"),
    ({"sum": [{"of": {"id": 1}, "weight": -1e7}]}, "/query/sum/0/weight", "from -1e+06"),
    ({"add": [{"id": 1}, {"id": 2}], "weight": -1}, "/query/weight", "from 0"),
    ({"sum": [5]}, "/query/sum/0", "object"),
    ({"sum": [{"id": 1}], "union": [{"id": 1}]}, "/query", "exactly one"),
    ({"subtract": [{"id": 1}]}, "/query/subtract", "at least 2"),
    ({"subtract": [{"id": 1}, {"id": 2}], "by": "luck"}, "/query/by", "expected one of"),
    ({"subtract": [{"id": 1}, {"id": 2}], "by": "concepts"}, "/query", "concepts"),
    ({"union": [{"id": 1}], "concepts": {"feild": "x"}}, "/query/concepts", "field"),
    ({"union": [{"id": 1}], "concepts": {"field": "none"}}, "/query/concepts", "two values"),
    ({"union": [{"id": 1}], "concepts": {"kmeans": 1}}, "/query/concepts/kmeans", "at least 2"),
    ({"set": [True]}, "/query/set/0", "an id"),
    ({"set": [1], "background": "wall"}, "/query/background", "expected one of"),
    ({"set": [1], "background": {"n": {"$no": 1}}}, "/query/background/n/$no", ""),
    ({"label": {"field": "kind", "value": "k9"}}, "/query/label/value", "no point"),
    ({"label": {"field": "kind", "value": [1]}}, "/query/label/value", "a value"),
    ({"label": {"field": "kind"}}, "/query/label", "needs value"),
    ({"attributes": [1]}, "/query/attributes/0", "a text"),
    ({"attributes": ["t0"], "threshold": 0}, "/query/threshold", "above 0"),
    ({"compose": {"text": "t0"}}, "/query/compose", "two things"),
    ({"compose": [{"id": 1}, {"id": 2}], "mix": 2}, "/query/mix", "from 0 to 1"),
    ({"condition": {"of": 1}}, "/query/condition", "what to look at"),
    ({"condition": {"of": 1, "texts": ["t0"]}}, "/query/condition/texts", "at least 2"),
    ({"condition": {"of": 1, "texts": ["t0", "t0"]}}, "/query/condition", "nothing"),
    ({"condition": {"of": 1, "unlike": [2]}}, "/query/condition/unlike", "like"),
    ({"condition": {"of": 1, "like": [2]}}, "/query/condition", "needs unlike"),
    ({"condition": {"of": 1, "labels": {"field": "zz"}}}, "/query/condition/labels", "two values"),
    ({"condition": {"of": 1, "mode": "change"}}, "/query/condition", "what comes in"),
    ({"condition": {"of": 1, "text": "t0", "labels": "kind"}}, "/query/condition", "one of"),
    ({"uncertain": {"of": 1}}, "/query/uncertain", "needs pairs"),
    ({"uncertain": {"of": 1, "pairs": [[1]]}}, "/query/uncertain/pairs/0", "at least 2"),
    ({"recommend": {"negative": [1]}}, "/query/recommend", "positive"),
    ({"recommend": {"positive": [1], "strategy": "best"}}, "/query/recommend/strategy", "one of"),
    ({"discover": {"target": 1}}, "/query/discover", "needs context"),
    ({"context": [{"positive": 1}]}, "/query/context/0", "needs negative"),
    ({"context": []}, "/query/context", "at least 1"),
]


@pytest.mark.parametrize(("query", "pointer", "words"), REFUSED, ids=str)
def test_mistakes_are_named_by_their_place(query: Any, pointer: str, words: str) -> None:
    with pytest.raises(LikewiseError) as refused:
        asked(query)
    assert not isinstance(refused.value, LimitExceeded)
    assert refused.value.pointer == pointer
    assert words in str(refused.value)


def test_ids_that_there_are_not_are_named_where_they_stand() -> None:
    with pytest.raises(PointNotFound) as refused:
        asked({"set": [1, 777, 2]})
    assert refused.value.pointer == "/query/set/1"


TOO_MUCH: list[tuple[dict[str, Any], str]] = [
    ({"set": list(range(300))}, "/query/set"),
    ({"sum": [{"set": list(range(200))}, {"set": list(range(200))}]}, "/query/sum/1/set/56"),
    ({"union": [{"id": 1}], "concepts": {"kmeans": 257}}, "/query/concepts/kmeans"),
    ({"union": [{"id": 1}], "concepts": {"field": "kind", "most": 257}}, "/query/concepts/most"),
    ({"intersect": [{"id": 1}], "candidates": 10_001}, "/query/candidates"),
    (
        {"condition": {"of": 1, "labels": {"field": "kind", "per_value": 2000}}},
        "/query/condition/labels/per_value",
    ),
]


@pytest.mark.parametrize(("query", "pointer"), TOO_MUCH, ids=lambda given: str(given)[:30])
def test_everything_is_bounded(query: Any, pointer: str) -> None:
    with pytest.raises(LimitExceeded) as refused:
        asked(query)
    assert refused.value.pointer == pointer


def test_deep_compositions_are_bounded() -> None:
    query: dict[str, Any] = {"id": 1}
    for _ in range(9):
        query = {"sum": [query]}
    with pytest.raises(LimitExceeded, match="deep"):
        asked(query)


def test_more_examples_than_searches_are_recalled_by_some_and_scored_by_all() -> None:
    query = {"recommend": {"positive": list(range(40)), "strategy": "best_score"}}
    found = asked(query, k=20)
    (told,) = found.composed
    assert told["probes"].startswith("16 of 40")
    assert found.ids == best((ROWS @ ROWS[:40].T).max(axis=1), tuple(range(40)), 20)


def test_a_field_without_dense_vectors_is_refused() -> None:
    query = {"sum": [{"lexical": "words"}]}
    with pytest.raises(InvalidQuery, match="dense"):
        asked(query)
