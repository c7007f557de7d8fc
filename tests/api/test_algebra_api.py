"""Compositions over HTTP, on every backend, with texts that an encoder reads."""

from __future__ import annotations

import math
from typing import Any

import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"


@pytest.fixture
def circle(api: InProcess) -> InProcess:
    """Points 0 … 35 at n·10° with attributes; point "t" with another vector only."""
    vectors = {"v": {"dimension": 2}, "w": {"encoder": "tiny"}}
    api.put("/v1/collections/c", {"vectors": vectors})
    points: list[dict[str, Any]] = [
        {
            "id": n,
            "vectors": {"v": [math.cos(n * math.pi / 18), math.sin(n * math.pi / 18)]},
            "attributes": {"n": n, "half": "upper" if n < 18 else "lower"},
        }
        for n in range(36)
    ]
    words = ["red fish", "red car", "blue fish", "blue car", "green tree"]
    points += [
        {"id": text, "text": text, "vectors": {"w": vector}}
        for text, vector in zip(words, _embedded(api, words), strict=True)
    ]
    answer = api.put("/v1/collections/c/points", {"points": points})
    assert answer.status_code == 200, answer.text
    return api


def _embedded(api: InProcess, texts: list[str]) -> list[list[float]]:
    answer = api.post("/v1/embeddings", {"model": "tiny", "input": texts}).json()
    return [one["embedding"] for one in answer["data"]]


def ids(answer: Any) -> list[Any]:
    return [point["id"] for point in answer["points"]]


def test_compositions_answer_and_tell_what_they_did(circle: InProcess) -> None:
    body = {"query": {"sum": [{"id": 0}, {"id": 4}]}, "using": "v", "k": 3, "explain": True}
    answer = circle.post(QUERY, body).json()
    assert ids(answer) == [2, 1, 3]
    recall = next(one for one in answer["explain"]["stages"] if one["stage"] == "recall")
    assert [told["node"] for told in recall["composed"]] == ["sum"]
    assert ids(
        circle.post(QUERY, {**body, "query": {"label": {"field": "half", "value": "upper"}}}).json()
    )[0] in (8, 9)


def test_a_batch_mixes_compositions_with_plain_queries(circle: InProcess) -> None:
    queries = [
        {"query": {"set": [1, 2, 3], "background": "none"}, "using": "v", "k": 1},
        {"id": 0, "using": "v", "k": 1, "filter": {"n": {"$gte": 20}}},
        {"query": {"intersect": [{"id": 0}, {"id": 9}]}, "using": "v", "k": 2},
    ]
    answer = circle.post(f"{QUERY}:batch", {"queries": queries}).json()
    found = [ids(one) for one in answer["results"]]
    assert found[0][0] in (0, 4)
    assert found[1] == [35]
    assert set(found[2]) == {4, 5}


def test_texts_inside_are_encoded_and_ids_are_kept_on_request(circle: InProcess) -> None:
    composed = {"compose": {"id": "red fish", "text": "blue"}, "mix": 0.5}
    answer = circle.post(QUERY, {"query": composed, "using": "w", "k": 2}).json()
    assert "red fish" not in ids(answer)
    kept = circle.post(QUERY, {"query": {**composed, "keep": True}, "using": "w", "k": 2}).json()
    assert "red fish" in ids(kept)
    attributes = {"attributes": ["red", "fish"]}
    assert ids(circle.post(QUERY, {"query": attributes, "using": "w", "k": 1}).json()) == [
        "red fish"
    ]
    focus = {"condition": {"of": "red fish", "texts": ["red", "blue", "green"]}}
    found = ids(circle.post(QUERY, {"query": focus, "using": "w", "k": 1}).json())
    assert found == ["red car"]
    alone = ids(circle.post(QUERY, {"id": "red fish", "using": "w", "k": 4}).json())
    assert alone[0] in ("red car", "blue fish")


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ({"set": [0, "nobody"]}, 404, "/query/set/1"),
        ({"set": [0, -1]}, 422, "/query/set/1"),
        ({"subtract": [{"id": 0}, {"id": 0}]}, 422, "/query"),
        ({"sum": [{"text": "words"}]}, 422, "/query/sum/0/text"),
        ({"attributes": ["", "b"]}, 422, "/query/attributes/0"),
        ({"sum": [{"vector": [1, 2, 3]}]}, 422, "/query/sum/0/vector"),
        ({"sum": [{"vector": [0, 0]}]}, 422, "/query/sum/0/vector"),
        ({"union": {"id": 1}}, 422, "/query/union"),
        ({"unoin": [{"id": 1}]}, 422, "/query"),
        ({"label": {"field": "half", "value": "none"}}, 422, "/query/label/value"),
        ({"intersect": [{"id": 0}], "concepts": {"kmeans": 999}}, 422, "/query/concepts/kmeans"),
        ({"set": [0], "background": {"$and": 3}}, 422, "/query/background/$and"),
    ],
)  # fmt: skip
def test_bad_compositions_are_blamed_where_they_are_wrong(
    circle: InProcess, query: Any, status: int, pointer: str
) -> None:
    answer = circle.post(QUERY, {"query": query, "using": "v"})
    assert (answer.status_code, answer.json()["pointer"]) == (status, pointer)


def test_only_dense_vectors_are_composed(api: InProcess) -> None:
    vectors = {"terms": {"kind": "sparse"}, "words": {"kind": "tokens", "dimension": 2}}
    api.put("/v1/collections/c", {"vectors": vectors})
    point = {"terms": {"indices": [1], "values": [1.0]}, "words": [[1.0, 0.0]]}
    assert (
        api.put("/v1/collections/c/points", {"points": [{"id": 1, "vectors": point}]}).status_code
        == 200
    )
    for using in vectors:
        answer = api.post(QUERY, {"query": {"sum": [{"id": 1}, {"id": 1}]}, "using": using})
        assert answer.status_code == 422
        assert "dense" in answer.json()["detail"]
