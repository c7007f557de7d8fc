"""Classify and verify over HTTP, on every backend: what is answered, kept, refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from .harness import InProcess

C = "/v1/collections/c"
R = np.random.default_rng(7)
PEOPLE = 14
DIRECTIONS = np.linalg.qr(R.standard_normal((16, 16)))[0]
FACES = 5 * DIRECTIONS[:PEOPLE]
SEEN = np.repeat(np.arange(PEOPLE), 6)
VECTORS = (FACES[SEEN] + R.standard_normal((len(SEEN), 16))).tolist()


@pytest.fixture
def faces(api: InProcess) -> InProcess:
    """`api` with six vectors of each of fourteen people; the first four of each are enrolled."""
    assert api.put(C, {"dimension": 16}).status_code == 201
    points = [
        {
            "id": number,
            "vector": vector,
            "attributes": {"person": f"p{who}", "enrolled": number % 6 < 4},
        }
        for number, (who, vector) in enumerate(zip(SEEN.tolist(), VECTORS, strict=True))
    ]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    return api


def ok(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int, code: str, pointer: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["type"] == f"urn:likewise:problem:{code}"
    assert body.get("pointer") == pointer


def test_neighbours_vote_among_those_that_pass_and_say_who_they_are(faces: InProcess) -> None:
    asked = {
        "inputs": [{"id": 4}, {"vector": VECTORS[4]}], "label": "person", "k": 3,
        "filter": {"enrolled": True}, "explain": True,
    }  # fmt: skip
    body = ok(faces.post(f"{C}/classify", asked))
    for result in body["results"]:
        assert result["label"] == "p0"
        voters = result["voters"]["knn"]
        assert len(voters) == 3
        assert all(voter["id"] % 6 < 4 for voter in voters)
        assert sum(voter["weight"] for voter in voters) == pytest.approx(1)
        mine = sum(voter["weight"] for voter in voters if voter["labels"] == ["p0"])
        assert result["probability"] == pytest.approx(mine)
    (head,) = body["explain"]["heads"]
    assert head["name"] == "knn"
    assert head["exact"] is True
    assert head["ms"] >= 0


def test_who_is_stored_is_not_its_own_neighbour(faces: InProcess) -> None:
    ids = [{"id": number} for number in range(len(VECTORS))]
    for method in ({"k": 1}, {"method": "prototypes"}):
        asked = {"inputs": ids, "label": "person", "explain": True, **method}
        results = ok(faces.post(f"{C}/classify", asked))["results"]
        for number, result in enumerate(results):
            for voters in result.get("voters", {}).values():
                assert number not in [voter["id"] for voter in voters]
            assert result["nearest"] < 0.9999


def test_tokens_are_compared_as_searches_do_and_sparse_vectors_have_no_mean(api: InProcess) -> None:
    """Tokens by MaxSim and, for means, by their pooled vectors; sparse ones have no mean."""
    kinds = {"tokens": {"kind": "tokens", "dimension": 3}, "terms": {"kind": "sparse"}}
    assert api.put(C, {"vectors": kinds}).status_code == 201
    axes = np.eye(3).tolist()
    points = [
        {
            "id": number,
            "vectors": {
                "tokens": [axes[number % 3], axes[(number + number % 2) % 3]],
                "terms": {"indices": [number % 3, 7 + number], "values": [1.0, 0.1]},
            },
            "attributes": {"y": "abc"[number % 3]},
        }
        for number in range(12)
    ]
    assert api.put(f"{C}/points", {"points": points}).status_code == 200
    tokens, terms = {"tokens": [axes[1]]}, {"sparse": {"indices": [1], "values": [2.0]}}
    for method in ("knn", "prototypes"):
        asked = {"inputs": [tokens], "using": "tokens", "label": "y", "method": method}
        (result,) = ok(api.post(f"{C}/classify", asked))["results"]
        assert result["label"] == "b", method
    asked = {"inputs": [terms], "using": "terms", "label": "y", "method": "prototypes"}
    refused(api.post(f"{C}/classify", asked), 422, "invalid-query", "")
    pair = {"a": tokens, "b": {"id": 1}, "using": "tokens"}
    assert 0 < ok(api.post(f"{C}/verify", pair))["pairs"][0]["score"] <= 1


def test_label_texts_are_read_by_the_encoder(api: InProcess) -> None:
    assert api.put(C, {"encoder": "tiny"}).status_code == 201
    asked = {
        "inputs": [{"text": "graphs of neighbours"}, {"text": "whales in the sea"}],
        "method": "zero_shot",
        "labels": {
            "search": ["neighbours", "graphs"],
            "animals": {"attributes": ["whales", "sea"]},
        },
        "templates": ["{label}", "about {label}"],
    }
    results = ok(api.post(f"{C}/classify", asked))["results"]
    assert [result["label"] for result in results] == ["search", "animals"]
    asked["labels"] = {"a": ""}
    refused(api.post(f"{C}/classify", asked), 422, "invalid-text", "/labels/a")


def test_a_threshold_is_chosen_kept_and_used(faces: InProcess) -> None:
    chosen = {"label": "person", "target_far": 0.02, "target_frr": 0.02, "seed": 3}
    made = ok(faces.put(f"{C}/thresholds/t", chosen))
    assert made["measured"] == "held_out"
    assert made["reject"] <= made["accept"]
    assert made["chosen"]["far"]["share"] <= 0.02
    assert made["far"]["low"] <= made["far"]["share"] <= made["far"]["high"]
    # Half of the people: 7 × 6 faces, 7 × 15 pairs of one person.
    assert made["tar"]["of"] == made["chosen"]["tar"]["of"] == 7 * 15
    assert made["far"]["of"] == 42 * 41 // 2 - 7 * 15
    assert ok(faces.get(f"{C}/thresholds/t")) == made
    assert ok(faces.get(f"{C}/thresholds"))["thresholds"] == [
        {"name": "t", "created_at": made["created_at"]}
    ]
    pairs = [{"a": {"id": 0}, "b": {"id": 1}}, {"a": {"id": 0}, "b": {"vector": VECTORS[30]}}]
    body = ok(faces.post(f"{C}/verify", {"pairs": pairs, "threshold": "t"}))
    assert body["threshold"] == made
    for number, pair in zip((1, 30), body["pairs"], strict=True):
        a, b = (np.array(VECTORS[n]) for n in (0, number))
        score = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert pair["score"] == pytest.approx(score, abs=1e-5)
        assert pair["distance"] == pytest.approx(2 - 2 * score, abs=1e-5)
        wanted = "same" if score >= made["accept"] else "unsure"
        assert pair["decision"] == ("different" if score < made["reject"] else wanted)
        assert 0 <= pair["confidence"] <= 1
    assert body["pairs"][0]["far"] <= body["pairs"][1]["far"]
    assert faces.delete(f"{C}/thresholds/t").status_code == 204
    refused(faces.get(f"{C}/thresholds/t"), 404, "artefact-not-found")


def test_a_threshold_of_given_pairs(faces: InProcess) -> None:
    pairs = [
        {"a": {"id": a}, "b": {"id": b}, "same": bool(SEEN[a] == SEEN[b])}
        for a in range(0, 84, 3) for b in range(a + 1, 84, 5)
    ]  # fmt: skip
    made = ok(faces.put(f"{C}/thresholds/t", {"pairs": pairs, "target_far": 0.05}))
    assert made["measured"] == "calibration"
    assert made["far"] == made["chosen"]["far"]
    assert made["far"]["of"] == sum(not pair["same"] for pair in pairs)
    refused(
        faces.put(f"{C}/thresholds/t", {"pairs": pairs, "target_far": 1e-6}),
        422, "invalid-query", "/pairs",
    )  # fmt: skip
    refused(faces.put(f"{C}/thresholds/t", {"pairs": pairs[:1]}), 422, "invalid-query", "/pairs")


def test_a_claim_is_held_against_who_is_enrolled(faces: InProcess) -> None:
    asked = {
        "pairs": [{"a": {"id": 0}, "claim": "p0"}, {"a": {"id": 0}, "claim": "p5"},
                  {"a": {"id": 0}, "claim": "nobody"}],
        "label": "person", "filter": {"enrolled": True},
        "threshold": {"accept": 0.4, "reject": 0.2},
    }  # fmt: skip
    mine, other, nobody = ok(faces.post(f"{C}/verify", asked))["pairs"]
    assert mine["enrolled"] == 3  # four less itself
    assert other["enrolled"] == 4
    rows = np.array(VECTORS) / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    assert mine["score"] == pytest.approx((rows[1:4] @ rows[0]).max(), abs=1e-5)
    assert mine["decision"] == "same"
    assert nobody == {
        "score": None, "distance": None, "decision": "unsure", "enrolled": 0,
    }  # fmt: skip
    mean = ok(faces.post(f"{C}/verify", {**asked, "best_of": "mean"}))["pairs"][0]
    middle = rows[1:4].mean(0)
    assert mean["score"] == pytest.approx(rows[0] @ middle / np.linalg.norm(middle), abs=1e-5)
    scores = ok(faces.post(f"{C}/verify", {"a": {"id": 0}, "b": {"id": 1}}))
    assert scores["pairs"][0]["decision"] is None
    assert scores["threshold"] is None


def test_a_kept_threshold_is_a_bar_for_strangers(faces: InProcess) -> None:
    made = ok(faces.put(f"{C}/thresholds/t", {"label": "person", "target_far": 0.002}))
    stranger = DIRECTIONS[PEOPLE].tolist()
    asked = {
        "inputs": [{"vector": VECTORS[1]}, {"vector": stranger}], "label": "person",
        "reject": {"threshold": "t"},
    }  # fmt: skip
    known, unknown = ok(faces.post(f"{C}/classify", asked))["results"]
    assert known["label"] == "p0"
    assert unknown["abstained"] == "min_score"
    assert unknown["nearest"] < made["accept"]


def test_a_classifier_is_fitted_kept_used_and_taught(faces: InProcess) -> None:
    heads = [
        {"name": "near", "method": "knn", "k": 3},
        {"name": "means", "method": "prototypes"},
    ]
    fit = {"sample": 84, "keep_means": True}
    made = ok(faces.put(f"{C}/classifiers/k", {"label": "person", "heads": heads, "fit": fit}))
    assert made["report"]["points"] == 84
    assert made["report"]["as_fitted"]["accuracy"] >= made["report"]["as_given"]["accuracy"]
    assert made["fitted"]["means"]["means"]["counts"] == [6] * PEOPLE
    assert ok(faces.get(f"{C}/classifiers/k")) == made
    new = {"vector": (-np.array(VECTORS[0])).tolist()}
    before = ok(faces.post(f"{C}/classify", {"inputs": [new], "classifier": "k"}))["results"][0]
    assert before["label"] != "anti"
    taught = ok(
        faces.post(
            f"{C}/classifiers/k/learn",
            {"examples": [{**new, "label": "anti"}] * 3, "momentum": 0.5},
        )
    )
    assert taught["fitted"]["means"]["means"]["labels"][0] == "anti"
    assert taught["fitted"]["means"]["means"]["counts"][0] == 3
    asked = {"inputs": [new], "classifier": "k", "top": 99}
    after = ok(faces.post(f"{C}/classify", asked))["results"][0]
    assert after["scores"][0]["heads"].keys() == {"near", "means"}
    chance = {one["label"]: one["heads"]["means"] for one in after["scores"]}
    assert max(chance, key=chance.__getitem__) == "anti"
    assert faces.delete(f"{C}/classifiers/k").status_code == 204
    asked = {"inputs": [new], "classifier": "k"}
    refused(faces.post(f"{C}/classify", asked), 404, "artefact-not-found", "/classifier")


def test_what_was_fitted_is_refused_when_the_vectors_are_others(faces: InProcess) -> None:
    ok(faces.put(f"{C}/thresholds/t", {"label": "person", "target_far": 0.05}))
    ok(faces.put(f"{C}/classifiers/k", {"label": "person"}))
    backend = faces.app.state.service._backend
    for kind, key in (("threshold", "t"), ("classifier", "k")):
        kept = orjson.loads(backend.kept("c", kind, key).body)
        space = kept["space"] if kind == "threshold" else kept["spaces"]["knn"]
        space["encoder"], space["space"] = "tiny", "tiny@1"
        backend.keep("c", kind, key, orjson.dumps(kept))
    pair = {"a": {"id": 0}, "b": {"id": 1}, "threshold": "t"}
    refused(faces.post(f"{C}/verify", pair), 409, "kept-outdated")
    asked = {"inputs": [{"id": 0}], "classifier": "k"}
    refused(faces.post(f"{C}/classify", asked), 409, "kept-outdated")
    for kind, key in (("threshold", "t"), ("classifier", "k")):
        backend.keep("c", kind, key, b'{"space": 3}')
    refused(faces.post(f"{C}/verify", pair), 409, "kept-outdated")
    refused(faces.post(f"{C}/classify", asked), 409, "kept-outdated")
    refused(faces.get(f"{C}/classifiers/k"), 409, "kept-outdated")


BAD = [
    ("classify", {"inputs": [{"id": 999}], "label": "person"}, "point-not-found", "/inputs/0/id"),
    ("classify", {"inputs": [{"vector": [1]}], "label": "person"}, "dimension-mismatch",
     "/inputs/0/vector"),
    ("classify", {"inputs": [{"text": "a"}], "label": "person"}, "invalid-text", "/inputs/0/text"),
    ("classify", {"inputs": [{"id": 1}], "label": "person", "using": "x"}, "unknown-vector",
     "/using"),
    ("classify", {"inputs": [{"id": 1}], "label": "person", "filter": {"$x": 1}}, "invalid-filter",
     "/filter/$x"),
    ("classify", {"inputs": [{"id": 1}], "classifier": "k", "k": 3}, "invalid-query", "/k"),
    ("classify", {"inputs": [{"id": 1}], "classifier": "../k"}, "invalid-name", "/classifier"),
    ("classify", {"inputs": [{"id": 1}], "label": "person", "reject": {"threshold": "t"}},
     "artefact-not-found", "/reject/threshold"),
    ("verify", {"a": {"id": 1}}, "invalid-query", ""),
    ("verify", {"a": {"id": 1}, "b": {"id": 2}, "claim": "p"}, "invalid-query", ""),
    ("verify", {"a": {"id": 1}, "claim": "p"}, "invalid-query", ""),
    ("verify", {"a": {"id": 1}, "b": {"id": 999}}, "point-not-found", "/b/id"),
    ("verify", {"a": {"id": 1}, "b": {"id": 2}, "threshold": {"accept": 0, "reject": 1}},
     "invalid-query", "/threshold/reject"),
    ("verify", {"pairs": []}, "invalid-query", "/pairs"),
    ("verify", {"pairs": [{"a": {"id": 1}, "b": {}}]}, "invalid-query", "/pairs/0/b"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "code", "pointer"), BAD, ids=str)
def test_a_mistake_is_named_by_its_place(
    faces: InProcess, path: str, body: Any, code: str, pointer: str | None
) -> None:
    answer = faces.post(f"{C}/{path}", body)
    refused(answer, 404 if code.endswith("not-found") else 422, code, pointer)


PUTS = [
    ("thresholds/t", {}, "invalid-query", ""),
    ("thresholds/t", {"label": "person", "target_far": 0}, "invalid-query", "/target_far"),
    ("thresholds/t", {"label": "person", "sample": 5000}, "limit-exceeded", "/sample"),
    ("thresholds/t", {"label": "nobody"}, "invalid-query", "/label"),
    ("thresholds/-", {"label": "person"}, "invalid-name", None),
    ("classifiers/k", {"label": "person", "fit": {"what": ["magic"]}}, "invalid-query",
     "/fit/what"),
    ("classifiers/k", {"label": "person", "fit": {"filter": {"person": "p0"}}}, "invalid-query",
     "/fit"),
    ("classifiers/k", {"method": "zero_shot", "labels": ["a"], "fit": {}}, "invalid-query", "/fit"),
    ("classifiers/k", {"method": "zero_shot", "labels": ["a"], "label": "person", "fit": {}},
     "invalid-text", "/labels/0"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "code", "pointer"), PUTS, ids=str)
def test_nothing_is_kept_of_what_is_refused(
    faces: InProcess, path: str, body: Any, code: str, pointer: str | None
) -> None:
    refused(faces.put(f"{C}/{path}", body), 422, code, pointer)
    assert ok(faces.get(f"{C}/thresholds")) == {"thresholds": []}
    assert ok(faces.get(f"{C}/classifiers")) == {"classifiers": []}


def test_only_kept_means_are_taught(faces: InProcess) -> None:
    ok(faces.put(f"{C}/classifiers/k", {"label": "person"}))
    examples = {"examples": [{"id": 1, "label": "x"}]}
    refused(faces.post(f"{C}/classifiers/k/learn", examples), 422, "invalid-query", "")
    refused(
        faces.post(f"{C}/classifiers/k/learn", {"examples": [{"id": 1}]}),
        422, "invalid-query", "/examples/0",
    )  # fmt: skip
