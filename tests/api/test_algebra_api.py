"""Compositions over HTTP, on every backend, with texts that an encoder reads."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        ({"unoin": [{"id": 1}]}, 422, "/query/unoin"),
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


SOUND: list[Any] = [
    {"sum": [{"id": 0}, {"of": {"vector": [1, 0]}, "weight": 2}], "center": True},
    {"subtract": [{"id": 0}, {"id": 1}], "weight": 0.5, "by": "scores", "candidates": 5},
    {"compose": {"id": 1, "vector": [0, 1]}, "mix": 0.5},
    {"set": [1, {"vector": [0, 1]}], "background": {"half": "upper"}, "center": True},
    {"label": {"field": "half", "value": "upper"}, "background": "matches"},
    {"attributes": [{"id": 1}, {"id": 2}], "threshold": 0.9, "aggregate": "mean"},
    {"union": [{"id": 1}, {"id": 2}], "concepts": {"field": "half", "values": ["upper", "lower"]}},
    {"intersect": [{"id": 1}, {"id": 2}], "concepts": {"kmeans": 4, "sample": 30, "seed": 3}},
    {"condition": {"of": 1, "labels": {"field": "half", "per_value": 4}, "rest": 0.1, "rank": 1}},
    {"condition": {"of": 1, "like": [2, 3], "unlike": [20], "shrinkage": 0.3}},
    {"condition": {"of": 1, "mode": "change", "to": {"id": 9}, "from": {"id": 1}, "weight": 2}},
    {"uncertain": {"of": 1, "pairs": [[1, 2], [3, 5]], "strength": 2, "rank": 1}},
    {"recommend": {"positive": [1], "negative": [20], "strategy": "best_score"}},
    {"discover": {"target": 1, "context": [{"positive": 2, "negative": {"id": 3}}]}},
]
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers(0, 40), max_size=3),
    st.sampled_from([{}, [], [[]], {"id": 1}, {"sum": []}, {"field": "half"}, {"$and": []}, [{}]]),
)


def _places(value: Any) -> list[tuple[Any, ...]]:
    """Paths of everything within."""
    within: list[tuple[Any, ...]] = [()]
    if isinstance(value, dict | list):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            within += [(name, *path) for path in _places(one)]
    return within


def _spoilt(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = _spoilt(value[path[0]], path[1:], by)
    return copy


@pytest.fixture
def small(plain: InProcess) -> InProcess:
    plain.put("/v1/collections/c", {"vectors": {"v": {"dimension": 2}}})
    points = [
        {
            "id": n,
            "vectors": {"v": [math.cos(n * math.pi / 18), math.sin(n * math.pi / 18)]},
            "attributes": {"n": n, "half": "upper" if n < 18 else "lower"},
        }
        for n in range(36)
    ]
    assert plain.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return plain


@pytest.mark.parametrize("query", SOUND, ids=lambda query: next(iter(query)))
def test_what_is_sound_is_answered(small: InProcess, query: Any) -> None:
    answer = small.post(QUERY, {"query": query, "k": 3, "explain": True})
    assert answer.status_code == 200, answer.text
    assert len(ids(answer.json())) == 3


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_no_spoilt_composition_is_our_fault(small: InProcess, data: st.DataObject) -> None:
    query = data.draw(st.sampled_from(SOUND))
    path = data.draw(st.sampled_from(_places(query)))
    spoilt = _spoilt(query, path, data.draw(junk))
    body = json.dumps({"query": spoilt, "using": "v", "k": 3}).encode()
    headers = {"content-type": "application/json"}
    answer = small.send("POST", QUERY, content=body, headers=headers)
    assert answer.status_code in (200, 400, 404, 422), answer.text
    if answer.status_code in (404, 422):
        expected = "" if spoilt is None else "/query"
        assert answer.json()["pointer"].startswith(expected), answer.text


def test_a_rule_goes_with_words(api: InProcess) -> None:
    definition = {"vectors": {"v": {"dimension": 2}}, "lexical": {"fields": ["title"]}}
    assert api.put("/v1/collections/c", definition).status_code == 201
    points = [
        {
            "id": n,
            "vectors": {"v": [math.cos(n / 10), math.sin(n / 10)]},
            "attributes": {"title": "whale" if n == 13 else "ship"},
        }
        for n in range(16)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    between = {"intersect": [{"id": 0}, {"id": 10}]}
    body = {"query": between, "hybrid": {"text": "whale", "weight": 0.5}, "k": 3, "explain": True}
    answer = api.post(QUERY, body).json()
    assert set(ids(answer)) & {5, 13} == {5, 13}
    assert not set(ids(answer)) & {0, 10}
    for hit in answer["points"]:
        assert "v" in hit["scores"]  # what only the words found is scored by the rule as well
