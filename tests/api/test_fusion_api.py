"""Query banks, calibrations and normalised lists, over HTTP and on every backend."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from app.ranking.hubness import Penalty, similarities
from app.types import F32, Metric
from tests.ranking.hubs import planted

from .harness import InProcess

C = "/v1/collections/c"
BANK = f"{C}/query-banks/asked"
ITEMS = 300
HELD = 100  # queries in the bank; the next as many are labelled, the rest is asked later


def text_of(vector: F32) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def stored(api: InProcess, *, hubs: bool) -> F32:
    """Items under their numbers; the queries are given."""
    queries, items = planted(1, hubs=hubs, items=ITEMS)
    assert api.put(C, {"dimension": items.shape[1], "metric": "cosine"}).status_code == 201
    points = [{"id": n, "vector": text_of(item)} for n, item in enumerate(items)]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    return queries


def body(queries: F32, **more: Any) -> dict[str, Any]:
    asked = [{"vector": text_of(one)} for one in queries[:HELD]]
    return {"queries": asked, **more}


def dev(queries: F32) -> list[dict[str, Any]]:
    return [{"vector": text_of(queries[n]), "relevant": [n]} for n in range(HELD, 2 * HELD)]


def hits(api: InProcess, queries: F32, **more: Any) -> float:
    """R@1 of queries that neither the bank nor the labelled ones have."""
    asked = [{"vector": text_of(one), "k": 1, **more} for one in queries[2 * HELD :]]
    answered = []
    for start in range(0, len(asked), 50):
        answer = api.post(f"{C}/query:batch", {"queries": asked[start : start + 50]})
        assert answer.status_code == 200, answer.text
        answered += answer.json()["results"]
    found = [one["points"][0]["id"] == n for n, one in enumerate(answered, 2 * HELD)]
    return float(np.mean(found))


def problem(answer: Any) -> tuple[int, str, str | None]:
    told = answer.json()
    return answer.status_code, told["type"].rpartition(":")[2], told.get("pointer")


def test_a_bank_that_wins_puts_hubs_back(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    answer = api.put(BANK, body(queries, dev=dev(queries)))
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["name"], told["using"], told["queries"]) == ("asked", "default", HELD)
    assert told["wins"] is True
    measured = told["measured"]
    assert measured["gain"] > 3 * measured["error"]
    assert measured["with"]["first"] > measured["without"]["first"] + 0.1
    assert measured["with"]["skew"] < measured["without"]["skew"] - 2
    assert len(measured["tried"]) == 12
    raw, corrected = hits(api, queries), hits(api, queries, correct="asked")
    assert raw < 0.88
    assert corrected > 0.95
    assert api.get(BANK).json() == told
    assert api.get(f"{C}/query-banks").json() == {"banks": [told]}


def test_corrected_scores_are_those_of_the_formula(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    api.put(BANK, body(queries, method="csls", strength=0.5, k=7))
    correct = {"bank": "asked", "force": True, "candidates": ITEMS}
    asked = {"vector": text_of(queries[250]), "k": 20, "correct": correct, "explain": True}
    answer = api.post(f"{C}/query", asked).json()
    _, items = planted(1, hubs=True, items=ITEMS)
    penalty = Penalty("csls", k=7)(similarities(Metric.COSINE, items, queries[:HELD]))
    expected = items @ queries[250] - 0.5 * penalty
    best = np.argsort(-expected)[:20]
    assert [one["id"] for one in answer["points"]] == best.tolist()
    np.testing.assert_allclose(
        [one["score"] for one in answer["points"]], expected[best], atol=1e-5
    )
    assert answer["points"][0]["scores"].keys() == {"default", "default corrected"}
    (stage,) = [one for one in answer["explain"]["stages"] if one["stage"] == "recall"]
    assert stage["correct"]["products"] == ITEMS * HELD * 32
    assert stage["out"] == 20


def test_where_no_hubs_are_a_bank_does_not_win_and_is_refused(api: InProcess) -> None:
    queries = stored(api, hubs=False)
    told = api.put(BANK, body(queries, dev=dev(queries))).json()
    assert told["wins"] is False
    assert abs(told["measured"]["gain"]) <= 0.002
    asked = {"vector": text_of(queries[0]), "correct": "asked"}
    refused = api.post(f"{C}/query", asked)
    assert problem(refused) == (422, "invalid-query", "/correct")
    assert "did not win" in refused.json()["detail"]
    forced = {"bank": "asked", "force": True}
    raw, corrected = hits(api, queries), hits(api, queries, correct=forced)
    assert abs(raw - corrected) <= 0.01


def test_a_bank_that_nobody_measured_is_refused(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    told = api.put(BANK, body(queries)).json()
    assert (told["wins"], told["measured"], told["method"]) == (None, None, "csls")
    refused = api.post(f"{C}/query", {"vector": text_of(queries[0]), "correct": "asked"})
    assert problem(refused) == (422, "invalid-query", "/correct")
    assert "never measured" in refused.json()["detail"]


def test_points_stand_for_queries_where_there_are_none(api: InProcess) -> None:
    stored(api, hubs=True)
    told = api.put(BANK, {"sample": {"points": 50, "seed": 3}, "method": "sinkhorn"}).json()
    assert (told["queries"], told["method"]) == (50, "sinkhorn")


def test_a_new_point_has_its_penalty_at_once(api: InProcess) -> None:
    """A hub that comes after the bank is corrected as those before it."""
    queries = stored(api, hubs=True)
    api.put(BANK, body(queries, dev=dev(queries)))
    leaning = np.zeros(32, dtype=np.float32)
    leaning[0] = 1
    api.put(f"{C}/points", {"points": [{"id": "hub", "vector": text_of(leaning)}]})
    asked = {"vector": text_of(queries[230]), "k": 3}
    assert "hub" in [one["id"] for one in api.post(f"{C}/query", asked).json()["points"]]
    asked["correct"] = "asked"
    assert "hub" not in [one["id"] for one in api.post(f"{C}/query", asked).json()["points"]]


def test_sources_and_levels_are_corrected_each_for_itself(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    api.put(BANK, body(queries, dev=dev(queries)))
    vector = text_of(queries[220])
    plain = {"vector": vector, "k": 5, "correct": {"bank": "asked", "candidates": ITEMS}}
    expected = api.post(f"{C}/query", plain).json()["points"]
    source = {"vector": vector, "k": 5, "correct": {"bank": "asked", "candidates": ITEMS}}
    fused = {"prefetch": [source], "fuse": {"method": "sum"}, "k": 5}
    level = {"correct": "asked"}
    rescored = {
        "vector": vector, "k": 5,
        "rescore": {"candidates": ITEMS, "levels": [level], "fuse": "sum"},
    }  # fmt: skip
    for asked in (fused, rescored):
        answer = api.post(f"{C}/query", asked)
        assert answer.status_code == 200, answer.text
        found = answer.json()["points"]
        assert [one["id"] for one in found] == [one["id"] for one in expected]
        np.testing.assert_allclose(
            [one["score"] for one in found], [one["score"] for one in expected], atol=1e-5
        )


def test_scores_of_tokens_are_corrected_by_what_is_pooled(api: InProcess) -> None:
    """By hand: MaxSim of one query token, less half the penalty of the points' pooled vectors."""
    queries, items = planted(5, hubs=True, items=40)
    frames = np.stack([items, np.roll(items, 1, axis=0)], axis=1)
    api.put(C, {"vectors": {"frames": {"kind": "tokens", "dimension": 32}}})
    points = [{"id": n, "vectors": {"frames": frames[n].tolist()}} for n in range(40)]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    asked = [{"query": {"tokens": [one.tolist()]}} for one in queries[:20]]
    made = {"using": "frames", "queries": asked, "method": "csls", "k": 4}
    assert api.put(BANK, made).status_code == 201
    wanted = {
        "query": {"tokens": [queries[30].tolist()]},
        "using": "frames",
        "k": 40,
        "correct": {"bank": "asked", "force": True},
    }
    answer = api.post(f"{C}/query", wanted)
    assert answer.status_code == 200, answer.text
    pooled = frames.sum(axis=1)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    penalty = Penalty("csls", k=4)(similarities(Metric.COSINE, pooled, queries[:20]))
    expected = (frames @ queries[30]).max(axis=1) - 0.5 * penalty
    found = {one["id"]: one["score"] for one in answer.json()["points"]}
    assert list(found) == np.argsort(-expected).tolist()
    np.testing.assert_allclose([found[n] for n in range(40)], expected, atol=2e-3)


def test_a_bank_is_replaced_and_forgotten(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    first = api.put(BANK, body(queries))
    again = api.put(BANK, body(queries, method="center"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["revision"] > first.json()["revision"]
    assert api.delete(BANK).status_code == 204
    for answer in (api.delete(BANK), api.get(BANK)):
        assert problem(answer) == (404, "artefact-not-found", None)
    asked = {"vector": text_of(queries[0]), "correct": "asked"}
    assert problem(api.post(f"{C}/query", asked)) == (422, "invalid-query", "/correct")
    assert api.get(f"{C}/query-banks").json() == {"banks": []}
    for path in ("/v1/collections/none/query-banks", "/v1/collections/none/calibrations"):
        assert problem(api.get(path)) == (404, "collection-not-found", None)


def test_a_labelled_query_that_the_bank_has_is_refused(api: InProcess) -> None:
    queries = stored(api, hubs=True)
    labelled = dev(queries)[:20]
    labelled[3] = {"vector": text_of(queries[7]), "relevant": [7]}
    wanted = body(queries, dev=labelled)
    assert problem(api.put(BANK, wanted)) == (422, "invalid-query", "/dev/3")


VECTOR = {"vector": [1.0, 0.0]}
LABELLED = {"vector": [0.0, 1.0], "relevant": [1]}


@pytest.fixture
def small(api: InProcess) -> InProcess:
    fields = {
        "a": {"dimension": 2},
        "b": {"dimension": 2, "metric": "l2"},
        "words": {"kind": "sparse"},
    }
    api.put(C, {"vectors": fields})
    points = [
        {"id": n, "vectors": {"a": [1.0, 0.1 * n], "b": [1.0, float(n)]}} for n in range(1, 6)
    ]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    return api


BASE = {"using": "a", "queries": [VECTOR]}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"using": None}, "invalid-query", ""),
    ({"using": "no"}, "unknown-vector", "/using"),
    ({"using": "words"}, "invalid-query", "/using"),
    ({"queries": None}, "invalid-query", ""),
    ({"sample": {}}, "invalid-query", ""),
    ({"queries": []}, "invalid-query", "/queries"),
    ({"queries": [3]}, "invalid-query", "/queries/0"),
    ({"queries": [{}]}, "invalid-query", "/queries/0"),
    ({"queries": [{**VECTOR, "x": 1}]}, "invalid-query", "/queries/0/x"),
    ({"queries": [{"vector": [1]}]}, "dimension-mismatch", "/queries/0/vector"),
    ({"queries": [{"text": "x"}]}, "invalid-text", "/queries/0/text"),
    ({"queries": [VECTOR] * 2001}, "limit-exceeded", "/queries"),
    ({"queries": [{"id": 99}]}, "point-not-found", "/queries/0/id"),
    ({"queries": None, "sample": 3}, "invalid-query", "/sample"),
    ({"queries": None, "sample": {"points": 0}}, "invalid-query", "/sample/points"),
    ({"queries": None, "sample": {"filter": {"$no": 1}}}, "invalid-filter", "/sample/filter/$no"),
    ({"queries": None, "sample": {"filter": {"n": 1}}}, "invalid-query", "/sample"),
    ({"method": "hub"}, "invalid-query", "/method"),
    ({"method": ["csls", 1]}, "invalid-query", "/method/1"),
    ({"method": "center", "using": "b"}, "invalid-query", "/method"),
    ({"strength": 0}, "invalid-query", "/strength"),
    ({"strength": [1, "x"]}, "invalid-query", "/strength/1"),
    ({"k": 0}, "invalid-query", "/k"),
    ({"tau": 0}, "invalid-query", "/tau"),
    ({"candidates": 10**9}, "limit-exceeded", "/candidates"),
    ({"dev": [VECTOR]}, "invalid-query", "/dev/0"),
    ({"dev": [{**LABELLED, "relevant": []}]}, "invalid-query", "/dev/0/relevant"),
    ({"dev": [{**LABELLED, "relevant": [True]}]}, "invalid-id", "/dev/0/relevant/0"),
    ({"dev": [LABELLED] * 19}, "invalid-query", "/dev"),
    ({"dev": [{**LABELLED, "relevant": [1, 99]}] * 20}, "point-not-found", "/dev/0/relevant/1"),
]


def test_mistakes_in_a_bank_are_named(small: InProcess) -> None:
    for change, code, pointer in WRONG:
        status = 404 if code == "point-not-found" else 422
        assert problem(small.put(BANK, BASE | change)) == (status, code, pointer), change
    assert small.get(f"{C}/query-banks").json() == {"banks": []}


def test_names_are_checked(small: InProcess) -> None:
    wanted = {"using": "a", "queries": [VECTOR]}
    assert problem(small.put(f"{C}/query-banks/.x", wanted))[:2] == (422, "invalid-name")
    assert problem(small.put(f"{C}/calibrations/.x", {}))[:2] == (422, "invalid-name")


def test_mistakes_in_a_correction_are_named(small: InProcess) -> None:
    assert small.put(BANK, BASE).status_code == 201
    for correct, pointer in (
        (3, "/correct"),
        ({}, "/correct"),
        ("no", "/correct"),
        (".x", "/correct"),
        ({"bank": ".x"}, "/correct/bank"),
        ({"bank": "asked", "strength": 2}, "/correct/strength"),
        ({"bank": "asked", "x": 2}, "/correct/x"),
    ):
        answer = small.post(f"{C}/query", {"vector": [1, 0], "using": "a", "correct": correct})
        assert problem(answer) == (422, "invalid-query", pointer), correct
    other = {"vector": [1, 0], "using": "b", "correct": {"bank": "asked", "force": True}}
    assert problem(small.post(f"{C}/query", other)) == (422, "invalid-query", "/correct")


def test_a_correction_needs_a_query_beside_it(small: InProcess) -> None:
    asked = {"prefetch": [{"vector": [1, 0], "using": "a"}], "fuse": "rrf", "correct": "asked"}
    assert problem(small.post(f"{C}/query", asked)) == (422, "invalid-query", "/correct")


# ── normalising and calibrating ──────────────────────────────────────────────────────────────


def lists(small: InProcess, fuse: Any, **more: Any) -> Any:
    prefetch = [{"vector": [1, 0], "using": name, "k": 5} for name in ("a", "b")]
    return small.post(f"{C}/query", {"prefetch": prefetch, "fuse": fuse, **more})


def test_lists_of_other_scales_are_fused(small: InProcess) -> None:
    """By hand: cosines of one field, distances of the other, both falling from point 1 to 5."""
    for fuse in (
        {"method": "sum", "normalise": "z"},
        {"method": "sum", "normalise": ["minmax", {"softmax": {"tau": 2}}]},
        {"method": "max", "normalise": "dbsf", "floor": 0},
        {"method": "product", "normalise": "rank"},
        {"method": "sum", "normalise": {"temperature": {"top": 3}}},
    ):
        answer = lists(small, fuse)
        assert answer.status_code == 200, answer.text
        assert [one["id"] for one in answer.json()["points"]] == [1, 2, 3, 4, 5]
    beside = lists(small, "sum", normalise="rank").json()["points"]
    assert [one["score"] for one in beside] == pytest.approx([2.0, 1.6, 1.2, 0.8, 0.4])


def test_mistakes_in_a_fusion_are_named(small: InProcess) -> None:
    for normalise, pointer in (
        ("zz", ""),
        ("calibrated", ""),
        (["z"], ""),
        (["z", 1], "/1"),
        ({"softmax": {"tau": 0}}, "/softmax/tau"),
        ({"softmax": {"top": 5}}, "/softmax/top"),
        ({"softmax": {}, "calibrated": "x"}, ""),
        ({"calibrated": "/"}, "/calibrated"),
    ):
        answer = lists(small, {"method": "sum", "normalise": normalise})
        told = (422, "invalid-query", f"/fuse/normalise{pointer}")
        assert problem(answer) == told, normalise
    rest: list[tuple[Any, dict[str, Any], str]] = [
        ({"method": "sum", "normalise": {"calibrated": "no"}}, {}, ""),
        ({"method": "product"}, {}, "/fuse"),
        ({"method": "product", "normalise": "z"}, {}, "/fuse"),
        ({"method": "sum", "normalise": "z"}, {"normalise": "z"}, "/normalise"),
        ("sum", {"normalise": 3}, "/normalise"),
        ({"method": "sum", "floor": "x"}, {}, "/fuse/floor"),
    ]
    for fuse, more, pointer in rest:
        assert problem(lists(small, fuse, **more)) == (422, "invalid-query", pointer), fuse


CURVE = f"{C}/calibrations/curve"


def pairs(count: int) -> dict[str, Any]:
    dice = np.random.default_rng(0)
    scores = dice.uniform(0.2, 0.9, size=count)
    matches = dice.uniform(size=count) < 1 / (1 + np.exp(8 - 12 * scores))
    return {"scores": scores.tolist(), "matches": matches.tolist()}


def test_a_calibration_is_fitted_measured_and_used(small: InProcess) -> None:
    answer = small.put(CURVE, {**pairs(2000), "method": "platt"})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["method"], told["pairs"]) == ("platt", 2000)
    assert told["error_after"] < told["error_before"] / 3
    assert small.get(CURVE).json() == told
    assert small.get(f"{C}/calibrations").json() == {"calibrations": [told]}
    source = {"vector": [1, 0], "using": "a", "k": 5}
    fuse = {"method": "sum", "normalise": {"calibrated": "curve"}}
    found = small.post(f"{C}/query", {"prefetch": [source], "fuse": fuse}).json()["points"]
    cosines = [1 / np.hypot(1, 0.1 * one["id"]) for one in found]
    expected = [1 / (1 + np.exp(8 - 12 * cosine)) for cosine in cosines]
    assert [one["score"] for one in found] == pytest.approx(expected, abs=0.02)
    assert small.delete(CURVE).status_code == 204
    assert problem(small.delete(CURVE)) == (404, "artefact-not-found", None)
    assert problem(small.get(CURVE)) == (404, "artefact-not-found", None)


def test_a_calibration_of_labelled_queries(api: InProcess) -> None:
    queries = stored(api, hubs=False)
    wanted = {"dev": dev(queries), "candidates": 20}
    told = api.put(CURVE, {"using": "default", **wanted}).json()
    alone = api.put(CURVE, wanted).json()  # where there is one vector, nobody has to name it
    assert alone["error_after"] == told["error_after"]
    assert (told["pairs"], told["matches"]) == (20 * HELD, HELD)
    assert told["error_after"] < 0.05 < told["error_before"]


def test_mistakes_in_a_calibration_are_named(small: InProcess) -> None:
    one = {"scores": [1], "matches": [True]}
    for wanted, pointer in (
        ({}, ""),
        ({**one, "dev": [LABELLED]}, ""),
        ({"scores": [1]}, ""),
        ({"scores": [1], "matches": []}, "/matches"),
        ({"scores": [1], "matches": [True, False]}, "/matches"),
        ({"scores": ["1"], "matches": [True]}, "/scores/0"),
        ({"scores": [1], "matches": [1]}, "/matches/0"),
        ({"scores": [1, 2], "matches": [True, False]}, "/matches"),
        ({**one, "method": "iso"}, "/method"),
        ({"dev": [LABELLED]}, ""),
        ({"using": "a", "dev": [LABELLED]}, "/dev"),
    ):
        assert problem(small.put(CURVE, wanted)) == (422, "invalid-query", pointer), wanted
    unknown = small.put(CURVE, {"using": "no", "dev": [LABELLED]})
    assert problem(unknown) == (422, "unknown-vector", "/dev/0/using")
