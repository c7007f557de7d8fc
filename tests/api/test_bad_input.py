"""Every kind of bad input: a 4xx problem that names the place, and nothing written."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings

POINTS = "/v1/collections/c/points"
GOOD = {"id": "good", "vector": [1, 2, 3]}


def b64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD_POINTS: list[tuple[Any, str, str]] = [
    # vectors
    ({"id": 1, "vector": [1, 2]}, "dimension-mismatch", "/vector"),
    ({"id": 1, "vector": []}, "dimension-mismatch", "/vector"),
    ({"id": 1, "vector": b64(1, 2, 3, 4)}, "dimension-mismatch", "/vector"),
    ({"id": 1, "vector": [0, 0, 0]}, "zero-vector", "/vector"),
    ({"id": 1, "vector": [0, -0.0, 1e-30]}, "zero-vector", "/vector"),
    ({"id": 1, "vector": b64(0, 0, 0)}, "zero-vector", "/vector"),
    ({"id": 1, "vector": [1, 1e39, 0]}, "vector-not-finite", "/vector/1"),
    ({"id": 1, "vector": [1, 1e30, 0]}, "vector-not-finite", "/vector"),
    ({"id": 1, "vector": [10**400, 1, 0]}, "vector-not-finite", "/vector"),
    ({"id": 1, "vector": b64(1, float("nan"), 0)}, "vector-not-finite", "/vector"),
    ({"id": 1, "vector": b64(1, 0, float("inf"))}, "vector-not-finite", "/vector"),
    ({"id": 1, "vector": [1, "2", 3]}, "invalid-vector", "/vector/1"),
    ({"id": 1, "vector": [1, 2, True]}, "invalid-vector", "/vector/2"),
    ({"id": 1, "vector": [1, None, 3]}, "invalid-vector", "/vector/1"),
    ({"id": 1, "vector": [[1, 2, 3]] * 3}, "invalid-vector", "/vector/0"),
    ({"id": 1, "vector": "not base64!"}, "invalid-vector", "/vector"),
    ({"id": 1, "vector": "ü"}, "invalid-vector", "/vector"),
    ({"id": 1, "vector": "AAAA"}, "invalid-vector", "/vector"),
    ({"id": 1, "vector": 3}, "invalid-vector", "/vector"),
    ({"id": 1, "vector": {"a": 1}}, "invalid-vector", "/vector"),
    ({"id": 1}, "invalid-vector", ""),
    ({"id": 1, "vectors": {}}, "invalid-vector", ""),
    ({"id": 1, "vector": [1, 2, 3], "vectors": {}}, "invalid-vector", "/vectors"),
    ({"id": 1, "vectors": {"default": [1]}}, "dimension-mismatch", "/vectors/default"),
    ({"id": 1, "vectors": {"other": [1, 2, 3]}}, "unknown-vector", "/vectors/other"),
    # ids
    ({"vector": [1, 2, 3]}, "invalid-field", "/id"),
    ({"id": "", "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": "x" * 10_000, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": "ü" * 257, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": -1, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": 2**64, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": 10**4000, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": 1.0, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": True, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": None, "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": [1], "vector": [1, 2, 3]}, "invalid-id", "/id"),
    ({"id": "good", "vector": [1, 2, 3]}, "duplicate-id", "/id"),
    # texts
    ({"id": 1, "text": "no encoder reads this"}, "invalid-text", "/text"),
    ({"id": 1, "text": "", "vector": [1, 2, 3]}, "invalid-text", "/text"),
    ({"id": 1, "text": "x" * 1_000_000, "vector": [1, 2, 3]}, "invalid-text", "/text"),
    ({"id": 1, "text": 3, "vector": [1, 2, 3]}, "invalid-field", "/text"),
    # attributes
    ({**GOOD, "id": 1, "attributes": {"a": {"b": 1}}}, "invalid-attributes", "/attributes/a"),
    ({**GOOD, "id": 1, "attributes": {"a": [[1]]}}, "invalid-attributes", "/attributes/a/0"),
    ({**GOOD, "id": 1, "attributes": {"a": nested(150)}}, "invalid-attributes", "/attributes/a/0"),
    ({**GOOD, "id": 1, "attributes": {"a": 2**63}}, "invalid-attributes", "/attributes/a"),
    ({**GOOD, "id": 1, "attributes": {"a": 10**400}}, "invalid-attributes", "/attributes/a"),
    ({**GOOD, "id": 1, "attributes": {"$a": 1}}, "invalid-attributes", "/attributes/$a"),
    ({**GOOD, "id": 1, "attributes": {"": 1}}, "invalid-attributes", "/attributes/"),
    ({**GOOD, "id": 1, "attributes": {"a": "x" * 70_000}}, "invalid-attributes", "/attributes"),
    ({**GOOD, "id": 1, "attributes": [1]}, "invalid-attributes", "/attributes"),
    # shapes
    ({**GOOD, "id": 1, "payload": {}}, "invalid-field", "/payload"),
    ({**GOOD, "id": 1, "a/b~c": {}}, "invalid-field", "/a~1b~0c"),
    ("point", "invalid-field", ""),
    (None, "invalid-field", ""),
]


@pytest.mark.parametrize(("point", "code", "place"), BAD_POINTS)
def test_a_bad_point_is_refused_at_its_place_and_its_neighbours_are_not_written(
    plain: InProcess, point: Any, code: str, place: str
) -> None:
    plain.put("/v1/collections/c", {"dimension": 3})
    answer = plain.send(
        "PUT",
        POINTS,
        content=json.dumps({"points": [GOOD, point]}),
        headers={"content-type": "application/json"},
    )
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:likewise:problem:{code}"), problem
    assert problem["pointer"] == f"/points/1{place}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000, "a problem does not echo what it complains of"
    assert plain.count("c") == 0


def test_the_engine_is_not_reached_by_a_bad_batch_either(vectors: InProcess) -> None:
    for point, code, _ in BAD_POINTS[:4]:
        answer = vectors.put(POINTS, {"points": [GOOD, point]})
        assert answer.json()["type"].endswith(code)
        assert vectors.count("c") == 0


BAD_BODIES: list[tuple[str, str, Any, str, str]] = [
    ("PUT", "points", {"points": []}, "invalid-field", "/points"),
    ("PUT", "points", {"points": [GOOD] * 10_001}, "limit-exceeded", "/points"),
    ("PUT", "points", {"points": {}}, "invalid-field", "/points"),
    ("PUT", "points", {}, "invalid-field", "/points"),
    ("PUT", "points", [], "invalid-field", ""),
    ("PATCH", "points", {"set": {"a": 1}}, "invalid-field", ""),
    ("PATCH", "points", {"ids": [1], "filter": {}, "set": {}}, "invalid-field", ""),
    ("PATCH", "points", {"ids": [1]}, "invalid-field", ""),
    ("PATCH", "points", {"ids": [], "set": {"a": 1}}, "invalid-field", "/ids"),
    ("PATCH", "points", {"ids": [1], "set": {"a": {}}}, "invalid-attributes", "/set/a"),
    ("PATCH", "points", {"ids": [1], "set": {"a": 1}, "unset": ["a"]},
     "invalid-attributes", "/unset/0"),
    ("PATCH", "points", {"ids": [1], "unset": ["a", 1]}, "invalid-field", "/unset/1"),
    ("POST", "points/get", {"ids": [1, {}]}, "invalid-id", "/ids/1"),
    ("POST", "points/get", {"ids": []}, "invalid-field", "/ids"),
    ("POST", "points/get", {"ids": list(range(10_001))}, "limit-exceeded", "/ids"),
    ("POST", "points/get", {"ids": [1], "encoding_format": "hex"},
     "invalid-field", "/encoding_format"),
    ("POST", "points/delete", {}, "invalid-field", ""),
    ("POST", "points/delete", {"filter": {"a": {"$eqq": 1}}}, "invalid-filter", "/filter/a/$eqq"),
    ("POST", "points/count", {"filter": 3}, "invalid-filter", "/filter"),
    ("POST", "query", {"vector": [1, 0, 0], "filter": "a"}, "invalid-filter", "/filter"),
    ("POST", "points/count", {"filter": {"a": {"$in": [1] * 9 + [{}]}}},
     "invalid-filter", "/filter/a/$in/9"),
    ("POST", "points/count", {"filter": {"$and": [{"a": n} for n in range(2000)]}},
     "invalid-filter", "/filter/$and/999/a"),
    ("POST", "points/scroll", {"limit": 0}, "invalid-field", "/limit"),
    ("POST", "points/scroll", {"limit": 10_001}, "limit-exceeded", "/limit"),
    ("POST", "points/scroll", {"limit": True}, "invalid-field", "/limit"),
    ("POST", "points/scroll", {"cursor": "x"}, "invalid-cursor", "/cursor"),
    ("POST", "points/scroll", {"cursor": "WzEsMl0="}, "invalid-cursor", "/cursor"),
    ("POST", "points/scroll", {"cursor": "W3RydWVd"}, "invalid-cursor", "/cursor"),
    ("POST", "points/scroll", {"cursor": base64.urlsafe_b64encode(b"[" * 9999).decode()},
     "invalid-cursor", "/cursor"),
    ("POST", "query", {}, "invalid-query", ""),
    ("POST", "query", {"vector": [1, 2, 3], "id": 1}, "invalid-query", ""),
    ("POST", "query", {"text": "fox"}, "invalid-text", "/text"),
    ("POST", "query", {"vector": [1, 2]}, "dimension-mismatch", "/vector"),
    ("POST", "query", {"vector": [0, 0, 0]}, "zero-vector", "/vector"),
    ("POST", "query", {"vector": [1, 2, 3], "using": "x"}, "unknown-vector", "/using"),
    ("POST", "query", {"vector": [1, 2, 3], "k": 0}, "invalid-field", "/k"),
    ("POST", "query", {"vector": [1, 2, 3], "k": "10"}, "invalid-field", "/k"),
    ("POST", "query", {"vector": [1, 2, 3], "k": 10.0}, "invalid-field", "/k"),
    ("POST", "query", {"vector": [1, 2, 3], "k": 10**30}, "limit-exceeded", "/k"),
    ("POST", "query", {"vector": [1, 2, 3], "k": 10, "offset": 9_991}, "limit-exceeded", "/k"),
    ("POST", "query", {"vector": [1, 2, 3], "offset": -1}, "invalid-field", "/offset"),
    ("POST", "query", {"vector": [1, 2, 3], "params": {"ef": 0}}, "invalid-field", "/params/ef"),
    ("POST", "query", {"vector": [1, 2, 3], "params": {"ef": 10**9}},
     "limit-exceeded", "/params/ef"),
    ("POST", "query", {"vector": [1, 2, 3], "params": {"efs": 1}}, "invalid-field", "/params/efs"),
    ("POST", "query", {"vector": [1, 2, 3], "fields": [1]}, "invalid-field", "/fields/0"),
    ("POST", "query", {"vector": [1, 2, 3], "explain": 1}, "invalid-field", "/explain"),
    ("POST", "query", {"id": -1}, "invalid-id", "/id"),
    ("POST", "query:batch", {"queries": []}, "invalid-field", "/queries"),
    ("POST", "query:batch", {"queries": [{"id": 1}] * 1_001}, "limit-exceeded", "/queries"),
    ("POST", "query:batch", {"queries": [{"vector": [1, 2, 3]}, {"k": 3}]},
     "invalid-query", "/queries/1"),
    ("POST", "query:batch", {"queries": [{"vector": [1, 2, 3]}, {"vector": [1]}]},
     "dimension-mismatch", "/queries/1/vector"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code", "pointer"), BAD_BODIES)
def test_a_bad_body_is_refused_at_its_place(
    plain: InProcess, method: str, path: str, body: Any, code: str, pointer: str
) -> None:
    plain.put("/v1/collections/c", {"dimension": 3})
    plain.put(POINTS, {"points": [{"id": 1, "vector": [1, 2, 3], "attributes": {"a": 1}}]})
    answer = plain.send(method, f"/v1/collections/c/{path}", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:likewise:problem:{code}"), problem
    assert problem["pointer"] == pointer
    (kept,) = plain.post(f"{POINTS}/get", {"ids": [1]}).json()["points"]
    assert kept["attributes"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid-field", "/input"),
        ({"input": []}, "invalid-field", "/input"),
        ({"input": ""}, "invalid-text", "/input"),
        ({"input": ["a", ""]}, "invalid-text", "/input/1"),
        ({"input": [1, -2]}, "invalid-text", "/input/1"),
        ({"input": [1, True]}, "invalid-text", "/input/1"),
        ({"input": [True]}, "invalid-text", "/input/0"),
        ({"input": [[1, 2], [1, 2, 10**30]]}, "invalid-text", "/input/1/2"),
        ({"input": ["a", []]}, "invalid-text", "/input/1"),
        ({"input": ["a", 1]}, "invalid-text", "/input/1"),
        ({"input": None}, "invalid-text", "/input"),
        ({"input": {"a": 1}}, "invalid-text", "/input"),
        ({"input": {"text": "a", "b": 1}}, "invalid-text", "/input"),
        ({"input": ["a", {"text": 1}]}, "invalid-text", "/input/1/text"),
        ({"input": ["a", {"text": ""}]}, "invalid-text", "/input/1/text"),
        ({"input": [1] * 100_001}, "invalid-text", "/input"),
        ({"input": "x", "output": "sparse"}, "invalid-field", "/output"),
        ({"input": ["x", "a b c " * 99], "truncate": False}, "invalid-text", "/input/1"),
        ({"input": "x", "late_chunking": True}, "invalid-field", "/late_chunking"),
        ({"input": "x", "late_chunking": 0}, "invalid-field", "/late_chunking"),
        ({"input": "x" * 1_000_000}, "invalid-text", "/input"),
        ({"input": ["x"] * 2_049}, "limit-exceeded", "/input"),
        ({"input": "x", "dimensions": 16}, "invalid-field", "/dimensions"),
        ({"input": "x", "encoding_format": "int4"}, "invalid-field", "/encoding_format"),
        ({"input": "x", "input_type": "passage"}, "invalid-field", "/input_type"),
        ({"input": "x", "model": "nobody"}, "encoder-not-found", "/model"),
    ],
)
def test_a_bad_embedding_request_is_refused_at_its_place(
    plain: InProcess, body: Any, code: str, pointer: str
) -> None:
    answer = plain.post("/v1/embeddings", body)
    assert answer.json()["type"] == f"urn:likewise:problem:{code}"
    assert answer.json()["pointer"] == pointer


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
@pytest.mark.parametrize(
    ("texts", "pointer"),
    [("a", "/texts"), ([], "/texts"), (["a", [1]], "/texts/1"), ([1, 2], "/texts/0")],
)
def test_coheres_texts_and_images_are_lists_of_strings(
    plain: InProcess, path: str, texts: Any, pointer: str
) -> None:
    answer = plain.post(path, {"texts": texts})
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    answer = plain.post(path, {"images": [0, "a"]})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/images/0")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"points",
        b'{"points": [}',
        b"\xff\xfe{}",
        b'{"points": "\xff"}',
        b'{"points": "\\ud800"}',
        b'{"a": 1} trailing',
        b"[" * 100_000,
        b'{"filter":' * 5_000,
        b"-",
        b'{"points": ' + b"1" * 5_000 + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)
def test_what_is_not_json_is_malformed(plain: InProcess, content: bytes) -> None:
    plain.put("/v1/collections/c", {"dimension": 3})
    answer = plain.send(
        "PUT", POINTS, content=content, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["type"]) == (
        400,
        "urn:likewise:problem:malformed-body",
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"points": [{"id": 1, "vector": [1, 2, %s]}]}', "/points/0/vector/2"),
        (
            '{"points": [{"id": 1, "vector": [1, 2, 3], "attributes": {"a": [%s]}}]}',
            "/points/0/attributes/a/0",
        ),
        ('{"points": [{"id": %s, "vector": [1, 2, 3]}]}', "/points/0/id"),
    ],
)
def test_numbers_that_json_does_not_have_are_refused(
    plain: InProcess, body: str, pointer: str, number: str
) -> None:
    plain.put("/v1/collections/c", {"dimension": 3})
    answer = plain.send(
        "PUT", POINTS, content=body % number, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    assert plain.count("c") == 0


@pytest.mark.parametrize("member", ["score_threshold", "filter"])
def test_a_query_takes_finite_numbers_only(plain: InProcess, member: str) -> None:
    plain.put("/v1/collections/c", {"dimension": 1})
    value = "NaN" if member == "score_threshold" else '{"a": {"$gt": NaN}}'
    answer = plain.send(
        "POST",
        "/v1/collections/c/query",
        content=f'{{"vector": [1], "{member}": {value}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422
    assert answer.json()["pointer"].startswith(f"/{member}")


def test_several_faults_are_told_at_once(plain: InProcess) -> None:
    plain.put("/v1/collections/c", {"dimension": 1})
    answer = plain.post("/v1/collections/c/query", {"k": "1", "offset": -1, "what": 1}).json()
    assert [fault["pointer"] for fault in answer["errors"]] == ["/k", "/offset", "/what"]
    assert answer["pointer"] == "/k"


def test_a_thousand_faults_are_counted_and_not_listed(plain: InProcess) -> None:
    answer = plain.post("/v1/collections/c/query", {f"what{n}": n for n in range(1000)})
    assert answer.json()["detail"] == "the body has 1000 faults"
    assert "errors" not in answer.json()


def test_a_pointer_through_a_giant_name_stops_at_its_parent(plain: InProcess) -> None:
    answer = plain.post("/v1/collections/c/query", {"params": {"x" * 1_000_000: 1}})
    assert answer.json()["pointer"] == "/params"


def test_problems_do_not_repeat_the_callers_data(plain: InProcess) -> None:
    plain.put("/v1/collections/c", {"dimension": 3})
    secret = "s3cr3t"
    for body in (
        {"points": [{"id": 1, "text": [secret]}]},
        {"points": [{"id": 1, "vector": secret}]},
        {"points": [{"id": [secret], "vector": [1, 2, 3]}]},
        {"points": [{"id": 1, "vector": [1, 2, 3], "attributes": {"a": [[secret]]}}]},
        {"points": secret},
    ):
        assert secret not in plain.put(POINTS, body).text


leaves = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
)
NAMES = [
    "id", "text", "vector", "vectors", "attributes", "default", "points", "queries", "filter",
    "k", "offset", "using", "fields", "ids", "set", "unset", "params", "ef", "exact", "limit",
    "cursor", "$and", "$or", "$not", "$id", "$eq", "$in", "a", "schema", "dimension", "metric",
    "encoder", "index", "m", "input", "model", "with_vectors", "encoding_format",
]  # fmt: skip
names = st.sampled_from(NAMES)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
ENDPOINTS = [
    ("PUT", "/v1/collections/fuzz"),
    ("PATCH", "/v1/collections/c"),
    ("PUT", POINTS),
    ("PATCH", POINTS),
    ("POST", f"{POINTS}/get"),
    ("POST", f"{POINTS}/delete"),
    ("POST", f"{POINTS}/count"),
    ("POST", f"{POINTS}/scroll"),
    ("POST", "/v1/collections/c/query"),
    ("POST", "/v1/collections/c/query:batch"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/embed"),
    ("POST", "/v2/embed"),
    ("POST", "/embed"),
    ("POST", "/v1/rerank"),
    ("POST", "/v2/rerank"),
]


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(endpoint=st.sampled_from(ENDPOINTS), body=st.dictionaries(names, anything, max_size=5))
@example(endpoint=ENDPOINTS[2], body={"points": [{"id": 1, "vectors": {"default": {}}}]})
def test_no_json_ever_makes_the_service_fail(
    plain: InProcess, endpoint: tuple[str, str], body: dict[str, Any]
) -> None:
    plain.put("/v1/collections/c", {"dimension": 2})
    method, path = endpoint
    answer = plain.send(
        method, path, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code == 422:
        problem = answer.json()
        assert re.fullmatch(r"(/([^~/]|~0|~1)*)*", problem["pointer"])
        assert stands_in(body, problem["pointer"]), problem


def test_what_reads_no_texts_reranks_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path, encoders="tiny,image-descriptor")
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        body = {"query": "a", "documents": ["b"], "model": "image-descriptor"}
        answer = app.post("/v1/rerank", body)
        assert (answer.status_code, answer.json()["pointer"]) == (422, "/model")
        app.put("/v1/collections/c", {"encoder": "tiny"})
        query = {"text": "a", "rerank": {"model": "image-descriptor"}}
        answer = app.post("/v1/collections/c/query", query)
        assert (answer.status_code, answer.json()["pointer"]) == (422, "/rerank/model")


# Whatever may stand for inputs, right and wrong, in lists and alone.
parts = st.one_of(
    anything,
    st.text(max_size=5),
    st.lists(st.integers(-1, 40), max_size=4),
    st.dictionaries(
        st.sampled_from(["text", "image", "record", "points", "expert", "else"]),
        st.one_of(
            anything,
            st.just("UDUgMSAxIDI1NQoA"),
            st.just("https://127.0.0.1/a"),
            st.lists(st.lists(st.floats(), min_size=1, max_size=6), max_size=3),
            st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        ),
        max_size=2,
    ),
)


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(["/v1/embeddings", "/embed", "/v2/embed", "/v1/rerank"]),
    given_=st.one_of(parts, st.lists(parts, max_size=4)),
    more=st.fixed_dictionaries(
        {},
        optional={
            "encoding_format": st.sampled_from(["float", "base64", "int8", "ubinary", "other"]),
            "output": st.sampled_from(["dense", "tokens", "all"]),
            "dimensions": st.integers(-1, 40),
            "truncate": st.one_of(st.booleans(), st.sampled_from(["NONE", "START"])),
            "rank_fields": st.lists(st.sampled_from(["text", "record"]), max_size=2),
            "top_n": st.integers(-1, 3),
        },
    ),
)
def test_no_inputs_ever_make_an_encoding_route_fail(
    plain: InProcess, path: str, given_: Any, more: dict[str, Any]
) -> None:
    member = {"/embed": "inputs", "/v2/embed": "texts", "/v1/rerank": "documents"}.get(
        path, "input"
    )
    body = {member: given_, **more, **({"query": "sea"} if member == "documents" else {})}
    answer = plain.send(
        "POST", path, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code == 422:
        assert stands_in(body, answer.json()["pointer"]), answer.text


def stands_in(body: Any, pointer: str) -> bool:
    """Whether all but the last step of a pointer exist; the last one may be what is missing."""
    steps = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for step in steps[:-1]:
        try:
            body = body[int(step)] if isinstance(body, list) else body[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return not steps or isinstance(body, (dict, list))
