from __future__ import annotations

import pytest

from .harness import InProcess


def test_a_collection_is_created_once_and_confirmed_afterwards(api: InProcess) -> None:
    first = api.put("/v1/collections/a", {"dimension": 3, "metric": "l2"})
    second = api.put("/v1/collections/a", {"dimension": 3, "metric": "l2"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json() == api.get("/v1/collections/a").json()
    assert first.json()["vectors"] == {
        "default": {"kind": "dense", "dimension": 3, "metric": "l2", "encoder": None}
    }


def test_another_definition_of_the_same_name_is_a_conflict(api: InProcess) -> None:
    api.put("/v1/collections/a", {"dimension": 3})
    answer = api.put("/v1/collections/a", {"dimension": 4})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:likewise:problem:definition-differs"
    assert answer.json()["detail"].endswith("what differs is vectors")


def test_an_empty_definition_takes_the_default_encoder(api: InProcess) -> None:
    created = api.put("/v1/collections/a", {}).json()
    assert created["vectors"] == {
        "default": {"kind": "dense", "dimension": 32, "metric": "cosine", "encoder": "tiny"}
    }


def test_the_shorthand_and_its_long_form_are_the_same_collection(api: InProcess) -> None:
    api.put("/v1/collections/a", {"encoder": "tiny", "metric": "ip"})
    long = {"vectors": {"default": {"encoder": "tiny", "metric": "ip", "dimension": 32}}}
    assert api.put("/v1/collections/a", long).status_code == 200


def test_a_listing_has_all_collections_by_name(api: InProcess) -> None:
    for name in ("b", "a", "c"):
        api.put(f"/v1/collections/{name}", {"dimension": 1})
    listed = api.get("/v1/collections").json()["collections"]
    assert [one["name"] for one in listed] == ["a", "b", "c"]


def test_a_dropped_collection_is_gone(vectors: InProcess) -> None:
    dropped = vectors.delete("/v1/collections/c")
    assert (dropped.status_code, dropped.content) == (204, b"")
    assert vectors.get("/v1/collections/c").status_code == 404
    assert vectors.delete("/v1/collections/c").status_code == 404


def test_schema_fields_are_declared_and_forgotten(vectors: InProcess) -> None:
    altered = vectors.patch("/v1/collections/c", {"schema": {"year": "integer", "tag": "keyword"}})
    assert altered.json()["schema"] == {"year": "integer", "tag": "keyword"}
    altered = vectors.patch("/v1/collections/c", {"schema": {"tag": None}})
    assert altered.json()["schema"] == {"year": "integer"}


def test_a_schema_that_stored_points_contradict_is_a_conflict(vectors: InProcess) -> None:
    point = {"id": 1, "vector": [1, 0, 0], "attributes": {"year": "soon"}}
    vectors.put("/v1/collections/c/points", {"points": [point]})
    answer = vectors.patch("/v1/collections/c", {"schema": {"year": "integer"}})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:likewise:problem:schema-conflict"


def test_index_settings_change_one_at_a_time(vectors: InProcess) -> None:
    altered = vectors.patch("/v1/collections/c", {"index": {"m": 24}})
    assert altered.json()["index"] == {"m": 24, "ef_construction": 200}


@pytest.mark.parametrize(
    ("definition", "code", "pointer"),
    [
        ({"dimension": 0}, "invalid-field", "/dimension"),
        ({"dimension": 65_537}, "invalid-field", "/dimension"),
        ({"dimension": "3"}, "invalid-field", "/dimension"),
        ({"dimension": True}, "invalid-field", "/dimension"),
        ({"dimension": 3, "metric": "dot"}, "invalid-field", "/metric"),
        ({"encoder": "nobody"}, "encoder-not-found", "/encoder"),
        ({"vectors": {"a": {"encoder": "nobody"}}}, "encoder-not-found", "/vectors/a/encoder"),
        ({"encoder": "tiny", "dimension": 3}, "invalid-definition", "/dimension"),
        ({"vectors": {}}, "invalid-definition", "/vectors"),
        ({"vectors": {"a": {"dimension": 1}}, "dimension": 1}, "invalid-definition", "/vectors"),
        ({"vectors": {"a b": {"dimension": 1}}}, "invalid-name", "/vectors/a b"),
        ({"vectors": {"a/b~": {"dimension": 1}}}, "invalid-name", "/vectors/a~1b~0"),
        ({"dimension": 1, "schema": {"$x": "keyword"}}, "invalid-definition", "/schema/$x"),
        ({"dimension": 1, "schema": {"x": "text"}}, "invalid-definition", "/schema/x"),
        ({"dimension": 1, "schema": []}, "invalid-definition", "/schema"),
        ({"dimension": 1, "index": {"m": 1}}, "invalid-field", "/index/m"),
        (
            {"dimension": 1, "index": {"m": 64, "ef_construction": 32}},
            "invalid-definition",
            "/index/ef_construction",
        ),
        ({"dimension": 1, "shards": 2}, "invalid-field", "/shards"),
        ([], "invalid-field", ""),
    ],
)
def test_a_bad_definition_is_refused_at_its_place(
    plain: InProcess, definition: object, code: str, pointer: str
) -> None:
    answer = plain.put("/v1/collections/a", definition)
    assert answer.json()["type"] == f"urn:likewise:problem:{code}", answer.text
    assert answer.json()["pointer"] == pointer
    assert answer.status_code == (404 if code == "encoder-not-found" else 422)
    assert plain.get("/v1/collections").json() == {"collections": []}


@pytest.mark.parametrize("name", ["-a", ".a", "a b", "ä", "a" * 65, "a%00", "%2e%2e"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_impossible_name_is_refused_before_the_backend_sees_it(
    plain: InProcess, method: str, name: str
) -> None:
    answer = plain.send(method, f"/v1/collections/{name}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:likewise:problem:invalid-name")


def test_an_unknown_collection_is_not_found_by_any_endpoint(api: InProcess) -> None:
    vector = {"id": 1, "vector": [1]}
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", {"schema": {}}),
        ("PUT", "/points", {"points": [vector]}),
        ("PATCH", "/points", {"ids": [1], "set": {"a": 1}}),
        ("POST", "/points/get", {"ids": [1]}),
        ("POST", "/points/delete", {"ids": [1]}),
        ("POST", "/points/count", {}),
        ("POST", "/points/facets", {"facets": {"a": {"field": "a"}}}),
        ("POST", "/points/scroll", {}),
        ("POST", "/classify", {"inputs": [{"vector": [1]}], "label": "a"}),
        ("POST", "/verify", {"a": {"vector": [1]}, "b": {"vector": [1]}}),
        ("GET", "/classifiers", None),
        ("GET", "/classifiers/k", None),
        ("PUT", "/classifiers/k", {"label": "a"}),
        ("DELETE", "/classifiers/k", None),
        ("POST", "/classifiers/k/learn", {"examples": [{"vector": [1], "label": "a"}]}),
        ("GET", "/thresholds", None),
        ("GET", "/thresholds/t", None),
        ("PUT", "/thresholds/t", {"label": "a"}),
        ("DELETE", "/thresholds/t", None),
        ("POST", "/query", {"vector": [1]}),
        ("POST", "/query:batch", {"queries": [{"vector": [1]}]}),
    ):
        answer = api.send(method, f"/v1/collections/nowhere{path}", json=body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["type"] == "urn:likewise:problem:collection-not-found"
