"""Queries of fields of tokens, over HTTP and on every backend, against sums done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .harness import InProcess

QUERY = "/v1/collections/m/query"
POINTS = 30


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


RNG = np.random.default_rng(7)
TOKENS = [_unit(RNG.normal(size=(3 + n % 4, 6))).astype(np.float32) for n in range(POINTS)]
ASKED = _unit(RNG.normal(size=(4, 6))).astype(np.float32)


def _maxsim(query: Any, tokens: Any) -> float:
    return float((query @ tokens.T).max(axis=1).mean())


@pytest.fixture
def many(api: InProcess) -> InProcess:
    """Thirty points with tokens, "rest" on every second one; a dense vector besides."""
    spec = {"kind": "tokens", "dimension": 6}
    vectors = {"words": spec, "rest": spec, "one": {"dimension": 6}}
    assert api.put("/v1/collections/m", {"vectors": vectors}).status_code == 201
    points = []
    for n, tokens in enumerate(TOKENS):
        own = {"words": tokens.tolist(), "one": tokens.mean(axis=0).tolist()}
        if n % 2:
            own["rest"] = tokens[::-1].tolist()
        points.append({"id": n, "vectors": own, "attributes": {"n": n}})
    answer = api.put("/v1/collections/m/points", {"points": points})
    assert answer.status_code == 200, answer.text
    return api


def test_a_field_of_tokens_is_searched_by_maxsim(many: InProcess) -> None:
    body = {"query": {"tokens": ASKED.tolist()}, "using": "words", "k": POINTS, "explain": True}
    answer = many.post(QUERY, body).json()
    expected = {n: _maxsim(ASKED, tokens) for n, tokens in enumerate(TOKENS)}
    assert [p["id"] for p in answer["points"]] == sorted(expected, key=lambda n: -expected[n])
    for one in answer["points"]:
        assert one["score"] == pytest.approx(expected[one["id"]], abs=2e-3)
        assert one["scores"].keys() == {"words", "words pooled"}
    first = answer["points"][0]
    assert sum(gain for _, _, gain in first["notes"]["pairs"]) == pytest.approx(
        first["score"], abs=1e-4
    )
    (stage,) = [s for s in answer["explain"]["stages"] if s["stage"] == "recall"]
    assert (stage["by"], stage["query_tokens"]) == ("max", 4)


def test_the_filter_holds_and_a_point_finds_its_like(many: InProcess) -> None:
    body = {"query": {"id": 4}, "using": "words", "k": 3, "filter": {"n": {"$gte": 10}}}
    answer = many.post(QUERY, body).json()
    expected = {n: _maxsim(TOKENS[4], TOKENS[n]) for n in range(10, POINTS)}
    assert [p["id"] for p in answer["points"]] == sorted(expected, key=lambda n: -expected[n])[:3]
    assert answer["matches"] == POINTS - 10


def test_rescoring_by_another_aggregation(many: InProcess) -> None:
    body = {
        "vector": TOKENS[9].mean(axis=0).tolist(),
        "using": "one",
        "k": 4,
        "rescore": {
            "tokens": ASKED.tolist(),
            "using": "words",
            "aggregate": {"kind": "lse", "tau": 0.1},
            "candidates": 10,
        },
    }
    answer = many.post(QUERY, body).json()
    for one in answer["points"]:
        products = ASKED @ TOKENS[one["id"]].T
        expected = (0.1 * np.log(np.exp(products / 0.1).mean(axis=1))).mean()
        assert one["score"] == pytest.approx(float(expected), abs=2e-3)


def test_levels_are_fused(many: InProcess) -> None:
    level = {"tokens": ASKED.tolist(), "using": "words"}
    body = {
        "vector": TOKENS[9].mean(axis=0).tolist(),
        "using": "one",
        "k": 3,
        "explain": True,
        "rescore": {
            "candidates": POINTS,
            "levels": [
                {**level, "weight": 2},
                {**level, "aggregate": "mean"},
                {"vector": TOKENS[3].mean(axis=0).tolist(), "using": "one"},
            ],
        },
    }
    for one in many.post(QUERY, body).json()["points"]:
        scores = one["scores"]
        expected = 2 * scores["level 0"] + scores["level 1"] + scores["level 2"]
        assert one["score"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("match", ["mutual_nn", "sinkhorn", {"kind": "segment"}])
def test_a_matching_tells_its_pairs(many: InProcess, match: Any) -> None:
    body = {
        "query": {"tokens": TOKENS[5].tolist()},
        "using": "words",
        "k": 1,
        "explain": True,
        "rescore": {"match": match, "using": "words", "candidates": 10},
    }
    (best,) = many.post(QUERY, body).json()["points"]
    assert best["id"] == 5
    pairs = {(i, j) for i, j, *_ in best["notes"]["pairs"]}
    assert pairs >= {(token, token) for token in range(len(TOKENS[5]))}


def test_points_without_tokens_are_left_out_of_rescoring(many: InProcess) -> None:
    body = {
        "vector": TOKENS[9].mean(axis=0).tolist(),
        "using": "one",
        "k": POINTS,
        "rescore": {"tokens": ASKED.tolist(), "using": "rest", "candidates": POINTS},
    }
    found = [p["id"] for p in many.post(QUERY, body).json()["points"]]
    assert sorted(found) == list(range(1, POINTS, 2))


WORDS = {"tokens": ASKED.tolist(), "using": "words"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"query": {"tokens": [[1.0, 2.0]]}, "using": "words"}, "/query/tokens/0"),
        ({"query": {"tokens": []}, "using": "words"}, "/query/tokens"),
        ({"query": {"tokens": ASKED.tolist()}, "using": "one"}, "/query/tokens"),
        ({"query": {"id": 2}, "using": "rest"}, "/query/id"),
        ({"id": 1, "using": "one", "rescore": {**WORDS, "aggregate": "mox"}}, "/rescore/aggregate"),
        (
            {"id": 1, "using": "one", "rescore": {**WORDS, "aggregate": "max", "match": "graph"}},
            "/rescore",
        ),
        ({"id": 1, "using": "one", "rescore": {"using": "one", "match": "graph"}}, "/rescore"),
        ({"id": 1, "using": "one", "rescore": {**WORDS, "match": "anchors"}}, "/rescore"),
        (
            {"id": 1, "using": "one", "rescore": {"levels": [{**WORDS, "k": 1}]}},
            "/rescore/levels/0/k",
        ),
    ],
)
def test_mistakes_are_named(many: InProcess, body: dict[str, Any], pointer: str) -> None:
    answer = many.post(QUERY, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["pointer"] == pointer, answer.text
