"""Recognition, verification, similarity and galleries over HTTP: the worse way loses in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.evaluation.recognition import gap

from .harness import InProcess

EVALUATE = "/v1/collections/c/evaluate"
PEOPLE, EACH, DIMENSION = 12, 8, 16
STRANGERS = [f"p{n}" for n in range(8, PEOPLE)]


@pytest.fixture(scope="module")
def people() -> dict[str, Any]:
    """Points of some people: "good" holds them apart, "bad" hardly."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(PEOPLE), EACH)
    centres = rng.normal(size=(PEOPLE, DIMENSION))
    return {
        "who": who,
        "good": (centres[who] + rng.normal(size=(who.size, DIMENSION)) * 0.7).round(5),
        "bad": (centres[who] + rng.normal(size=(who.size, DIMENSION)) * 2.0).round(5),
    }


@pytest.fixture
def faces(api: InProcess, people: dict[str, Any]) -> InProcess:
    api.put(
        "/v1/collections/c",
        {"vectors": {name: {"dimension": DIMENSION} for name in ("good", "bad")}},
    )
    points = [
        {
            "id": n,
            "vectors": {name: people[name][n].tolist() for name in ("good", "bad")},
            "attributes": {"who": f"p{who}"},
        }
        for n, who in enumerate(people["who"])
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def evaluated(api: InProcess, **body: Any) -> Any:
    answer = api.post(EVALUATE, {"resamples": 200, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def cosines(vectors: Any) -> Any:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def both(**more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "query": {"using": name, **more}} for name in ("bad", "good")]


def value(way: Any, measure: str) -> Any:
    return way["measures"][measure]["value"]


# ── recognition ──────────────────────────────────────────────────────────────────────────────


def test_people_are_recognised_better_by_the_better_vector(faces: InProcess) -> None:
    sample = {"points": 80, "label": "who", "using": "good"}
    body = evaluated(
        faces, task="recognition", sample=sample, configurations=both(k=5), per_query=True
    )
    bad, good = body["configurations"]
    for measure in ("gap", "accuracy", "macro f1"):
        assert value(good, measure) > value(bad, measure) + 0.15
        assert good["measures"][measure]["low"] <= value(good, measure)
    found = {one["measure"]: one for one in body["comparisons"]}
    assert found["gap"]["low"] > 0
    assert found["accuracy"]["p"] < 0.05
    assert found["accuracy"]["wins"] > found["accuracy"]["losses"]
    assert len(good["per_query"]["queries"]) == 80
    (decade,) = good["decades"]  # every label is that of 7 others of 96
    assert (decade["low"], decade["high"], decade["queries"]) == (0.01, 0.1, 80)


def test_a_confidence_that_compares_between_things_keeps_strangers_out(
    faces: InProcess, people: dict[str, Any]
) -> None:
    """One neighbour's share of its own vote is always 1: of no use against strangers."""
    sample = {
        "points": 96,
        "label": "who",
        "using": "good",
        "unknown": {"who": {"$in": STRANGERS}},
    }
    ways = [
        {"name": sure, "query": {"using": "good", "k": 1, "exact": True, "confidence": sure}}
        for sure in ("probability", "score", "nearest")
    ]
    body = evaluated(faces, task="recognition", sample=sample, configurations=ways, per_query=True)
    by_share, by_score, by_nearest = body["configurations"]
    assert value(by_share, "accuracy") == value(by_score, "accuracy")
    assert value(by_score, "gap") > value(by_share, "gap") + 0.1
    apart = next(one for one in body["comparisons"] if one["measure"] == "gap")
    assert (apart["of"], apart["low"] > 0) == ("score", True)
    # oracle: the nearest other point that is no stranger's
    asked = [int(name) for name in by_score["per_query"]["queries"]]
    strange = np.array([f"p{who}" in STRANGERS for who in people["who"]])
    near = cosines(people["good"])
    np.fill_diagonal(near, -9)
    near[:, strange] = -9
    first = near.argmax(axis=1)
    correct = (people["who"][first] == people["who"]) & ~strange
    expected = gap(near.max(axis=1)[asked], correct[asked], int((~strange[asked]).sum()))
    assert value(by_nearest, "gap") == pytest.approx(expected, abs=1e-6)
    assert by_score["facts"]["strangers"] == 4 * EACH
    assert value(by_score, "accuracy") == pytest.approx(correct[asked].sum() / (8 * EACH))


def test_who_abstains_refuses_strangers_and_pays_in_answers(faces: InProcess) -> None:
    sample = {"points": 64, "label": "who", "using": "good", "unknown": {"who": STRANGERS[0]}}
    ways = [
        {"name": "all", "query": {"using": "good", "k": 3}},
        {"name": "sure", "query": {"using": "good", "k": 3, "reject": {"min_score": 0.8}}},
        {"name": "means", "query": {"using": "good", "method": "prototypes"}},
    ]
    body = evaluated(faces, task="recognition", sample=sample, configurations=ways)
    answers_all, sure, means = body["configurations"]
    assert value(answers_all, "strangers refused") == 0
    assert value(answers_all, "answered") == 1
    assert value(sure, "strangers refused") > 0.5
    assert value(sure, "answered") < 1
    assert value(means, "accuracy") > 0.9
    (curve,) = answers_all["curves"]
    assert (curve["name"], curve["x"][-1]) == ("rejection", 1)
    # what is said no longer than a score allows: the curve of who abstains ends earlier
    assert sure["curves"][0]["x"][-1] == pytest.approx(1 - value(sure, "strangers refused"))


def test_things_that_are_given_say_their_label_or_are_strangers(
    faces: InProcess, people: dict[str, Any]
) -> None:
    asked = [
        {"name": "a", "vector": people["good"][0].tolist(), "label": "p0"},
        {"name": "b", "query": {"sum": [{"id": 8}, {"id": 9}]}, "label": "p1"},
        {"name": "c", "id": 17, "label": "p3"},
        {"name": "d", "vector": people["good"][90].tolist()},
    ]
    way = {"using": "good", "label": "who", "k": 3, "filter": {"who": {"$ne": "p11"}}}
    body = evaluated(
        faces,
        task="recognition",
        queries=asked,
        configurations=[{"query": way}],
        per_query=True,
    )
    (found,) = body["configurations"]
    assert found["per_query"]["values"]["accuracy"] == [1, 1, 0, None]
    assert found["decades"] == []
    assert "3 things to recognise, 1 strangers" in body["data"]


def test_kept_classifiers_are_judged_unless_they_know_what_is_asked(faces: InProcess) -> None:
    sample = {"points": 20, "label": "who", "using": "good"}
    made = {"using": "good", "label": "who", "method": "prototypes"}
    for name, fit in (("plain", {"sample": 90}), ("knows", {"keep_means": True})):
        path = f"/v1/collections/c/classifiers/{name}"
        assert faces.put(path, {**made, "fit": fit}).status_code == 200
    way = [{"query": {"classifier": "plain"}}]
    body = evaluated(faces, task="recognition", sample=sample, configurations=way)
    assert value(body["configurations"][0], "accuracy") > 0.9
    refused = faces.post(
        EVALUATE,
        {
            "task": "recognition",
            "sample": sample,
            "configurations": [{"query": {"classifier": "knows"}}],
        },
    )
    assert refused.status_code == 422
    assert refused.json()["pointer"] == "/configurations/0/query/classifier"


# ── verification ─────────────────────────────────────────────────────────────────────────────


def test_pairs_of_points_are_told_apart_better_by_the_better_vector(
    faces: InProcess, people: dict[str, Any]
) -> None:
    body = evaluated(
        faces,
        task="verification",
        sample={"points": 96, "label": "who"},
        configurations=both(),
        rates=[0.1, 0.01],
    )
    bad, good = body["configurations"]
    a, b = np.triu_indices(people["who"].size, 1)
    same = people["who"][a] == people["who"][b]
    for way, name in ((bad, "bad"), (good, "good")):
        flat = cosines(people[name])[a, b]
        above = flat[same][:, None] > flat[~same][None, :]
        assert value(way, "roc auc") == pytest.approx(above.mean(), abs=1e-4)
        bar = np.sort(flat[~same])[::-1][int(0.01 * (~same).sum())]
        assert value(way, "tar@far=0.01") == pytest.approx((flat[same] > bar).mean(), abs=2e-3)
        assert way["measures"]["roc auc"]["queries"] == same.size
        assert way["measures"]["roc auc"]["low"] < value(way, "roc auc")
    for one in body["comparisons"]:
        assert (one["low"] > 0) == (one["measure"] != "eer")
    assert value(good, "eer") < value(bad, "eer")
    assert body["notes"] == ["pairs of sampled points; intervals are over their 12 labels"]


def test_pairs_that_are_given_are_told_one_by_one(faces: InProcess, people: dict[str, Any]) -> None:
    pairs: list[dict[str, Any]] = [
        {"a": {"id": n}, "b": {"vector": people["good"][n + 1].tolist()}, "same": True}
        for n in range(0, 96, EACH)
    ]
    pairs += [{"a": {"id": n}, "b": {"id": n + EACH}, "same": False} for n in range(80)]
    one = {"vector": people["good"][50].tolist()}
    drowned = {"sum": ["$b", {"of": one, "weight": 20}]}
    body = evaluated(
        faces,
        task="verification",
        pairs=pairs,
        configurations=[*both(), {"name": "drowned", "query": {"using": "good", "b": drowned}}],
        per_query=True,
    )
    bad, good, lost = body["configurations"]
    assert value(good, "roc auc") > value(bad, "roc auc")
    assert value(lost, "roc auc") < value(good, "roc auc") - 0.2
    assert len(good["per_query"]["values"]["right at eer"]) == len(pairs)
    assert good["facts"]["10-fold accuracy"] > bad["facts"]["10-fold accuracy"]
    assert "tar@far=0.1" in good["measures"]
    assert "tar@far=0.01" not in good["measures"]  # 80 pairs cannot tell it


# ── similarity ───────────────────────────────────────────────────────────────────────────────


def test_scores_follow_people_by_the_better_vector_and_the_better_composition(
    faces: InProcess, people: dict[str, Any]
) -> None:
    """People compared what is left once something that all have in common is taken away."""
    rng = np.random.default_rng(5)
    common = people["good"].mean(axis=0) + 3
    chosen = rng.integers(96, size=(60, 2))
    unit = cosines(people["good"])
    pairs = [
        {
            "a": {"vector": (people["good"][a] + common * strength).tolist()},
            "b": {"id": int(b)},
            "score": float(unit[a, b]),
        }
        for (a, b), strength in zip(chosen.tolist(), rng.uniform(0.2, 2, size=60), strict=True)
    ]
    removed = {"reject": ["$a", {"vector": common.tolist()}]}
    ways = [
        {"name": "as it is", "query": {"using": "good"}},
        {"name": "without", "query": {"using": "good", "a": removed}},
        {"name": "bad", "query": {"using": "bad"}},
    ]
    body = evaluated(faces, task="similarity", pairs=pairs, configurations=ways, per_query=True)
    plain, without, bad = body["configurations"]
    assert value(without, "spearman") > value(plain, "spearman") + 0.05
    assert value(plain, "spearman") > value(bad, "spearman")
    assert list(plain["measures"]) == ["spearman", "pearson", "rank agreement"]
    exact = [
        {"a": {"id": a}, "b": {"id": b}, "score": float(unit[a, b])} for a, b in chosen.tolist()
    ]
    (way,) = evaluated(
        faces, task="similarity", pairs=exact, configurations=[{"query": {"using": "good"}}]
    )["configurations"]
    assert value(way, "spearman") > 0.999


# ── galleries ────────────────────────────────────────────────────────────────────────────────


def test_galleries_need_both_the_reference_and_the_condition(api: InProcess) -> None:
    """Things have a kind and a colour; wanted is the reference's kind in the condition's colour."""
    rng = np.random.default_rng(4)
    kinds, colours = rng.normal(size=(6, DIMENSION)), rng.normal(size=(6, DIMENSION))
    api.put("/v1/collections/c", {"dimension": DIMENSION})
    points = [
        {
            "id": f"{kind}-{colour}",
            "vector": (kinds[kind] + colours[colour] + rng.normal(size=DIMENSION) * 0.2).tolist(),
            "attributes": {"colour": colour},
        }
        for kind in range(6)
        for colour in range(6)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    queries = []
    for kind in range(6):
        for colour in range(6):
            other = (colour + 1) % 6
            gallery = {f"{kind}-{c}" for c in range(6) if c != other}
            gallery |= {f"{k}-{colour}" for k in range(6)}
            queries.append(
                {
                    "reference": {"id": f"{kind}-{other}"},
                    "condition": {"vector": colours[colour].tolist()},
                    "gallery": sorted(gallery),
                    "relevant": [f"{kind}-{colour}"],
                }
            )
    faint = {"sum": ["$reference", {"of": "$condition", "weight": 0.05}]}
    ways = [
        {"name": "faint", "query": {"query": faint}},
        {"name": "filtered", "query": {"query": "$reference", "filter": {"colour": {"$lt": 3}}}},
    ]
    body = evaluated(api, task="conditional", queries=queries, configurations=ways)
    found = {way["name"]: value(way, "recall@1") for way in body["configurations"]}
    assert list(found) == ["sum", "reference only", "condition only", "faint", "filtered"]
    assert found["sum"] > 0.8
    for name in ("reference only", "condition only", "faint", "filtered"):
        assert found[name] < found["sum"] - 0.2, name
    assert all(one["high"] < 0 for one in body["comparisons"] if one["measure"] == "recall@1")
    only = evaluated(api, task="conditional", queries=queries[:3], measures=["recall@2", "mrr@5"])
    assert len(only["configurations"]) == 3
    assert "36 galleries of 10.0 points" in body["data"]


# ── faults ───────────────────────────────────────────────────────────────────────────────────

PAIR = {"a": {"id": 1}, "b": {"id": 2}}
SAME = [{**PAIR, "same": True}, {**PAIR, "same": False}]
SCORED = [{**PAIR, "score": 1}, {**PAIR, "score": 2}]
LABEL = {"label": "who", "using": "good"}
USING = [{"query": {"using": "good"}}]
GALLERY = {"reference": {"id": 1}, "condition": {"id": 2}, "gallery": [3], "relevant": [3]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"task": "verification"}, ""),
        ({"task": "verification", "pairs": SAME, "sample": LABEL}, ""),
        ({"task": "verification", "pairs": []}, "/pairs"),
        ({"task": "verification", "pairs": SAME[:1]}, "/pairs"),
        ({"task": "verification", "pairs": [PAIR]}, "/pairs/0/same"),
        ({"task": "verification", "pairs": SCORED}, "/pairs/0/same"),
        ({"task": "verification", "pairs": SAME, "rates": [0.1]}, "/rates/0"),
        ({"task": "verification", "pairs": SAME, "rates": []}, "/rates"),
        ({"task": "verification", "pairs": SAME, "rates": [0]}, "/rates/0"),
        ({"task": "verification", "pairs": SAME, "measures": ["ndcg@1"]}, "/measures"),
        ({"task": "verification", "pairs": SAME, "queries": []}, "/queries"),
        ({"task": "verification", "sample": {}}, "/sample/label"),
        ({"task": "verification", "sample": {**LABEL, "points": 1001}}, "/sample/points"),
        ({"task": "verification", "sample": {**LABEL, "filter": {"who": "p1"}}}, "/sample"),
        ({"task": "verification", "sample": {**LABEL, "match": "who"}}, "/sample/match"),
        ({"task": "verification", "sample": LABEL,
          "configurations": [{"query": {"using": "good", "a": "$b"}}]},
         "/configurations/0/query/a"),
        ({"task": "verification", "pairs": SAME, "configurations": [{"query": {"k": 1}}]},
         "/configurations/0/query/k"),
        ({"task": "verification", "pairs": SAME, "configurations": [{"query": {"using": "x"}}]},
         "/configurations/0/query/using"),
        ({"task": "verification", "pairs": SAME,
          "configurations": [{"query": {"using": "good", "a": {"sum": ["$a", "$c"]}}}]},
         "/configurations/0/query/a/sum/1"),
        ({"task": "verification", "pairs": SAME,
          "configurations": [{"query": {"using": "good", "a": {"sum": ["$a", {"x": 1}]}}}]},
         "/configurations/0/query/a/sum/1"),
        ({"task": "verification", "pairs": [SAME[0], {**SAME[1], "a": {"id": 999}}]},
         "/pairs/1/a/id"),
        ({"task": "verification", "pairs": [SAME[0], {**SAME[1], "a": {"vector": [1]}}],
          "configurations": [{"query": {"using": "good", "b": {"sum": ["$b", "$a"]}}}]},
         "/pairs/1/a/vector"),
        ({"task": "verification", "pairs": [{**SAME[0], "name": "2"}, SAME[1]]},
         "/pairs/1/name"),
        ({"task": "similarity", "pairs": SAME}, "/pairs/0/score"),
        ({"task": "similarity", "pairs": [{**SCORED[0], "same": True}]}, "/pairs/0/same"),
        ({"task": "similarity", "pairs": SCORED, "rates": [0.1]}, "/rates"),
        ({"task": "similarity", "sample": LABEL}, "/sample"),
        ({"task": "recognition"}, ""),
        ({"task": "recognition", "pairs": SAME}, "/pairs"),
        ({"task": "recognition", "sample": {"using": "good"}}, "/sample/label"),
        ({"task": "recognition", "sample": {**LABEL, "unknown": {"$x": 1}}},
         "/sample/unknown/$x"),
        ({"task": "recognition", "sample": {**LABEL, "unknown": {"who": {"$ne": "p1"}},
                                            "filter": {"who": {"$ne": "p1"}}}}, "/sample"),
        ({"task": "recognition", "queries": [{"id": 1}]}, "/queries"),
        ({"task": "recognition", "queries": [{"id": 1, "label": "p0", "filter": {"a": 1}}]},
         "/queries/0/filter"),
        ({"task": "recognition", "queries": [{"id": 1, "label": "p0", "relevant": []}]},
         "/queries/0/relevant"),
        ({"task": "recognition", "queries": [{"id": 999, "label": "p0"}],
          "configurations": [{"query": {"using": "good", "label": "who"}}]}, "/queries/0/id"),
        ({"task": "recognition", "queries": [{"query": {"id": 999}, "label": "p0"}],
          "configurations": [{"query": {"using": "good", "label": "who"}}]},
         "/queries/0/query/id"),
        ({"task": "recognition", "queries": [{"id": 1, "label": "p0"}]},
         "/configurations/0/query"),
        ({"task": "recognition", "sample": LABEL, "configurations": [{"query": {"top": 3}}]},
         "/configurations/0/query/top"),
        ({"task": "recognition", "sample": LABEL,
          "configurations": [{"query": {"using": "good", "confidence": "luck"}}]},
         "/configurations/0/query/confidence"),
        ({"task": "recognition", "sample": LABEL,
          "configurations": [*USING, {"query": {"using": "good", "k": 0}}]},
         "/configurations/1/query/k"),
        ({"task": "conditional", "sample": LABEL}, "/sample"),
        ({"task": "conditional", "queries": [{"id": 1, "relevant": [1]}]},
         "/queries/0/reference"),
        ({"task": "conditional", "queries": [{**GALLERY, "id": 1}]}, "/queries/0/id"),
        ({"task": "conditional", "queries": [{**GALLERY, "gallery": []}]},
         "/queries/0/gallery"),
        ({"task": "conditional", "queries": [{**GALLERY, "gallery": [-1]}]},
         "/queries/0/gallery/0"),
        ({"task": "conditional", "queries": [GALLERY], "configurations": USING},
         "/configurations/0/query"),
        ({"task": "conditional", "queries": [GALLERY],
          "configurations": [{"name": "sum", "query": {"query": "$condition"}}]},
         "/configurations/0/name"),
        ({"task": "conditional", "queries": [{**GALLERY, "condition": {"vector": [1]}}]},
         "/queries/0"),
        ({"task": "retrieval", "queries": [GALLERY], "configurations": USING},
         "/queries/0/reference"),
        ({"task": "retrieval", "queries": [{"id": 1, "relevant": []}], "pairs": SAME}, "/pairs"),
        ({"task": "retrieval", "queries": [{"id": 1, "relevant": []}], "rates": [0.1]}, "/rates"),
    ],
)  # fmt: skip
def test_faults_are_blamed_on_their_place(
    faces: InProcess, body: dict[str, Any], pointer: str
) -> None:
    ways = {} if body["task"] == "conditional" else {"configurations": USING}
    answer = faces.post(EVALUATE, {**ways, **body})
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["pointer"] == pointer, answer.text


def test_pairs_are_bounded(faces: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.evaluation_pairs.MOST_LABELLED_PAIRS", 1)
    answer = faces.post(EVALUATE, {"task": "verification", "pairs": SAME, "configurations": USING})
    assert (answer.json()["pointer"], answer.json()["context"]["limit"]) == ("/pairs", 1)
    # of too many pairs of points the rarer kind is kept first
    monkeypatch.setattr("app.service.evaluation_pairs.MOST_DRAWN_PAIRS", 1000)
    body = evaluated(
        faces, task="verification", sample={"points": 96, "label": "who"}, configurations=USING
    )
    assert "336 equal pairs, 664 different ones" in body["data"]
