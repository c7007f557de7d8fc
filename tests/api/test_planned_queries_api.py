"""Queries that take a plan, over HTTP and on every backend."""

from __future__ import annotations

import math
from typing import Any

import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"


@pytest.fixture
def two(api: InProcess) -> InProcess:
    """Points 0 … 9 with two vectors: "a" at n·10°, "b" at (9 − n)·10°; attribute `n`."""
    spec = {"dimension": 2}
    api.put("/v1/collections/c", {"vectors": {"a": spec, "b": spec, "few": spec}})
    points = []
    for n in range(10):
        vectors = {"a": _at(10 * n), "b": _at(10 * (9 - n))}
        if n % 2:
            vectors["few"] = _at(5 * n)
        points.append({"id": n, "vectors": vectors, "attributes": {"n": n}})
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def _at(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def ids(answer: Any) -> list[object]:
    return [point["id"] for point in answer["points"]]


def problem(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["type"].rsplit("/", 1)[-1].rsplit(":", 1)[-1], body["pointer"]


def test_a_leaf_under_query_finds_what_its_short_form_finds(two: InProcess) -> None:
    for leaf in ({"vector": [1, 0]}, {"id": 3}):
        short = two.post(QUERY, {**leaf, "using": "a", "k": 4}).json()
        long = two.post(QUERY, {"query": leaf, "using": "a", "k": 4}).json()
        assert ids(long) == ids(short)
        scores = [[point["score"] for point in one["points"]] for one in (long, short)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
        assert (long["matches"], long["exact"]) == (short["matches"], short["exact"])


def test_prefetched_lists_are_fused_by_rank(two: InProcess) -> None:
    prefetch = [
        {"vector": [1, 0], "using": "a", "k": 2},
        {"vector": [1, 0], "using": "b", "k": 3, "weight": 3},
    ]
    answer = two.post(QUERY, {"prefetch": prefetch, "fuse": "rrf", "explain": True}).json()
    assert ids(answer) == [9, 8, 7, 0, 1]
    assert answer["points"][0]["score"] == pytest.approx(3 / 61)
    assert answer["points"][3]["score"] == pytest.approx(1 / 61)
    assert answer["points"][0]["scores"].keys() == {"b", "fused"}
    stages = [stage["stage"] for stage in answer["explain"]["stages"]]
    assert [name for name in stages if name != "search"] == ["recall", "recall", "fuse"]
    assert answer["explain"]["stages"][-1]["lists"] == [2, 3]


def test_without_fuse_the_query_scores_what_was_prefetched(two: InProcess) -> None:
    prefetch = [{"vector": [1, 0], "using": "a", "k": 3}]
    body = {"prefetch": prefetch, "vector": [1, 0], "using": "b", "k": 2}
    answer = two.post(QUERY, body).json()
    assert ids(answer) == [2, 1]
    assert answer["points"][0]["score"] == pytest.approx(math.cos(math.radians(70)), abs=1e-6)


def test_the_filter_holds_for_every_source_and_with_its_own(two: InProcess) -> None:
    body = {
        "filter": {"n": {"$gte": 4}},
        "prefetch": [
            {"vector": [1, 0], "using": "a", "k": 2},
            {"vector": [1, 0], "using": "b", "k": 2, "filter": {"n": {"$lt": 7}}},
        ],
    }
    assert sorted(ids(two.post(QUERY, body).json())) == [4, 5, 6]


def test_rescoring_orders_candidates_by_another_vector(two: InProcess) -> None:
    body = {"vector": [1, 0], "using": "a", "k": 3, "rescore": {"using": "b", "candidates": 4}}
    answer = two.post(QUERY, {**body, "explain": True}).json()
    assert ids(answer) == [3, 2, 1]
    assert answer["points"][0]["scores"].keys() == {"a", "rescore"}
    half = {**body, "rescore": {"using": "b", "candidates": 4, "weight": 0.5}}
    mixed = two.post(QUERY, half).json()
    assert len(mixed["points"]) == 3
    assert ids(mixed) != ids(answer)


def test_candidates_without_the_rescoring_vector_are_left_out(two: InProcess) -> None:
    body = {"vector": [1, 0], "using": "a", "k": 5, "rescore": {"using": "few", "candidates": 4}}
    assert ids(two.post(QUERY, body).json()) == [1, 3]


def test_pages_of_a_plan_fit_together(two: InProcess) -> None:
    body = {
        "prefetch": [{"vector": [1, 0], "using": name, "k": 10} for name in ("a", "b")],
        "fuse": {"method": "sum", "normalise": "minmax", "weights": [1, 0.5]},
    }
    whole = ids(two.post(QUERY, {**body, "k": 10}).json())
    paged = [ids(two.post(QUERY, {**body, "k": 3, "offset": at}).json()) for at in (0, 3, 6, 9)]
    assert [id_ for page in paged for id_ in page] == whole
    cosines = [math.cos(math.radians(10 * n)) for n in range(10)]
    worth = {n: cosines[n] + cosines[9 - n] / 2 for n in range(10)}
    assert whole == sorted(worth, key=lambda n: -worth[n])


def test_a_threshold_cuts_the_final_score(two: InProcess) -> None:
    prefetch = [{"vector": [1, 0], "using": "a", "k": 5}]
    body = {"prefetch": prefetch, "fuse": "rrf", "score_threshold": 1 / 62}
    assert ids(two.post(QUERY, body).json()) == [0, 1]


def test_a_batch_may_mix_plain_and_planned_queries(two: InProcess) -> None:
    plain = {"vector": [1, 0], "using": "a", "k": 2}
    planned = {"prefetch": [{"vector": [1, 0], "using": "b", "k": 2}], "fuse": "rrf"}
    answer = two.post(f"{QUERY}:batch", {"queries": [plain, planned]}).json()
    assert [ids(one) for one in answer["results"]] == [[0, 1], [9, 8]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"query": {"vector": [1, 0]}, "vector": [1, 0]}, ""),
        ({"query": {}}, "/query"),
        ({"query": [1]}, "/query"),
        ({"query": {"vector": [1, 0], "id": 3}}, "/query"),
        ({"query": {"vector": [1, 0], "x": 3}, "using": "a"}, "/query/x"),
        ({"query": {"vector": [1]}, "using": "a"}, "/query/vector"),
        ({"query": {"id": 99}, "using": "a"}, "/query/id"),
        ({"query": {"id": 2}, "using": "few"}, "/query/id"),
        ({"query": {"vector": [1, 0]}}, ""),
        ({"query": {"lexical": "words"}}, "/query/lexical"),
        ({"query": {"text": "words"}, "using": "a"}, "/query/text"),
        ({"prefetch": []}, "/prefetch"),
        ({"prefetch": [{"vector": [1, 0], "using": "no"}]}, "/prefetch/0/using"),
        ({"prefetch": [{"vector": [1, 0], "using": "a", "k": 0}]}, "/prefetch/0/k"),
        ({"prefetch": [{"vector": [1, 0], "using": "a", "limit": 3}]}, "/prefetch/0/limit"),
        ({"prefetch": [{"using": "a"}]}, "/prefetch/0"),
        ({"vector": [1, 0], "using": "a", "fuse": "rrf"}, "/fuse"),
        ({"vector": [1, 0], "using": "a", "normalise": "z"}, "/normalise"),
        ({"prefetch": [{"id": 1, "using": "a"}], "fuse": {"method": "rff"}}, "/fuse/method"),
        ({"prefetch": [{"id": 1, "using": "a"}], "fuse": {"weights": [1, 2]}}, "/fuse/weights"),
        ({"vector": [1, 0], "using": "a", "hybrid": True}, "/hybrid"),
        (
            {"vector": [1, 0], "using": "a", "rescore": {"using": "b", "candidates": 0}},
            "/rescore/candidates",
        ),
        ({"vector": [1, 0], "using": "a", "rescore": 3}, "/rescore"),
        ({"vector": [1, 0], "using": {"a": 1}, "filter": {"$no": 1}}, "/filter/$no"),
    ],
)
def test_mistakes_are_named_by_their_place(
    two: InProcess, body: dict[str, Any], pointer: str
) -> None:
    answer = two.post(QUERY, body)
    assert answer.status_code in (400, 404, 422), answer.text
    assert answer.json()["pointer"] == pointer, answer.text


def test_too_many_sources_are_refused(two: InProcess) -> None:
    source = {"vector": [1, 0], "using": "a"}
    inner = [{"prefetch": [source] * 9}] * 2
    answer = two.post(QUERY, {"prefetch": inner})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/prefetch/1/prefetch/7")
