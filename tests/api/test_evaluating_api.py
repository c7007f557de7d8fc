"""Evaluations over HTTP: what they measure, compare and refuse, with places."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from app.evaluation.ranked import average_precision, gain, judged
from app.query import limits

from .harness import InProcess

EVALUATE = "/v1/collections/c/evaluate"
GROUPS, EACH = 6, 12


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    """Points of some kinds: "good" holds kinds apart, "bad" hardly, "other" another one."""
    rng = np.random.default_rng(8)
    kinds = np.repeat(np.arange(GROUPS), EACH)
    others = np.tile(np.arange(4), len(kinds) // 4)
    centres, other_centres = rng.normal(size=(GROUPS, 8)), rng.normal(size=(4, 8))
    return {
        "kinds": kinds,
        "others": others,
        "good": (centres[kinds] + rng.normal(size=(len(kinds), 8)) * 0.4).round(5),
        "bad": (centres[kinds] + rng.normal(size=(len(kinds), 8)) * 1.6).round(5),
        "other": (other_centres[others] + rng.normal(size=(len(kinds), 8)) * 0.4).round(5),
    }


@pytest.fixture
def kinds(api: InProcess, vectors: dict[str, Any]) -> InProcess:
    names = ("good", "bad", "other")
    api.put("/v1/collections/c", {"vectors": {name: {"dimension": 8} for name in names}})
    points = [
        {
            "id": n,
            "vectors": {name: vectors[name][n].tolist() for name in names},
            "attributes": {
                "kind": f"k{kind}",
                "other": int(vectors["others"][n]),
                "half": n % 2,
                **({"rare": True} if n < 3 else {}),
            },
        }
        for n, kind in enumerate(vectors["kinds"])
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def evaluated(api: InProcess, **body: Any) -> Any:
    answer = api.post(EVALUATE, {"resamples": 200, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def questions(vectors: dict[str, Any], count: int = 20) -> list[dict[str, Any]]:
    """Points that look for the others of their kind; of these the next two are better."""
    every = []
    for n in range(0, count * 3, 3):
        alike = np.flatnonzero(vectors["kinds"] == vectors["kinds"][n % len(vectors["kinds"])])
        relevant: list[Any] = [int(one) for one in alike if one != n]
        relevant[0] = {"id": relevant[0], "grade": 3}
        every.append({"id": n, "relevant": relevant})
    return every


def test_the_answers_that_queries_give_are_what_is_measured(
    kinds: InProcess, vectors: dict[str, Any]
) -> None:
    asked = questions(vectors)
    body = evaluated(
        kinds,
        queries=asked,
        configurations=[{"query": {"using": "bad"}}],
        measures=["ndcg@5", "map@12"],
        per_query=True,
    )
    (way,) = body["configurations"]
    expected: dict[str, list[float]] = {"ndcg@5": [], "map@12": []}
    for question in asked:
        query = {"id": question["id"], "using": "bad", "k": 12}
        found = kinds.post("/v1/collections/c/query", query).json()
        gains = {
            one["id"] if isinstance(one, dict) else one: 3 if isinstance(one, dict) else 1
            for one in question["relevant"]
        }
        ranking = judged([point["id"] for point in found["points"]], gains)
        expected["ndcg@5"].append(gain(ranking, 5))
        expected["map@12"].append(average_precision(ranking, 12))
    assert way["per_query"]["queries"] == [str(n + 1) for n in range(20)]
    for name, values in expected.items():
        assert way["per_query"]["values"][name] == pytest.approx(values)
        one = way["measures"][name]
        assert one["value"] == pytest.approx(np.mean(values))
        assert one["low"] < one["value"] < one["high"]
        assert one["queries"] == 20
    assert (body["points"], body["format"]) == (GROUPS * EACH, "likewise-evaluation-1")


def test_the_better_configuration_wins_and_its_difference_is_no_chance(
    kinds: InProcess, vectors: dict[str, Any]
) -> None:
    ways = [
        {"name": "bad", "query": {"using": "bad"}},
        {"name": "good", "query": {"using": "good"}},
        {"name": "bad again", "query": {"using": "bad"}},
    ]
    body = evaluated(kinds, queries=questions(vectors), configurations=ways, measures=["ndcg@10"])
    good, again = body["comparisons"]
    assert (good["of"], good["against"]) == ("good", "bad")
    assert good["difference"] > 0.2
    assert good["low"] > 0
    assert good["p"] < 0.05
    assert good["wins"] > good["losses"]
    assert (again["difference"], again["p"], again["ties"]) == (0, 1, 20)
    assert "per_query" not in body["configurations"][0]


def test_sampled_points_look_for_their_label(kinds: InProcess, vectors: dict[str, Any]) -> None:
    measures = ["recall@11", "precision@11", "accuracy@5"]
    ways = [{"name": name, "query": {"using": name}} for name in ("good", "bad")]
    body = evaluated(
        kinds,
        sample={"points": 40, "label": "kind", "using": "good"},
        configurations=ways,
        measures=measures,
        per_query=True,
    )
    good, bad = body["configurations"]
    for name in measures:
        assert good["measures"][name]["value"] > bad["measures"][name]["value"] + 0.15, name
    # oracle: cosines over all points, each without itself
    found = vectors["good"] / np.linalg.norm(vectors["good"], axis=1, keepdims=True)
    cosines = found @ found.T
    np.fill_diagonal(cosines, -9)
    first = np.argsort(-cosines, axis=1)[:, :11]
    alike = vectors["kinds"][first] == vectors["kinds"][:, None]
    for name, value in zip(
        good["per_query"]["queries"], good["per_query"]["values"]["recall@11"], strict=True
    ):
        assert value == pytest.approx(alike[int(name)].sum() / (EACH - 1))
    assert good["facts"]["hub skew"] < 3
    (decade,) = good["decades"]  # every kind has 11 others of 71
    assert (decade["low"], decade["high"], decade["queries"]) == (0.1, 1, 40)


def test_a_table_of_labels_and_vectors_shows_what_each_vector_is_about(kinds: InProcess) -> None:
    ways = [{"name": name, "query": {"using": name}} for name in ("good", "other")]
    body = evaluated(
        kinds,
        sample={"points": 72, "label": ["kind", "other"]},
        configurations=ways,
        measures=["map@10"],
    )
    (kk, ko), (ok, oo) = (
        (way["measures"]["map@10 kind"]["value"], way["measures"]["map@10 other"]["value"])
        for way in body["configurations"]
    )
    assert min(kk, oo) > max(ko, ok) + 0.4


def test_a_filter_of_a_sample_bounds_what_is_relevant(kinds: InProcess) -> None:
    sample = {"points": 30, "label": "kind", "filter": {"half": 1}, "using": "good"}
    body = evaluated(kinds, sample=sample, measures=["recall@5"], configurations=USING)
    assert body["configurations"][0]["measures"]["recall@5"]["value"] > 0.9  # 5 others, not 11


USING = [{"query": {"using": "good"}}]


def test_points_without_a_label_have_no_value(kinds: InProcess) -> None:
    sample = {"points": 50, "label": "rare"}
    body = evaluated(kinds, sample=sample, measures=["recall@5"], configurations=USING)
    assert body["configurations"][0]["measures"]["recall@5"]["queries"] <= 3


def test_approximate_answers_are_held_against_exact_ones(kinds: InProcess) -> None:
    body = evaluated(
        kinds,
        task="ann",
        sample={"points": 30, "match": "kind"},
        measures=["recall@1", "recall@10"],
        configurations=[{"query": {"using": "good", "params": {"ef": 16}}}],
    )
    (way,) = body["configurations"]
    assert way["measures"]["recall@10"]["value"] == 1  # so few points are compared one by one
    (decade,) = way["decades"]
    assert (decade["low"], decade["queries"]) == (0.1, 30)
    assert decade["values"]["recall@10"] == 1


def test_a_configuration_says_where_what_is_searched_for_goes(
    kinds: InProcess, vectors: dict[str, Any]
) -> None:
    asked = [
        {"vector": vectors["good"][n].tolist(), "relevant": [n], "filter": {"half": n % 2}}
        for n in range(6)
    ]
    ways = [
        {"name": "plain", "query": {"using": "good"}},
        {
            "name": "fused",
            "query": {
                "prefetch": [{"vector": "$vector", "using": "good"}],
                "fuse": "rrf",
                "filter": {"kind": "k0"},
            },
        },
    ]
    body = evaluated(kinds, queries=asked, configurations=ways, measures=["hit@1"])
    for way in body["configurations"]:
        assert way["measures"]["hit@1"]["value"] == 1
    decades = body["configurations"][0]["decades"]
    assert [(one["low"], one["high"]) for one in decades] == [(0.1, 1)]  # half of the points


ASKED = [{"id": 1, "relevant": [2]}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"queries": ASKED, "sample": {"label": "kind"}}, ""),
        ({"queries": []}, "/queries"),
        ({"queries": [{"id": 1}]}, "/queries/0/relevant"),
        ({"queries": [{"id": 1, "relevant": [2, -1]}]}, "/queries/0/relevant/1"),
        ({"queries": [{"id": 1, "relevant": [{"id": 2, "grade": -1}]}]},
         "/queries/0/relevant/0/grade"),
        ({"queries": [{"id": 1, "relevant": [{"grade": 1}]}]}, "/queries/0/relevant/0"),
        ({"queries": [*ASKED, {"name": "1", "id": 2, "relevant": []}]}, "/queries/1/name"),
        ({"queries": [{"vector": [1], "relevant": [1]}], "configurations": USING},
         "/queries/0/vector"),
        ({"queries": [{"id": 999, "relevant": [1]}], "configurations": USING}, "/queries/0/id"),
        ({"queries": ASKED, "configurations": [{"query": {"using": "none"}}]},
         "/configurations/0/query/using"),
        ({"queries": ASKED, "configurations": [*USING, {"query": {"unknown": 1}}]},
         "/configurations/1/query/unknown"),
        ({"queries": ASKED, "configurations": [{"query": {"k": 3}}]},
         "/configurations/0/query/k"),
        ({"queries": ASKED, "configurations": [{"query": {"prefetch": [{"text": "$text"}]}}]},
         "/configurations/0/query/prefetch/0/text"),
        ({"queries": ASKED, "configurations": [{"name": "a"}, {"name": "a"}]},
         "/configurations/1/name"),
        ({"queries": ASKED, "configurations": [{"query": {"using": "good", "filter": {"$x": 1}}}]},
         "/configurations/0/query/filter/$x"),
        ({"queries": [{**ASKED[0], "filter": {"$x": 1}}],
          "configurations": [{"query": {"using": "good", "filter": {"half": 1}}}]},
         "/queries/0/filter/$x"),
        ({"queries": ASKED, "measures": ["ndcg"]}, "/measures/0"),
        ({"queries": ASKED, "measures": ["accuracy@3"]}, "/measures/0"),
        ({"queries": ASKED, "measures": []}, "/measures"),
        ({"queries": ASKED, "measures": ["recall@99999"]}, "/measures"),
        ({"queries": ASKED, "task": "ann", "measures": ["ndcg@3"]}, "/measures/0"),
        ({"sample": {}}, "/sample/label"),
        ({"sample": {"label": []}}, "/sample/label"),
        ({"sample": {"label": "kind", "match": "half"}}, "/sample/match"),
        ({"sample": {"label": "kind", "using": "none"}}, "/sample/using"),
        ({"sample": {"label": "kind", "filter": {"half": 7}}}, "/sample"),
        ({"sample": {"label": "kind", "filter": {"$x": 7}}}, "/sample/filter/$x"),
        ({"task": "ann", "sample": {"label": "kind"}}, "/sample/label"),
        ({"queries": ASKED, "resamples": 20_000}, "/resamples"),
        ({"sample": {"points": 1001, "label": "kind"}}, "/sample/points"),
    ],
)  # fmt: skip
def test_faults_are_blamed_on_their_place(
    kinds: InProcess, body: dict[str, Any], pointer: str
) -> None:
    answer = kinds.post(EVALUATE, {"configurations": USING, **body})
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["pointer"] == pointer, answer.text


def test_an_evaluation_is_bounded(kinds: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, at in (
        ("MOST_JUDGED", "/queries"),
        ("MOST_CONFIGURATIONS", "/configurations"),
        ("MOST_MEASURES", "/measures"),
        ("MOST_RELEVANT", "/queries/1/relevant"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"app.service.evaluation_request.{name}", 1)
            body = {
                "queries": [*ASKED, {**ASKED[0], "name": "b"}],
                "configurations": [{**USING[0], "name": "a"}, {**USING[0], "name": "b"}],
                "measures": ["hit@1", "hit@2"],
            }
            answer = kinds.post(EVALUATE, body)
            assert answer.json()["type"].endswith("limit-exceeded"), name
            assert answer.json()["pointer"] == at
    monkeypatch.setattr("app.service.evaluating.MOST_EVALUATED", 9)
    answer = kinds.post(EVALUATE, {"queries": ASKED, "configurations": USING})
    assert answer.json()["context"]["limit"] == 9
    assert limits.MOST_EVALUATED > 9


def test_others_are_answered_while_an_evaluation_runs(kinds: InProcess) -> None:
    done = []

    async def asked(what: str, path: str, body: Any) -> None:
        answer = await kinds.ask("POST", path, body)
        assert answer.status_code == 200, answer.text
        done.append(what)

    async def both() -> None:
        body = {"sample": {"points": 72, "label": "kind"}, "configurations": USING}
        query = {"id": 1, "using": "good", "rescore": {"using": "bad"}}
        await asyncio.gather(
            asked("evaluation", EVALUATE, body), asked("query", "/v1/collections/c/query", query)
        )

    kinds.run(both())
    assert done == ["query", "evaluation"]


def test_an_unknown_collection_is_not_found(api: InProcess) -> None:
    answer = api.post("/v1/collections/nobody/evaluate", {"queries": ASKED})
    assert answer.status_code == 404
