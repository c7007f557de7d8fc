"""Fields of tokens and of sparse vectors, from the body of a request to the answer."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from .harness import InProcess

FIELDS = {
    "dense": {"dimension": 2},
    "words": {"kind": "tokens", "dimension": 3},
    "terms": {"kind": "sparse"},
}
TOKENS = [[1.0, 0.0, 0.5], [0.0, -2.0, 0.25]]
PACKED = {
    "shape": [2, 3],
    "data": base64.b64encode(np.array(TOKENS, "<f4").tobytes()).decode(),
}
TERMS = {"indices": [3, 70_000, 4_294_967_295], "values": [0.5, -1.0, 2.0]}
PACKED_TERMS = {
    "indices": base64.b64encode(np.array(TERMS["indices"], "<u4").tobytes()).decode(),
    "values": base64.b64encode(np.array(TERMS["values"], "<f4").tobytes()).decode(),
}


@pytest.fixture
def made(api: InProcess) -> InProcess:
    assert api.put("/v1/collections/c", {"vectors": FIELDS}).status_code == 201
    return api


def put(api: InProcess, vectors: dict[str, Any], id_: int = 1) -> Any:
    return api.put("/v1/collections/c/points", {"points": [{"id": id_, "vectors": vectors}]})


def got(api: InProcess, encoding: str = "float") -> dict[str, Any]:
    wanted = {"ids": [1], "with_vectors": True, "encoding_format": encoding}
    (point,) = api.post("/v1/collections/c/points/get", wanted).json()["points"]
    found: dict[str, Any] = point["vectors"]
    return found


def test_a_description_says_what_kind_each_vector_is(made: InProcess) -> None:
    vectors = made.get("/v1/collections/c").json()["vectors"]
    assert {name: (v["kind"], v["dimension"], v["metric"]) for name, v in vectors.items()} == {
        "dense": ("dense", 2, "cosine"),
        "words": ("tokens", 3, "cosine"),
        "terms": ("sparse", None, "ip"),
    }
    assert made.put("/v1/collections/c", {"vectors": vectors}).status_code == 200


@pytest.mark.parametrize("words", [TOKENS, PACKED])
@pytest.mark.parametrize("terms", [TERMS, PACKED_TERMS])
def test_vectors_come_back_as_they_were_given_in_both_encodings(
    made: InProcess, words: Any, terms: Any
) -> None:
    assert put(made, {"words": words, "terms": terms}).json() == {"upserted": 1}
    assert got(made) == {"words": TOKENS, "terms": TERMS}
    assert got(made, "base64") == {"words": PACKED, "terms": PACKED_TERMS}


def test_indices_are_sorted_and_zeros_dropped(made: InProcess) -> None:
    put(made, {"terms": {"indices": [9, 2, 5], "values": [1, 2, 0]}})
    assert got(made)["terms"] == {"indices": [2, 9], "values": [2.0, 1.0]}


def test_a_sparse_vector_may_be_empty(made: InProcess) -> None:
    assert put(made, {"terms": {"indices": [], "values": []}}).status_code == 200
    assert got(made)["terms"] == {"indices": [], "values": []}


def test_an_export_can_be_imported(made: InProcess) -> None:
    put(made, {"words": TOKENS, "terms": TERMS, "dense": [1, 2]})
    lines = made.post("/v1/collections/c/points:export", {}).content
    made.post("/v1/collections/c/points/delete", {"ids": [1]})
    headers = {"content-type": "application/x-ndjson"}
    made.send("POST", "/v1/collections/c/points:import", content=lines, headers=headers)
    assert got(made) == {"words": TOKENS, "terms": TERMS, "dense": [1, 2]}


WORDS_AT, TERMS_AT = "/points/0/vectors/words", "/points/0/vectors/terms"


@pytest.mark.parametrize(
    ("vectors", "code", "pointer"),
    [
        ({"words": [1.0, 2.0, 3.0]}, "invalid-vector", f"{WORDS_AT}/0"),
        ({"words": "AACAPw=="}, "invalid-vector", WORDS_AT),
        ({"words": []}, "invalid-vector", WORDS_AT),
        ({"words": [[1, 2]]}, "dimension-mismatch", f"{WORDS_AT}/0"),
        ({"words": [[1, 2, 3], [1, "x", 3]]}, "invalid-vector", f"{WORDS_AT}/1/1"),
        ({"words": [[1, 2, 3], [0, 0, 0]]}, "zero-vector", f"{WORDS_AT}/1"),
        ({"words": [[1, 2, 1e39]]}, "vector-not-finite", f"{WORDS_AT}/0"),
        ({"words": [[1, 2, 3]] * 2049}, "limit-exceeded", WORDS_AT),
        ({"words": {"shape": [2, 3]}}, "invalid-vector", WORDS_AT),
        ({"words": PACKED | {"shape": [3, 3]}}, "invalid-vector", f"{WORDS_AT}/data"),
        ({"words": PACKED | {"shape": [3, 2]}}, "dimension-mismatch", f"{WORDS_AT}/shape/1"),
        ({"words": PACKED | {"shape": [-1, 3]}}, "invalid-vector", f"{WORDS_AT}/shape/0"),
        ({"words": PACKED | {"shape": [2049, 3]}}, "limit-exceeded", f"{WORDS_AT}/shape/0"),
        ({"words": PACKED | {"shape": [True, 3]}}, "invalid-vector", f"{WORDS_AT}/shape"),
        ({"words": PACKED | {"data": "?"}}, "invalid-vector", f"{WORDS_AT}/data"),
        ({"words": TERMS}, "invalid-vector", WORDS_AT),
        ({"terms": TOKENS}, "invalid-vector", TERMS_AT),
        ({"terms": [1.0]}, "invalid-vector", TERMS_AT),
        ({"terms": {"indices": [1]}}, "invalid-vector", TERMS_AT),
        (
            {"terms": {"indices": [1, 1], "values": [1, 2]}},
            "invalid-vector",
            f"{TERMS_AT}/indices/1",
        ),
        ({"terms": {"indices": [-1], "values": [1]}}, "invalid-vector", f"{TERMS_AT}/indices/0"),
        ({"terms": {"indices": [2**32], "values": [1]}}, "invalid-vector", f"{TERMS_AT}/indices/0"),
        ({"terms": {"indices": [True], "values": [1]}}, "invalid-vector", f"{TERMS_AT}/indices/0"),
        ({"terms": {"indices": [1.0], "values": [1]}}, "invalid-vector", f"{TERMS_AT}/indices/0"),
        ({"terms": {"indices": [1, 2], "values": [1]}}, "invalid-vector", f"{TERMS_AT}/values"),
        ({"terms": {"indices": [1], "values": ["1"]}}, "invalid-vector", f"{TERMS_AT}/values/0"),
        (
            {"terms": {"indices": [1], "values": [1e39]}},
            "vector-not-finite",
            f"{TERMS_AT}/values/0",
        ),
        (
            {"terms": {"indices": list(range(16_385)), "values": [1] * 16_385}},
            "limit-exceeded",
            f"{TERMS_AT}/indices",
        ),
        ({"dense": TOKENS}, "invalid-vector", "/points/0/vectors/dense/0"),
        ({"dense": TERMS}, "invalid-vector", "/points/0/vectors/dense"),
    ],
)
def test_what_is_no_vector_of_its_field_is_refused_with_its_place(
    made: InProcess, vectors: dict[str, Any], code: str, pointer: str
) -> None:
    answer = put(made, vectors)
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["pointer"]) == (
        422,
        f"urn:likewise:problem:{code}",
        pointer,
    )


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"kind": "sparse", "dimension": 5}, "/vectors/v/dimension"),
        ({"kind": "sparse", "metric": "cosine"}, "/vectors/v/metric"),
        ({"kind": "tokens"}, "/vectors/v/dimension"),
        ({"kind": "tokens", "dimension": 5000}, "/vectors/v/dimension"),
        ({"kind": "tokens", "dimension": 5, "metric": "l2"}, "/vectors/v/metric"),
        ({"kind": "tokens", "encoder": "tiny"}, "/vectors/v/encoder"),
        ({"kind": "sparse", "encoder": "tiny"}, "/vectors/v/encoder"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_its_place(
    api: InProcess, spec: dict[str, Any], pointer: str
) -> None:
    answer = api.put("/v1/collections/c", {"vectors": {"v": spec}})
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    assert answer.json()["type"] == "urn:likewise:problem:invalid-definition"


def test_points_are_recalled_by_tokens(made: InProcess) -> None:
    put(made, {"words": TOKENS}, 1)
    put(made, {"words": [[-1.0, 0.0, 0.0]]}, 2)
    put(made, {"dense": [1.0, 2.0]}, 3)
    found = made.post("/v1/collections/c/query", {"query": {"tokens": TOKENS}}).json()
    assert [point["id"] for point in found["points"]] == [1, 2]
    # Tokens are kept in half precision (app.vectors.tokens): a cosine is off by 2.5e-4 at most.
    assert found["points"][0]["score"] == pytest.approx(1.0, abs=2.5e-4)


def test_tokens_are_not_searched_by_one_vector(made: InProcess) -> None:
    query = {"vector": [1, 2, 3], "using": "words"}
    answer = made.post("/v1/collections/c/query", query)
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/vector")
