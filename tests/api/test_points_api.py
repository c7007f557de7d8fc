from __future__ import annotations

import base64
import math

import numpy as np
import pytest

from .harness import InProcess

POINTS = "/v1/collections/c/points"


def filled(api: InProcess) -> InProcess:
    """Give collection "c" the points 1, 2, "1" and "b" with an attribute `n` of 0 … 3."""
    ids: list[int | str] = [1, 2, "1", "b"]
    points = [{"id": i, "vector": [n + 1, 1, 0], "attributes": {"n": n}} for n, i in enumerate(ids)]
    assert api.put(POINTS, {"points": points}).json() == {"upserted": 4}
    return api


def test_a_point_comes_back_as_it_was_written(vectors: InProcess) -> None:
    attributes = {
        "s": "ü\u0000",
        "i": -(2**63),
        "f": 0.1,
        "b": True,
        "n": None,
        "l": [1, "x", None],
    }
    vector = [0.1, -2.5e-8, 3e18]
    point = {"id": 2**64 - 1, "vector": vector, "attributes": attributes, "text": "é"}
    vectors.put(POINTS, {"points": [point]})
    found = vectors.post(f"{POINTS}/get", {"ids": [2**64 - 1], "with_vectors": True}).json()
    (record,) = found["points"]
    assert (record["id"], record["attributes"], record["text"]) == (2**64 - 1, attributes, "é")
    np.testing.assert_array_equal(
        np.float32(record["vectors"]["default"]), np.asarray(vector, dtype=np.float32)
    )


def test_a_vector_travels_as_base64_both_ways_without_loss(vectors: InProcess) -> None:
    vector = np.array([0.1, 1e-30, 7], dtype="<f4")
    as_text = base64.b64encode(vector.tobytes()).decode()
    vectors.put(POINTS, {"points": [{"id": 1, "vectors": {"default": as_text}}]})
    wanted = {"ids": [1], "with_vectors": True, "encoding_format": "base64"}
    (record,) = vectors.post(f"{POINTS}/get", wanted).json()["points"]
    assert record["vectors"] == {"default": as_text}


def test_the_string_and_the_integer_are_two_points(vectors: InProcess) -> None:
    filled(vectors)
    found = vectors.post(f"{POINTS}/get", {"ids": ["1", 1, 7, "7"]}).json()
    assert [record["id"] for record in found["points"]] == ["1", 1]
    assert found["missing"] == [7, "7"]


def test_writing_again_replaces_the_whole_point(vectors: InProcess) -> None:
    filled(vectors)
    vectors.put(POINTS, {"points": [{"id": 1, "vector": [0, 0, 1]}]})
    (record,) = vectors.post(f"{POINTS}/get", {"ids": [1]}).json()["points"]
    assert record["attributes"] == {}
    assert vectors.count("c") == 4


def test_an_answer_carries_the_fields_that_were_asked_for(vectors: InProcess) -> None:
    point = {"id": 1, "vector": [1, 0, 0], "attributes": {"a": 1, "b": 2}, "text": "hello"}
    vectors.put(POINTS, {"points": [point]})
    wanted = {"ids": [1], "fields": ["b", "z"], "with_text": False}
    assert vectors.post(f"{POINTS}/get", wanted).json()["points"] == [
        {"id": 1, "attributes": {"b": 2}}
    ]


def test_expiry_is_written_in_any_zone_and_read_in_utc(vectors: InProcess) -> None:
    point = {"id": 1, "vector": [1, 0, 0], "expires_at": "2100-01-01T01:30:00.1239+01:30"}
    forever = {"id": 2, "vector": [1, 0, 0], "expires_at": None}
    vectors.put(POINTS, {"points": [point, forever]})
    for found in (
        vectors.post(f"{POINTS}/get", {"ids": [1, 2]}).json()["points"],
        vectors.post(f"{POINTS}/scroll", {}).json()["points"],
        vectors.post("/v1/collections/c/query", {"vector": [1, 0, 0]}).json()["points"],
    ):
        assert found[0]["expires_at"] == "2100-01-01T00:00:00.123Z"
        assert "expires_at" not in found[1]
    vectors.put(POINTS, {"points": [{**point, "expires_at": "1999-12-31T23:59:59Z"}]})
    assert vectors.count("c") == 1


def test_a_patch_gives_and_ends_lifetimes(vectors: InProcess) -> None:
    filled(vectors)
    assert vectors.patch(POINTS, {"ids": [1], "expires_at": "2100-01-01T00:00:00Z"}).json() == {
        "updated": 1
    }
    vectors.patch(POINTS, {"ids": [1], "set": {"n": 5}})
    (record,) = vectors.post(f"{POINTS}/get", {"ids": [1]}).json()["points"]
    assert record["expires_at"] == "2100-01-01T00:00:00.000Z"
    vectors.patch(POINTS, {"ids": [1], "expires_at": None})
    (record,) = vectors.post(f"{POINTS}/get", {"ids": [1]}).json()["points"]
    assert "expires_at" not in record
    vectors.patch(POINTS, {"filter": {"n": 5}, "expires_at": "2001-01-01T00:00:00Z"})
    assert vectors.count("c") == 3


@pytest.mark.parametrize(
    "expires_at",
    ["2100-01-01", "2100-01-01T00:00:00", "soon", "", 4102444800, True, [], "0000-01-01T00:00:00Z",
     "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"],
)  # fmt: skip
def test_an_expiry_that_is_no_date_and_time_with_a_zone_is_refused(
    vectors: InProcess, expires_at: object
) -> None:
    point = {"id": 1, "vector": [1, 0, 0], "expires_at": expires_at}
    answer = vectors.put(POINTS, {"points": [point]})
    problem = answer.json()
    assert (answer.status_code, problem["type"].rpartition(":")[2]) == (422, "invalid-field")
    assert problem["pointer"] == "/points/0/expires_at"
    answer = vectors.patch(POINTS, {"ids": [1], "expires_at": expires_at})
    assert answer.json()["pointer"] == "/expires_at"


def test_patches_add_up_to_the_limit_of_attributes(vectors: InProcess) -> None:
    filled(vectors)
    for n in range(2):
        answer = vectors.patch(POINTS, {"ids": [1], "set": {f"t{n}": "x" * 40_000}})
    assert answer.status_code == 422
    assert answer.json()["pointer"] == "/set"
    assert vectors.patch(POINTS, {"ids": [1], "unset": ["t0"]}).json() == {"updated": 1}


def test_points_are_patched_by_id_and_by_filter(vectors: InProcess) -> None:
    filled(vectors)
    by_id = vectors.patch(POINTS, {"ids": [1, 99], "set": {"x": [1]}, "unset": ["n"]})
    by_filter = vectors.patch(POINTS, {"filter": {"n": {"$gte": 2}}, "set": {"big": True}})
    assert (by_id.json(), by_filter.json()) == ({"updated": 1}, {"updated": 2})
    found = vectors.post(f"{POINTS}/get", {"ids": [1, "b"]}).json()["points"]
    assert [record["attributes"] for record in found] == [{"x": [1]}, {"n": 3, "big": True}]


def test_points_are_deleted_by_id_and_by_filter(vectors: InProcess) -> None:
    filled(vectors)
    assert vectors.post(f"{POINTS}/delete", {"ids": ["1", "nobody"]}).json() == {"deleted": 1}
    assert vectors.post(f"{POINTS}/delete", {"filter": {"n": {"$lt": 2}}}).json() == {"deleted": 2}
    assert vectors.count("c") == 1


def test_a_count_takes_a_filter(vectors: InProcess) -> None:
    filled(vectors)
    assert vectors.post(f"{POINTS}/count", {"filter": {"n": [0]}}).status_code == 422
    assert vectors.post(f"{POINTS}/count", {"filter": {"n": {"$in": [0, 3]}}}).json() == {
        "count": 2
    }


def test_a_scroll_sees_every_point_once_in_the_order_of_ids(vectors: InProcess) -> None:
    filled(vectors)
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = vectors.post(f"{POINTS}/scroll", {"limit": 2, "cursor": cursor}).json()
        seen += [record["id"] for record in page["points"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (seen, pages) == ([1, 2, "1", "b"], 2)


def test_a_scroll_keeps_its_filter(vectors: InProcess) -> None:
    filled(vectors)
    page = vectors.post(f"{POINTS}/scroll", {"filter": {"n": {"$ne": 1}}, "limit": 3}).json()
    assert [record["id"] for record in page["points"]] == [1, "1", "b"]
    assert page["next_cursor"] is None


def test_texts_become_vectors_where_none_is_given(texts: InProcess) -> None:
    points = [
        {"id": 1, "text": "a small red fox"},
        {"id": 2, "text": "stored only", "vectors": {"body": [1.0] * 32, "own": [1, 2]}},
        {"id": 3, "vectors": {"own": [0, 0]}},
    ]
    assert texts.put("/v1/collections/t/points", {"points": points}).json() == {"upserted": 3}
    found = texts.post(
        "/v1/collections/t/points/get", {"ids": [1, 2, 3], "with_vectors": True}
    ).json()["points"]
    assert [sorted(record["vectors"]) for record in found] == [["body"], ["body", "own"], ["own"]]
    assert found[1]["vectors"]["body"] == [1.0] * 32
    assert math.isclose(math.hypot(*found[0]["vectors"]["body"]), 1, abs_tol=1e-5)
    embedded = texts.post("/v1/embeddings", {"input": "a small red fox"}).json()
    # The same encoder on the same text: equal up to what batching may change in float32.
    np.testing.assert_allclose(
        embedded["data"][0]["embedding"], found[0]["vectors"]["body"], atol=1e-5
    )


def test_a_schema_violation_names_the_point_and_the_field(api: InProcess) -> None:
    api.put("/v1/collections/c", {"dimension": 3, "schema": {"year": "integer"}})
    points = [
        {"id": 1, "vector": [1, 0, 0], "attributes": {"year": 1999}},
        {"id": 2, "vector": [1, 0, 0], "attributes": {"year": "1999"}},
    ]
    answer = api.put(POINTS, {"points": points})
    assert answer.json()["type"] == "urn:likewise:problem:schema-violation"
    assert answer.json()["pointer"] == "/points/1/attributes/year"
    assert api.count("c") == 0
    api.put(POINTS, {"points": points[:1]})
    answer = api.patch(POINTS, {"ids": [1], "set": {"year": 1.5}})
    assert answer.json()["pointer"] == "/set/year"


def test_points_of_a_large_body_are_written_like_those_of_a_small_one(vectors: InProcess) -> None:
    points = [{"id": i, "vector": [i, 1, 0], "attributes": {"n": i}} for i in range(1000)]
    assert vectors.put(POINTS, {"points": points}).json() == {"upserted": 1000}
    page = vectors.post(f"{POINTS}/scroll", {"limit": 1000, "with_vectors": True}).json()
    assert [record["id"] for record in page["points"]] == list(range(1000))


@pytest.mark.parametrize("dimension", [1, 16])
def test_a_collection_may_have_one_or_many_numbers(api: InProcess, dimension: int) -> None:
    api.put("/v1/collections/c", {"dimension": dimension})
    point = {"id": "x", "vector": [1] * dimension}
    assert api.put(POINTS, {"points": [point]}).status_code == 200
