"""Answers against a plain loop over all points, and laws that hold whatever is planted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidQuery, LikewiseError, LimitExceeded
from app.query.labels import key_of
from app.types import F64, Metric

from .harness import Json, classified, filled, read

LABELS: list[Any] = ["a", "b", "c", 1, True, 2.5]
few_labels = st.one_of(
    st.sampled_from(LABELS), st.lists(st.sampled_from(LABELS), max_size=3), st.none()
)


@st.composite
def memories(draw: st.DrawFn) -> tuple[F64, list[Json]]:
    count = draw(st.integers(1, 14))
    numbers = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
    rows = draw(st.lists(numbers.filter(any), min_size=count, max_size=count))
    attributes = [
        {"y": value, "year": number}
        for number, value in enumerate(draw(st.lists(few_labels, min_size=count, max_size=count)))
    ]
    for having in attributes:
        if draw(st.booleans()) and having["y"] is None:
            del having["y"]
    return np.array(rows, dtype=np.float64), attributes


def cosine(a: F64, b: F64) -> float:
    return float(np.float32(a @ b / math.sqrt((a @ a) * (b @ b))))


def held(having: Json) -> list[Any]:
    value = having.get("y")
    every = value if isinstance(value, list) else [value]
    found: dict[Any, Any] = {}
    for one in every:
        if one is not None:
            found[key_of(one)] = one
    return list(found.values())


def by_hand(
    vectors: F64, attributes: Sequence[Json], query: F64, k: int, how: str, but: int | None = None
) -> dict[Any, float]:
    """Votes, written as they are read: sort, cut, weigh, add."""
    near = [
        (-cosine(query, row), number, attributes[number])
        for number, row in enumerate(vectors)
        if number != but and "y" in attributes[number] and attributes[number]["year"] >= 2
    ]
    chosen = sorted(near, key=lambda one: one[:2])[:k]
    weights = [
        {"uniform": 1.0, "similarity": max(-s, 0.0), "exponential": math.exp(-20 * (1 + s))}[how]
        for s, _, _ in chosen
    ]
    if how == "similarity" and not any(weights):
        weights = [1.0] * len(chosen)
    votes: dict[Any, float] = defaultdict(float)
    for weight, (_, _, having) in zip(weights, chosen, strict=True):
        for label in held(having):
            votes[key_of(label)] += weight / sum(weights)
    return {key: vote for key, vote in votes.items() if vote > 0}


@settings(max_examples=60)
@given(
    memories(), st.integers(1, 6), st.sampled_from(["uniform", "similarity", "exponential"]),
    st.booleans(), st.integers(0, 13),
)  # fmt: skip
def test_votes_are_those_of_the_nearest_that_pass(
    memory: tuple[F64, list[Json]], k: int, how: str, by_id: bool, which: int
) -> None:
    vectors, attributes = memory
    which %= len(vectors)
    thing = {"id": which} if by_id else {"vector": vectors[which].tolist()}
    (answer,) = classified(
        filled(vectors, attributes),
        {
            "inputs": [thing], "label": "y", "k": k, "weights": how, "top": 100, "explain": True,
            "multi_label": True, "thresholds": 0, "filter": {"year": {"$gte": 2}},
        },
    )  # fmt: skip
    wanted = by_hand(vectors, attributes, vectors[which], k, how, which if by_id else None)
    found = {key_of(one["label"]): one["probability"] for one in answer["scores"]}
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(wanted[key], abs=1e-5) for key in wanted)
    weights = [voter["weight"] for voter in answer["voters"].get("knn", [])]
    assert not weights or sum(weights) == pytest.approx(1)
    assert [voter["id"] for voter in answer["voters"].get("knn", [])].count(which) == 0 or not by_id


METHODS: list[Json] = [
    {"method": "knn", "k": 4, "weights": "exponential"},
    {"method": "prototypes"},
    {"heads": [{"method": "knn", "k": 3}, {"method": "prototypes", "weight": 2}]},
    {
        "heads": [{"method": "prototypes"}, {"method": "prototypes", "name": "x"}],
        "compose": "pairs",
    },
]


@st.composite
def labelled_memories(draw: st.DrawFn) -> tuple[F64, list[str]]:
    seed, count = draw(st.integers(0, 2**16)), draw(st.integers(4, 14))
    r = np.random.default_rng(seed)
    labels = [*"abcd", *r.choice([*"abcd"], size=count)]
    return r.standard_normal((len(labels), 3)), labels


@settings(max_examples=40)
@given(labelled_memories(), st.sampled_from(METHODS), st.permutations([*"abcd"]))
def test_renamed_labels_are_renamed_answers(
    memory: tuple[F64, list[str]], method: Json, names: list[str]
) -> None:
    vectors, labels = memory
    renamed = dict(zip("abcd", names, strict=True))
    asked = {"inputs": [{"vector": [1, 2, 3]}, {"id": 1}], "label": "y", "top": 100, **method}
    answers = [
        classified(filled(vectors, [{"y": one} for one in some]), asked)
        for some in (labels, [renamed[one] for one in labels])
    ]
    for before, after in zip(*answers, strict=True):
        told = [
            {_named(one["label"], names): one["probability"] for one in answer["scores"]}
            for answer, names in ((before, renamed), (after, {}))
        ]
        assert told[0] == pytest.approx(told[1])
        assert sum(told[0].values()) == pytest.approx(1)


def _named(label: Any, names: dict[str, str]) -> Any:
    if isinstance(label, list):
        return frozenset(names.get(one, one) for one in label)
    return names.get(label, label)


@settings(max_examples=40)
@given(
    labelled_memories(), st.sampled_from(METHODS),
    st.sampled_from(["min_score", "min_probability", "min_margin"]),
    st.lists(st.floats(0, 1), min_size=2, max_size=5).map(sorted),
)  # fmt: skip
def test_a_higher_bar_never_lets_more_through(
    memory: tuple[F64, list[str]], method: Json, bar: str, heights: list[float]
) -> None:
    vectors, labels = memory
    backend = filled(vectors, [{"y": one} for one in labels])
    inputs = [{"vector": [1, 2, 3]}, {"vector": [-1, 0, 1]}, {"id": 2}]
    through: list[set[int]] = []
    free = classified(backend, {"inputs": inputs, "label": "y", **method})
    for height in heights:
        asked = {"inputs": inputs, "label": "y", "reject": {bar: height}, **method}
        answers = classified(backend, asked)
        through.append({n for n, one in enumerate(answers) if one["label"] is not None})
        for one, unbarred in zip(answers, free, strict=True):
            assert one["scores"] == unbarred["scores"]
            assert one["label"] in (None, unbarred["label"])
            assert (one["abstained"] == bar) == (one["label"] is None)
    assert all(later <= earlier for earlier, later in pairwise(through))


@pytest.mark.parametrize("metric", list(Metric))
def test_class_means_are_means_and_leave_the_thing_out(metric: Metric) -> None:
    r = np.random.default_rng(3)
    vectors, labels = r.standard_normal((12, 4)), [*"aaaabbbbcccc"]
    backend = filled(vectors, [{"y": one} for one in labels], metric)
    (answer, _) = classified(
        backend,
        {"inputs": [{"id": 5}, {"vector": [1, 0, 0, 0]}], "label": "y", "method": "prototypes"},
    )
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rows if metric is Metric.COSINE else vectors
    for one in answer["scores"]:
        others = [n for n in range(12) if labels[n] == one["label"] and n != 5]
        mean = rows[others].mean(0)
        wanted = {
            Metric.COSINE: rows[5] @ mean / np.linalg.norm(mean),
            Metric.IP: rows[5] @ mean,
            Metric.L2: -np.linalg.norm(rows[5] - mean),
        }[metric]
        assert one["score"] == pytest.approx(wanted, abs=1e-5)


def test_a_label_of_one_point_is_not_given_to_that_point() -> None:
    backend = filled(np.eye(3), [{"y": "a"}, {"y": "b"}, {"y": "b"}])
    (answer,) = classified(
        backend, {"inputs": [{"id": 0}], "label": "y", "method": "prototypes", "top": 9}
    )
    assert [one["label"] for one in answer["scores"]] == ["b"]


def test_nothing_remembered_is_an_answer_that_abstains() -> None:
    backend = filled(np.eye(3), [{"y": "a"}, {}, {}])
    for method in ("knn", "prototypes"):
        (answer,) = classified(
            backend,
            {"inputs": [{"id": 0}], "label": "nobody", "method": method},
        )
        assert answer["label"] is None
        assert answer["abstained"] == "nothing_remembered"
        assert answer["nearest"] is None
        assert answer["scores"] == []


BAD: list[tuple[Json, str, type[LikewiseError]]] = [
    ({}, "/inputs", InvalidQuery),
    ({"inputs": []}, "/inputs", InvalidQuery),
    ({"inputs": [{"vector": [1]}] * 257}, "/inputs", LimitExceeded),
    ({"inputs": [{}]}, "/inputs/0", InvalidQuery),
    ({"inputs": [{"id": 1}]}, "", InvalidQuery),
    ({"inputs": [{"id": 1, "nuisance": []}]}, "/inputs/0/nuisance", InvalidQuery),
    ({"label": "y", "method": "magic"}, "/method", InvalidQuery),
    ({"label": "$y"}, "/label", InvalidQuery),
    ({"label": "y", "k": 0}, "/k", InvalidQuery),
    ({"label": "y", "k": 201}, "/k", LimitExceeded),
    ({"label": "y", "weights": "soft"}, "/weights", InvalidQuery),
    ({"label": "y", "temperature": 0, "method": "prototypes"}, "/temperature", InvalidQuery),
    ({"label": "y", "temperature": 1}, "/temperature", InvalidQuery),
    ({"label": "y", "multi_label": True, "method": "prototypes"}, "", InvalidQuery),
    ({"label": "y", "heads": []}, "/heads", InvalidQuery),
    ({"label": "y", "heads": [{}] * 9}, "/heads", LimitExceeded),
    ({"label": "y", "heads": [{"name": "a"}, {"name": "a"}]}, "/heads", InvalidQuery),
    ({"label": "y", "heads": [{"weight": -1}]}, "/heads/0/weight", InvalidQuery),
    ({"label": "y", "heads": [{"kk": 1}]}, "/heads/0/kk", InvalidQuery),
    ({"method": "zero_shot"}, "", InvalidQuery),
    ({"method": "zero_shot", "labels": {}}, "/labels", LimitExceeded),
    ({"method": "zero_shot", "labels": {"a": 1}}, "/labels/a", InvalidQuery),
    ({"method": "zero_shot", "labels": {"a/b": [1]}}, "/labels/a~1b/0", InvalidQuery),
    ({"method": "zero_shot", "labels": ["a", "a"]}, "/labels", InvalidQuery),
    ({"method": "zero_shot", "labels": ["a"], "templates": ["x"]}, "/templates/0", InvalidQuery),
    ({"method": "zero_shot", "labels": {"a": ["t"] * 2049}}, "/labels/a", LimitExceeded),
    ({"label": "y", "compose": {"pairs": [["a"]]}}, "/compose/pairs/0", InvalidQuery),
    ({"label": "y", "compose": {"by": "x"}}, "/compose/by", InvalidQuery),
    ({"label": "y", "thresholds": {"a": "x"}}, "/thresholds/a", InvalidQuery),
    ({"label": "y", "reject": {"min_margin": 2}}, "/reject/min_margin", InvalidQuery),
    ({"label": "y", "reject": {"min": 2}}, "/reject/min", InvalidQuery),
    ({"label": "y", "class_weights": {"nobody": {}}}, "/class_weights/nobody", InvalidQuery),
]  # fmt: skip


@pytest.mark.parametrize(("members", "pointer", "error"), BAD, ids=str)
def test_a_mistake_is_named_by_its_place(
    members: Json, pointer: str, error: type[LikewiseError]
) -> None:
    if "inputs" not in members and members:
        members = {"inputs": [{"id": 1}], **members}
    if not members:
        members = {"inputs": "x", "label": "y"}
    with pytest.raises(error) as raised:
        read(members)
    assert raised.value.pointer == pointer


def test_as_many_neighbours_as_a_request_may_look_at() -> None:
    backend = filled(np.eye(3), [{"y": "a"}] * 3)
    with pytest.raises(LimitExceeded, match="inputs × k"):
        classified(backend, {"inputs": [{"id": 1}] * 100, "label": "y", "k": 200})


def test_features_need_heads_with_one_vector_a_label() -> None:
    backend = filled(np.eye(3), [{"y": "a"}] * 3)
    asked = {"inputs": [{"id": 1}], "label": "y", "compose": {"by": "features"}}
    with pytest.raises(InvalidQuery) as raised:
        classified(backend, asked)
    assert raised.value.pointer == "/compose"
