from __future__ import annotations

import math

import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"


def filled(api: InProcess, metric: str = "cosine") -> InProcess:
    """Collection "c" in two dimensions: points 0 … 4 at 0°, 10°, … 40°, attribute `n`."""
    api.put("/v1/collections/c", {"dimension": 2, "metric": metric})
    points = [
        {
            "id": n,
            "vector": [math.cos(math.radians(10 * n)), math.sin(math.radians(10 * n))],
            "attributes": {"n": n},
            "text": f"point {n}",
        }
        for n in range(5)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def ids(answer: object) -> list[object]:
    assert isinstance(answer, dict)
    return [point["id"] for point in answer["points"]]


def test_the_nearest_come_first_with_their_scores(api: InProcess) -> None:
    answer = filled(api).post(QUERY, {"vector": [1, 0], "k": 3}).json()
    assert ids(answer) == [0, 1, 2]
    assert [p["score"] for p in answer["points"]] == pytest.approx(
        [1, math.cos(math.radians(10)), math.cos(math.radians(20))], abs=1e-6
    )
    assert (answer["matches"], answer["plan"], answer["exact"]) == (5, "exact", True)
    assert answer["points"][0]["text"] == "point 0"
    assert answer["took_ms"] >= 0


def test_l2_scores_are_minus_the_distance_and_ip_the_product(api: InProcess) -> None:
    filled(api, "l2")
    answer = api.post(QUERY, {"vector": [3, 0], "k": 1}).json()
    assert answer["points"][0]["score"] == pytest.approx(-2, abs=1e-6)
    api.delete("/v1/collections/c")
    filled(api, "ip")
    answer = api.post(QUERY, {"vector": [3, 0], "k": 1}).json()
    assert answer["points"][0]["score"] == pytest.approx(3, abs=1e-6)


def test_a_filter_an_offset_and_a_threshold_hold_together(api: InProcess) -> None:
    filled(api)
    query = {"vector": [1, 0], "filter": {"n": {"$gte": 1}}, "offset": 1, "k": 5}
    answer = api.post(QUERY, query).json()
    assert (ids(answer), answer["matches"]) == ([2, 3, 4], 4)
    answer = api.post(QUERY, {**query, "score_threshold": math.cos(math.radians(31))}).json()
    assert ids(answer) == [2, 3]


def test_a_query_by_id_leaves_that_point_out(api: InProcess) -> None:
    answer = filled(api).post(QUERY, {"id": 2, "k": 10}).json()
    assert ids(answer)[0] in (1, 3)
    assert sorted(ids(answer)) == [0, 1, 3, 4]  # type: ignore[type-var]  # they are integers


def test_a_query_by_an_unknown_id_is_not_found(api: InProcess) -> None:
    answer = filled(api).post(QUERY, {"id": "2"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:likewise:problem:point-not-found"
    assert answer.json()["pointer"] == "/id"


def test_a_text_finds_itself(texts: InProcess) -> None:
    written = ["a small red fox", "interest rates rise again", "how to bake bread"]
    texts.put(
        "/v1/collections/t/points",
        {"points": [{"id": i, "text": text} for i, text in enumerate(written)]},
    )
    queries = [{"text": text, "k": 1} for text in written]
    answer = texts.post("/v1/collections/t/query:batch", {"queries": queries}).json()
    assert [ids(one) for one in answer["results"]] == [[0], [1], [2]]


def test_using_names_the_vector_and_may_be_left_out_where_only_one_fits(texts: InProcess) -> None:
    texts.put("/v1/collections/t/points", {"points": [{"id": 1, "vectors": {"own": [3, 4]}}]})
    path = "/v1/collections/t/query"
    answer = texts.post(path, {"vector": [0, 0], "using": "own"}).json()
    assert (ids(answer), answer["points"][0]["score"]) == ([1], -5)
    assert texts.post(path, {"text": "fox"}).json()["matches"] == 0
    answer = texts.post(path, {"vector": [0, 0]})
    assert answer.json()["type"] == "urn:likewise:problem:invalid-query"
    assert "body, own" in answer.json()["detail"]


def test_a_batch_answers_in_order_and_a_bad_query_names_its_place(api: InProcess) -> None:
    filled(api)
    path = "/v1/collections/c/query:batch"
    queries = [{"vector": [1, 0], "k": 1}, {"id": 4, "k": 1}, {"vector": [0, 1], "k": 2}]
    results = api.post(path, {"queries": queries}).json()["results"]
    assert [ids(one) for one in results] == [[0], [3], [4, 3]]
    answer = api.post(path, {"queries": [*queries, {"vector": [1, 0], "filter": {"n": {"$x": 1}}}]})
    assert answer.json()["pointer"] == "/queries/3/filter/n/$x"


def test_an_answer_without_points_is_no_error(api: InProcess) -> None:
    filled(api)
    answer = api.post(QUERY, {"vector": [1, 0], "filter": {"n": 99}}).json()
    assert (answer["points"], answer["matches"]) == ([], 0)
    answer = api.post(QUERY, {"vector": [1, 0], "offset": 5}).json()
    assert (answer["points"], answer["matches"]) == ([], 5)


def test_explain_is_there_if_asked_for(api: InProcess) -> None:
    filled(api)
    assert "explain" not in api.post(QUERY, {"vector": [1, 0]}).json()
    explained = api.post(QUERY, {"vector": [1, 0], "explain": True}).json()
    assert isinstance(explained["explain"], dict)


def test_vectors_come_along_if_asked_for(api: InProcess) -> None:
    filled(api)
    wanted = {"vector": [1, 0], "k": 1, "with_vectors": True}
    (found,) = api.post(QUERY, wanted).json()["points"]
    assert found["vectors"] == {"default": [1, 0]}
    (found,) = api.post(QUERY, {**wanted, "encoding_format": "base64"}).json()["points"]
    assert found["vectors"] == {"default": "AACAPwAAAAA="}
