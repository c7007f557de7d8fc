"""Queries of sparse fields, over HTTP and on every backend, against sums done by hand."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from .harness import InProcess

QUERY = "/v1/collections/s/query"
POINTS = 40
FAR = 2**32 - 1  # the last index there is

RNG = np.random.default_rng(11)
WEIGHTS = RNG.integers(-2, 7, (POINTS, 8)) * (RNG.random((POINTS, 8)) < 0.4)
DENSE = RNG.normal(size=(POINTS, 4)).astype(np.float32)
INDICES = [0, 3, 70, 71, 4096, 90_000, 2**31, FAR]
ASKED = {"indices": [FAR, 3, 71, 90_000, 5], "values": [2, 1, -1, 0.5, 9]}
HAVING = [n for n in range(POINTS) if n % 5]


def _sparse(row: Any) -> dict[str, Any]:
    return {
        "indices": [index for index, weight in zip(INDICES, row, strict=True) if weight],
        "values": [float(weight) for weight in row if weight],
    }


def _product(asked: dict[str, Any], n: int) -> float | None:
    """The inner product; None if the two share no index."""
    held = dict(zip(INDICES, WEIGHTS[n].tolist(), strict=True))
    pairs = zip(asked["indices"], asked["values"], strict=True)
    shared = [value * held[index] for index, value in pairs if held.get(index)]
    return sum(shared) if shared else None


def _ranked(asked: dict[str, Any], among: list[int]) -> list[tuple[float, int]]:
    scored = [(_product(asked, n), n) for n in among]
    return sorted(
        ((score, n) for score, n in scored if score is not None), key=lambda p: (-p[0], p[1])
    )


@pytest.fixture
def many(api: InProcess) -> InProcess:
    """Forty points: "terms" on those of `HAVING`, "one" (dense) on all, attribute `n`."""
    vectors = {"terms": {"kind": "sparse"}, "one": {"dimension": 4, "metric": "ip"}}
    assert api.put("/v1/collections/s", {"vectors": vectors}).status_code == 201
    points = []
    for n in range(POINTS):
        own: dict[str, Any] = {"one": DENSE[n].tolist()}
        if n in HAVING:
            own["terms"] = _sparse(WEIGHTS[n])
        points.append({"id": n, "vectors": own, "attributes": {"n": n, "third": n % 3}})
    answer = api.put("/v1/collections/s/points", {"points": points})
    assert answer.status_code == 200, answer.text
    return api


def hits(answer: Any) -> list[tuple[float, int]]:
    assert answer.status_code == 200, answer.text
    return [(point["score"], point["id"]) for point in answer.json()["points"]]


def test_a_sparse_field_is_searched_by_inner_product(many: InProcess) -> None:
    expected = _ranked(ASKED, HAVING)
    assert len(expected) > 10
    whole = many.post(QUERY, {"query": {"sparse": ASKED}, "k": POINTS})
    assert hits(whole) == expected
    assert (whole.json()["matches"], whole.json()["exact"]) == (len(expected), True)
    page = many.post(QUERY, {"query": {"sparse": ASKED}, "using": "terms", "k": 4, "offset": 3})
    assert hits(page) == expected[3:7]
    least = expected[5][0]
    cut = many.post(QUERY, {"query": {"sparse": ASKED}, "k": POINTS, "score_threshold": least})
    assert hits(cut) == [pair for pair in expected if pair[0] >= least]


def test_the_filter_is_applied_before_anything_is_ranked(many: InProcess) -> None:
    among = [n for n in HAVING if n >= 10 and n % 3 == 1]
    filter_ = {"n": {"$gte": 10}, "third": 1}
    answer = many.post(QUERY, {"query": {"sparse": ASKED}, "filter": filter_, "k": POINTS})
    assert hits(answer) == _ranked(ASKED, among)
    assert answer.json()["matches"] == len(_ranked(ASKED, among))


def test_base64_says_the_same(many: InProcess) -> None:
    packed = {
        "indices": base64.b64encode(np.array(ASKED["indices"], "<u4").tobytes()).decode(),
        "values": base64.b64encode(np.array(ASKED["values"], "<f4").tobytes()).decode(),
    }
    plain = many.post(QUERY, {"query": {"sparse": ASKED}, "k": 9})
    assert hits(many.post(QUERY, {"query": {"sparse": packed}, "k": 9})) == hits(plain)


def test_a_point_finds_its_like_and_not_itself(many: InProcess) -> None:
    start = max(HAVING, key=lambda n: np.count_nonzero(WEIGHTS[n]))
    others = [n for n in HAVING if n != start]
    for leaf in ({"query": {"id": start}}, {"id": start}):
        answer = many.post(QUERY, {**leaf, "using": "terms", "k": POINTS})
        assert hits(answer) == _ranked(_sparse(WEIGHTS[start]), others)


def test_what_shares_no_index_is_not_found(many: InProcess) -> None:
    for query in ({"indices": [5], "values": [1]}, {"indices": [], "values": []}):
        answer = many.post(QUERY, {"query": {"sparse": query}})
        assert hits(answer) == []
        assert (answer.json()["matches"], answer.json()["plan"]) == (0, "empty")


def test_sparse_and_dense_lists_are_fused_by_any_weights(many: InProcess) -> None:
    dense = [1.0, -0.5, 0.25, 2.0]
    sources = [{"sparse": ASKED, "k": POINTS}, {"vector": dense, "using": "one", "k": POINTS}]
    products = {n: score for score, n in _ranked(ASKED, HAVING)}
    least = min(products.values())
    cosines = DENSE.astype(np.float64) @ dense
    for weight in (0.0, 0.3, 1.0):
        fuse = {"method": "sum", "normalise": "none", "weights": [weight, 1 - weight]}
        answer = many.post(QUERY, {"prefetch": sources, "fuse": fuse, "k": POINTS})
        expected = {
            n: weight * products.get(n, least) + (1 - weight) * cosines[n] for n in range(POINTS)
        }
        found = {n: score for score, n in hits(answer)}
        assert found == pytest.approx(expected, abs=1e-5)
    ranked = many.post(QUERY, {"prefetch": sources, "fuse": "rrf", "k": 1, "explain": True}).json()
    assert ranked["points"][0]["scores"].keys() >= {"terms", "one", "fused"}


def test_candidates_are_rescored_by_their_weights(many: InProcess) -> None:
    dense = {"vector": [1.0, 0, 0, 0], "using": "one", "k": POINTS}
    rescore = {"sparse": ASKED, "using": "terms", "candidates": POINTS}
    expected = sorted(((_product(ASKED, n) or 0.0, n) for n in HAVING), key=lambda p: (-p[0], p[1]))
    assert hits(many.post(QUERY, {**dense, "rescore": rescore})) == expected
    prefetched = {"prefetch": [dense], "query": {"sparse": ASKED}, "using": "terms", "k": 5}
    assert hits(many.post(QUERY, prefetched)) == expected[:5]
    levels = [
        {"sparse": ASKED, "using": "terms", "weight": 2},
        {"vector": [1.0, 0, 0, 0], "using": "one"},
    ]
    body = {**dense, "explain": True, "rescore": {"levels": levels, "candidates": POINTS}}
    for one in many.post(QUERY, body).json()["points"]:
        if one["id"] in HAVING:
            assert one["scores"]["level 0"] == (_product(ASKED, one["id"]) or 0.0)


def test_sparse_candidates_are_rescored_by_a_dense_vector(many: InProcess) -> None:
    rescore = {"vector": [0, 1.0, 0, 0], "using": "one", "candidates": 6}
    body = {"query": {"sparse": ASKED}, "k": 6, "rescore": rescore}
    first = [n for _, n in _ranked(ASKED, HAVING)[:6]]
    expected = sorted(first, key=lambda n: -float(DENSE[n, 1]))
    assert [n for _, n in hits(many.post(QUERY, body))] == expected


def test_a_batch_mixes_kinds_and_answers_each(many: InProcess) -> None:
    queries = [
        {"query": {"sparse": ASKED}, "k": 3},
        {"vector": [1, 0, 0, 0], "using": "one", "k": 2},
        {"query": {"sparse": {"indices": [3], "values": [1]}}, "k": 2, "filter": {"third": 0}},
    ]
    answer = many.post(f"{QUERY}:batch", {"queries": queries}).json()["results"]
    found = [[(p["score"], p["id"]) for p in one["points"]] for one in answer]
    assert found[0] == _ranked(ASKED, HAVING)[:3]
    assert [n for _, n in found[1]] == sorted(range(POINTS), key=lambda n: -float(DENSE[n, 0]))[:2]
    assert found[2] == _ranked(queries[2]["query"]["sparse"], [n for n in HAVING if n % 3 == 0])[:2]  # type: ignore[index]


def test_hits_carry_their_vectors_if_asked(many: InProcess) -> None:
    body = {"query": {"sparse": ASKED}, "k": 3, "with_vectors": True}
    for one in many.post(QUERY, body).json()["points"]:
        assert one["vectors"]["terms"] == _sparse(WEIGHTS[one["id"]])
    (packed, *_) = many.post(QUERY, {**body, "encoding_format": "base64"}).json()["points"]
    octets = base64.b64decode(packed["vectors"]["terms"]["indices"])
    assert np.frombuffer(octets, "<u4").tolist() == _sparse(WEIGHTS[packed["id"]])["indices"]


def test_explain_tells_of_the_search(many: InProcess) -> None:
    answer = many.post(QUERY, {"query": {"sparse": ASKED}, "explain": True}).json()
    (search,) = [one for one in answer["explain"]["stages"] if one["stage"] == "search"]
    assert (search["matches"], search["exact"]) == (answer["matches"], True)
    if "by" in search:  # the plain backend has nothing to tell
        assert (search["by"], search["terms"]) == ("postings", 5)
        assert search["postings"] >= search["matches"]


SPARSE = {"sparse": ASKED}
BY_TOKENS = {**SPARSE, "using": "terms", "aggregate": "max"}


def _weights(indices: list[int], value: float = 1) -> dict[str, Any]:
    return {"query": {"sparse": {"indices": indices, "values": [value] * len(indices)}}}


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"query": {"sparse": [1]}}, 422, "/query/sparse"),
        ({"query": {"sparse": {"indices": [1]}}}, 422, "/query/sparse"),
        (_weights([1, 1]), 422, "/query/sparse/indices/1"),
        (_weights([2**32]), 422, "/query/sparse/indices/0"),
        (_weights([1], 1e39), 422, "/query/sparse/values/0"),
        (_weights([*range(16_385)]), 422, "/query/sparse/indices"),
        ({"query": SPARSE, "using": "one"}, 422, "/query/sparse"),
        ({"query": {"vector": [1, 2]}, "using": "terms"}, 422, "/query/vector"),
        ({"query": {"tokens": [[1, 2]]}, "using": "terms"}, 422, "/query/tokens"),
        ({"query": {"text": "a"}, "using": "terms"}, 422, "/query/text"),
        ({"vector": [1, 2], "using": "terms"}, 422, "/vector"),
        ({"query": {"id": 0}, "using": "terms"}, 422, "/query/id"),
        ({"query": {"id": 999}, "using": "terms"}, 404, "/query/id"),
        ({"id": 999, "using": "terms"}, 404, "/id"),
        ({"query": SPARSE, "rescore": BY_TOKENS}, 422, "/rescore"),
        ({"prefetch": [{**SPARSE, "using": "one"}]}, 422, "/prefetch/0/sparse"),
    ],
)
def test_mistakes_are_named(
    many: InProcess, body: dict[str, Any], status: int, pointer: str
) -> None:
    answer = many.post(QUERY, body)
    assert (answer.status_code, answer.json()["pointer"]) == (status, pointer), answer.text
