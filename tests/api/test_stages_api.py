"""Boost, diversity and weights of several vectors, over HTTP and on every backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"


def ids(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [point["id"] for point in answer.json()["points"]]


@pytest.fixture
def books(api: InProcess) -> InProcess:
    """Points 0 … 19 at (20 − n, 1): 0 is the best of [1, 0]. They differ in what else they say."""
    api.put("/v1/collections/c", {"dimension": 2, "metric": "ip"})
    points: list[dict[str, Any]] = [
        {
            "id": n,
            "vector": [20 - n, 1],
            "attributes": {
                "lang": ["en", "de"][n % 2],
                "cited": n,
                "day": f"2024-01-{n + 1:02}",
                "at": {"lat": 0, "lon": n},
                "price": [n, 100],
            }
            if n != 7
            else {},
        }
        for n in range(20)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def boosted(api: InProcess, boost: Any, **more: Any) -> dict[int, float]:
    body = {"vector": [1, 0], "k": 20, "boost": boost, **more}
    answer = api.post(QUERY, body)
    assert answer.status_code == 200, answer.text
    points = answer.json()["points"]
    scores = {point["id"]: point["score"] for point in points}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    return scores


def test_a_filter_raises_what_passes(books: InProcess) -> None:
    scores = boosted(books, [{"filter": {"lang": "de"}, "weight": 3}])
    assert scores == {n: (20 - n) * (3 if n % 2 and n != 7 else 1) for n in range(20)}


def test_time_numbers_and_places_decay(books: InProcess) -> None:
    day = {"exp": "day", "origin": "2024-01-11T00:00:00Z", "scale": "5d"}
    scores = boosted(books, [day])
    for n in range(20):
        factor = 1.0 if n == 7 else 0.5 ** (abs(n - 10) / 5)
        assert scores[n] == pytest.approx((20 - n) * factor)
    scores = boosted(books, [{"linear": "cited", "origin": 19, "scale": 10, "offset": 2}])
    for n in range(20):
        factor = 1.0 if n == 7 else max(0.0, 1 - max(0, 19 - n - 2) / 20)
        assert scores[n] == pytest.approx((20 - n) * factor)
    near = {"gauss": "at", "origin": {"lat": 0, "lon": 0}, "scale": 111_195}
    scores = boosted(books, [near])
    for n in (0, 1, 2, 3):
        assert scores[n] == pytest.approx((20 - n) * 0.5 ** (n**2), rel=1e-4)


def test_of_several_values_the_nearest_counts(books: InProcess) -> None:
    scores = boosted(books, [{"exp": "price", "origin": 100, "scale": 1}])
    assert scores[0] == pytest.approx(20)


def test_missing_values_take_no_part_or_count_as_is_said(books: InProcess) -> None:
    field = {"field": "cited", "modifier": "ln1p", "factor": 2}
    assert boosted(books, [field])[7] == 13
    assert boosted(books, [{**field, "missing": 7}])[7] == pytest.approx(13 * math.log(15))
    decay = {"exp": "cited", "origin": 0, "scale": 3}
    assert boosted(books, [{**decay, "missing": 0.25}])[7] == 13 / 4


def test_functions_are_mixed_bounded_and_explained(books: InProcess) -> None:
    functions = [{"field": "cited"}, {"filter": {"lang": "de"}, "weight": 2}]
    boost = {"functions": functions, "score_mode": "sum", "mode": "replace", "max_boost": 15}
    body = {"vector": [1, 0], "k": 20, "boost": boost, "explain": True}
    answer = books.post(QUERY, body).json()
    for point in answer["points"]:
        n, parts = point["id"], point["scores"]
        even, known = n % 2 == 0, n != 7
        expected = (n if known else 0) + (0 if even or not known else 2)
        assert point["score"] == min(15, expected if known else 1)
        assert parts["default"] == 20 - n
        assert ("boost 0" in parts, "boost 1" in parts) == (known, known and not even)
        assert parts["boost factor"] == point["score"]
    (stage,) = [one for one in answer["explain"]["stages"] if one["stage"] == "boost"]
    assert (stage["in"], stage["out"], stage["applied"]) == (20, 20, [19, 9])


def test_boosts_reach_deeper_than_the_page(books: InProcess) -> None:
    boost = [{"filter": {"cited": 19}, "weight": 1000}]
    assert ids(books.post(QUERY, {"vector": [1, 0], "k": 2, "boost": boost})) == [19, 0]
    few = {"functions": boost, "candidates": 5}
    assert ids(books.post(QUERY, {"vector": [1, 0], "k": 2, "boost": few})) == [0, 1]


def test_distances_are_divided_and_not_turned_around(api: InProcess) -> None:
    api.put("/v1/collections/c", {"dimension": 1, "metric": "l2"})
    points = [{"id": n, "vector": [n], "attributes": {"good": n == 3}} for n in range(5)]
    api.put("/v1/collections/c/points", {"points": points})
    body = {"vector": [0], "boost": [{"filter": {"good": True}, "weight": 2}]}
    answer = api.post(QUERY, body)
    assert ids(answer) == [0, 1, 3, 2, 4]  # half of 3 is nearer than 2
    zero = {"vector": [0], "boost": [{"filter": {"good": True}, "weight": 0}]}
    assert ids(api.post(QUERY, zero))[-1] == 3


def test_fused_scores_may_be_brought_to_one_range_before(books: InProcess) -> None:
    body = {
        "prefetch": [{"vector": [1, 0], "k": 3}, {"vector": [-1, 0], "k": 3}],
        "boost": {
            "functions": [{"field": "cited", "factor": 0.01}],
            "mode": "sum",
            "normalise": "minmax",
        },
    }
    points = books.post(QUERY, body).json()["points"]
    assert {p["id"] for p in points} == {0, 1, 2, 17, 18, 19}
    assert points[0]["id"] == 19
    assert points[0]["score"] == pytest.approx(1.19)


@pytest.mark.parametrize(
    ("boost", "pointer"),
    [
        ([], "/boost"),
        (3, "/boost"),
        ([{}], "/boost/0"),
        ([{"weight": 2}], "/boost/0"),
        ([{"exp": "a", "gauss": "a", "origin": 1, "scale": 1}], "/boost/0"),
        ([{"exp": "a", "scale": 1}], "/boost/0"),
        ([{"exp": "$a", "origin": 1, "scale": 1}], "/boost/0/exp"),
        ([{"exp": "a", "origin": 1, "scale": 0}], "/boost/0/scale"),
        ([{"exp": "a", "origin": 1, "scale": "1d"}], "/boost/0/scale"),
        ([{"exp": "a", "origin": "now", "scale": 7}], "/boost/0/scale"),
        ([{"exp": "a", "scale": "7 days"}], "/boost/0/scale"),
        ([{"exp": "a", "scale": "7d", "offset": 1}], "/boost/0/offset"),
        ([{"exp": "a", "scale": "7d", "origin": "today"}], "/boost/0/origin"),
        ([{"exp": "a", "scale": 7, "origin": {"lat": 91, "lon": 0}}], "/boost/0/origin/lat"),
        ([{"exp": "a", "scale": 7, "origin": True}], "/boost/0/origin"),
        ([{"exp": "a", "scale": 7, "origin": 1, "decay": 1}], "/boost/0/decay"),
        ([{"exp": "a", "scale": 7, "origin": 1, "missing": -1}], "/boost/0/missing"),
        ([{"field": "a", "modifier": "log3"}], "/boost/0/modifier"),
        ([{"field": "a", "scale": 3}], "/boost/0/scale"),
        ([{"filter": {"a": {"$no": 1}}}], "/boost/0/filter/a/$no"),
        ([{"filter": {}, "weight": -1}], "/boost/0/weight"),
        ({"functions": [{"filter": {}}], "mode": "divide"}, "/boost/mode"),
        ({"functions": [{"filter": {}}] * 17}, "/boost/functions"),
        ({"functions": [{"filter": {}}], "candidates": 0}, "/boost/candidates"),
    ],
)
def test_mistakes_in_a_boost_are_named(books: InProcess, boost: Any, pointer: str) -> None:
    answer = books.post(QUERY, {"vector": [1, 0], "boost": boost})
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text


# ── diversity ────────────────────────────────────────────────────────────────────────────────

TOPICS = 5


@pytest.fixture
def topics(api: InProcess) -> InProcess:
    """Fifty points about five topics; the ten most similar to [1, 0, …] are about the first."""
    api.put("/v1/collections/c", {"vectors": {"v": {"dimension": 8}, "l": {"dimension": 8,
            "metric": "l2"}, "few": {"dimension": 2}}})  # fmt: skip
    random = np.random.default_rng(3)
    points = []
    for n in range(50):
        topic = 0 if n < 10 else 1 + n % 4
        vector = 0.02 * random.normal(size=8)
        vector[0] += 1.0 - 0.01 * n
        vector[1 + topic] += 0.8
        points.append(
            {
                "id": n,
                "vectors": {"v": vector.tolist(), "l": vector.tolist()}
                | ({"few": [1, n]} if n % 2 else {}),
                "attributes": {"topic": topic, "tags": [topic, "all"]},
            }
        )
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


ASKED = {"vector": [1, 0.2, 0, 0, 0, 0, 0, 0], "using": "v", "k": 5}


def covered(answer: Any) -> int:
    return len({0 if id_ < 10 else 1 + id_ % 4 for id_ in ids(answer)})


@pytest.mark.parametrize("using", ["v", "l"])
@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_hits_are_about_different_things(topics: InProcess, method: str, using: str) -> None:
    asked = {**ASKED, "using": using}
    assert covered(topics.post(QUERY, asked)) == 1
    more = {"lambda": 0.3} if method == "mmr" else {}
    answer = topics.post(QUERY, {**asked, "diversity": {"method": method, **more}, "explain": True})
    assert covered(answer) == TOPICS
    told = answer.json()
    plain = ids(topics.post(QUERY, asked))
    assert told["points"][0]["id"] == plain[0]
    (stage,) = [one for one in told["explain"]["stages"] if one["stage"] == "diversity"]
    assert stage.items() >= {"method": method, "using": using, "in": 50, "chosen": 5}.items()
    assert all("diversity" in point["scores"] for point in told["points"])
    assert all(point["score"] == point["scores"][using] for point in told["points"])


def test_relevance_alone_is_the_plain_order(topics: InProcess) -> None:
    plain = ids(topics.post(QUERY, {**ASKED, "k": 50}))
    for diversity in (
        {"method": "mmr", "lambda": 1},
        {"method": "dpp", "strength": 0},
        {"method": "mmr", "lambda": 1, "normalise": "none"},
    ):
        assert ids(topics.post(QUERY, {**ASKED, "k": 50, "diversity": diversity})) == plain


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_pages_fit_together_past_the_candidates_too(topics: InProcess, method: str) -> None:
    body = {**ASKED, "diversity": {"method": method, "candidates": 20}}
    whole = ids(topics.post(QUERY, {**body, "k": 50}))
    assert sorted(whole) == list(range(50))
    paged = [ids(topics.post(QUERY, {**body, "k": 7, "offset": at})) for at in range(0, 50, 7)]
    assert [id_ for page in paged for id_ in page] == whole
    plain = ids(topics.post(QUERY, {**ASKED, "k": 50}))
    assert whole[20:] == plain[20:]


def test_a_value_comes_up_at_most_so_often(topics: InProcess) -> None:
    plain = ids(topics.post(QUERY, {**ASKED, "k": 50}))

    def topic(id_: int) -> int:
        return 0 if id_ < 10 else 1 + id_ % 4

    expected: list[int] = []
    for id_ in plain:
        if sum(topic(other) == topic(id_) for other in expected) < 2:
            expected.append(id_)
    body = {**ASKED, "k": 20, "diversity": {"by": "topic", "most": 2}}
    assert ids(topics.post(QUERY, body)) == expected
    both = {**ASKED, "k": 20, "diversity": {"method": "mmr", "by": "topic"}}
    assert covered(topics.post(QUERY, both)) == len(ids(topics.post(QUERY, both))) == TOPICS
    assert len(ids(topics.post(QUERY, {**ASKED, "diversity": {"by": "tags"}}))) == 1


def test_thresholds_groups_and_rescoring_go_with_it(topics: InProcess) -> None:
    scores = [p["score"] for p in topics.post(QUERY, {**ASKED, "k": 50}).json()["points"]]
    least = scores[12]
    body = {**ASKED, "k": 50, "score_threshold": least, "diversity": "mmr"}
    assert sorted(ids(topics.post(QUERY, body))) == sorted(
        ids(topics.post(QUERY, {**ASKED, "k": 13}))
    )
    grouped = {**ASKED, "diversity": "mmr", "group_by": {"field": "topic", "size": 2}}
    points = topics.post(QUERY, grouped).json()["points"]
    assert len(points) == 10
    assert [p["group"] for p in points] == sorted((p["group"] for p in points), key=lambda g: [
        p["group"] for p in points].index(g))  # fmt: skip
    fused = {
        "prefetch": [{**ASKED, "k": 50}, {**ASKED, "using": "l", "k": 50}],
        "rescore": {"vector": ASKED["vector"], "using": "v"},
        "k": 5,
        "diversity": {"method": "dpp", "using": "v"},
    }
    assert covered(topics.post(QUERY, fused)) == TOPICS


def test_every_stage_is_accounted_for(topics: InProcess) -> None:
    asked = {name: ASKED[name] for name in ("vector", "using")}
    body = {
        "prefetch": [
            {**asked, "k": 30},
            {"id": 3, "using": {"v": 1, "l": 0.5}, "k": 20},
            {"prefetch": [{**asked, "k": 5}]},
        ],
        "fuse": "rrf",
        "rescore": {**asked, "candidates": 40},
        "boost": {"functions": [{"filter": {"topic": 1}, "weight": 2}], "candidates": 25},
        "diversity": {"method": "dpp", "using": "v", "by": "topic", "most": 3},
        "score_threshold": 0.1,
        "k": 4,
        "offset": 2,
        "explain": True,
    }
    for last in ({}, {"group_by": "topic", "k": 2, "offset": 0}):
        explain = topics.post(QUERY, {**body, **last}).json()["explain"]
        stages = explain["stages"]
        for entry in stages:
            assert 0 <= entry["ms"] <= explain["total_ms"], entry
            assert min(entry["in"], entry["out"]) >= 0, entry
        names = [entry["stage"] for entry in stages if entry["stage"] != "search"]
        expected = ["recall", "recall", "recall", "weigh", "recall", "fuse", "fuse"]
        expected += ["rescore", "boost", "diversity"]
        assert names == expected + (["group"] if last else [])
        taken = {entry["stage"]: (entry["in"], entry["out"]) for entry in stages}
        assert taken["boost"] == (taken["rescore"][1], 25)
        assert taken["diversity"] == (25, explain["cut"]["in"])
        assert explain["cut"]["out"] == (6 if last else 4)
        assert explain["read_ms"] <= explain["total_ms"]


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"diversity": "mrr"}, "/diversity"),
        ({"diversity": {"method": "mrr"}}, "/diversity/method"),
        ({"diversity": {"lambda": 1.5}}, "/diversity/lambda"),
        ({"diversity": {"strength": 0.5}}, "/diversity/strength"),
        ({"diversity": {"method": "dpp", "lambda": 0.5}}, "/diversity/lambda"),
        ({"diversity": {"by": "topic", "lambda": 0.5}}, "/diversity/lambda"),
        ({"diversity": {"most": 2}}, "/diversity"),
        ({"diversity": {"by": "$x"}}, "/diversity/by"),
        ({"diversity": {"using": "no"}}, "/diversity/using"),
        ({"diversity": {"candidates": 1001}}, "/diversity/candidates"),
        ({"diversity": "mmr", "order_by": "topic"}, "/diversity"),
        ({"diversity": {"mode": 3}}, "/diversity/mode"),
    ],
)
def test_mistakes_in_diversity_are_named(
    topics: InProcess, more: dict[str, Any], pointer: str
) -> None:
    answer = topics.post(QUERY, {**ASKED, **more})
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text


@pytest.mark.parametrize("member", ["boost", "diversity"])
def test_there_must_be_something_to_work_on(topics: InProcess, member: str) -> None:
    for body in ({}, {"order_by": "topic"}):
        value = [{"filter": {}}] if member == "boost" else "mmr"
        answer = topics.post(QUERY, {member: value, **body})
        assert (answer.status_code, answer.json()["pointer"]) == (422, f"/{member}"), answer.text
    answer = topics.post(QUERY, {"normalise": "minmax"})
    assert (answer.status_code, answer.json()["pointer"]) == (422, ""), answer.text


# ── weights of several vectors ───────────────────────────────────────────────────────────────

FIELDS = {"title": 4, "body": 6}
RANDOM = np.random.default_rng(11)
POINTS = 60


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


PARTS = {
    name: _unit(RANDOM.normal(size=(POINTS, d))).astype(np.float32) for name, d in FIELDS.items()
}


@pytest.fixture
def twofold(api: InProcess) -> InProcess:
    """Sixty points with a title and a body; both at once, √w-scaled, in "stacked"."""
    spec: dict[str, Any] = {name: {"dimension": d} for name, d in FIELDS.items()}
    spec |= {"stacked": {"dimension": 10, "metric": "ip"}, "rare": {"dimension": 4}}
    api.put("/v1/collections/c", {"vectors": spec})
    roots = {"title": np.sqrt(0.7), "body": np.sqrt(0.3)}
    points = []
    for n in range(POINTS):
        own = {name: part[n].tolist() for name, part in PARTS.items()}
        own["stacked"] = np.concatenate([roots[f] * PARTS[f][n] for f in FIELDS]).tolist()
        if n % 3 == 0:
            own["rare"] = PARTS["title"][n].tolist()
        points.append({"id": n, "vectors": own})
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def test_a_weighted_sum_is_the_search_by_one_long_vector(twofold: InProcess) -> None:
    """A concatenation of unit vectors, scaled by √w, has the weighted sum of cosines."""
    body = {"id": 5, "using": {"title": 0.7, "body": 0.3}, "k": 59, "explain": True}
    answer = twofold.post(QUERY, body).json()
    stacked = twofold.post(QUERY, {"id": 5, "using": "stacked", "k": 59}).json()
    assert [p["id"] for p in answer["points"]] == [p["id"] for p in stacked["points"]]
    for one, other in zip(answer["points"], stacked["points"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        scores = one["scores"]
        assert scores["weighted"] == pytest.approx(
            0.7 * scores["title"] + 0.3 * scores["body"], abs=1e-9
        )
    names = [stage["stage"] for stage in answer["explain"]["stages"]]
    assert [name for name in names if name != "search"] == ["recall", "recall", "weigh"]


def test_sums_are_exact_for_what_only_one_recall_met(twofold: InProcess) -> None:
    sums = 0.7 * PARTS["title"] @ PARTS["title"][5] + 0.3 * PARTS["body"] @ PARTS["body"][5]
    sources = [{"id": 5, "using": {"title": 0.7, "body": 0.3}, "k": 4, "name": "both"}]
    answer = twofold.post(QUERY, {"prefetch": sources, "k": 4, "explain": True}).json()
    for point in answer["points"]:
        assert point["scores"]["both"] == pytest.approx(float(sums[point["id"]]), abs=1e-6)
    scored = {
        "prefetch": [{"id": 5, "using": "stacked", "k": 6}],
        "id": 5,
        "using": {"title": 0.7, "body": 0.3},
    }
    for point in twofold.post(QUERY, scored).json()["points"]:
        assert point["score"] == pytest.approx(float(sums[point["id"]]), abs=1e-6)


def test_what_lacks_a_vector_counts_as_the_least_there(twofold: InProcess) -> None:
    body = {"id": 6, "using": {"title": 1, "rare": 1}, "k": 59}
    points = {p["id"]: p["score"] for p in twofold.post(QUERY, body).json()["points"]}
    cosines = PARTS["title"] @ PARTS["title"][6]
    least = min(float(cosines[n]) for n in range(0, POINTS, 3) if n != 6)
    for n, score in points.items():
        rare = float(cosines[n]) if n % 3 == 0 else least
        assert score == pytest.approx(float(cosines[n]) + rare, abs=1e-6)


def test_a_slot_left_out_is_a_wildcard(api: InProcess) -> None:
    """(person, ?, horse): whatever happens between them; another question for each slot."""
    slots = ("subject", "predicate", "object")
    api.put("/v1/collections/c", {"vectors": {slot: {"dimension": 4} for slot in slots}})
    axes = np.eye(4).tolist()
    triples = [(s, p, o) for s in range(3) for p in range(4) for o in range(3)]
    points = [
        {"id": n, "vectors": {slot: axes[at] for slot, at in zip(slots, triple, strict=True)}}
        for n, triple in enumerate(triples)
    ]
    api.put("/v1/collections/c/points", {"points": points})
    asked = [{"vector": axes[1], "using": "subject"}, {"vector": axes[2], "using": "object"}]
    body = {"prefetch": asked, "rescore": {"levels": asked}, "k": 4, "explain": True}
    found = ids(api.post(QUERY, body))
    assert {triples[n] for n in found} == {(1, p, 2) for p in range(4)}


@pytest.mark.parametrize(
    ("using", "pointer"),
    [
        ({}, "/using"),
        ({"title": 0}, "/using/title"),
        ({"title": "much"}, "/using/title"),
        ({"title": 1, "no": 1}, "/using/no"),
        ({"title": 1, "a/b": 1}, "/using/a~1b"),
        (["title"], "/using"),
        ({str(n): 1 for n in range(17)}, "/using/16"),
    ],
)
def test_mistakes_in_weights_are_named(twofold: InProcess, using: Any, pointer: str) -> None:
    answer = twofold.post(QUERY, {"id": 5, "using": using})
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text


def test_batches_mix_plain_and_planned_queries_and_keep_the_form_of_vectors(
    twofold: InProcess,
) -> None:
    plain = {"id": 5, "using": "title", "k": 1, "with_vectors": True}
    planned = {**plain, "using": {"title": 1, "body": 1}, "encoding_format": "base64"}
    results = twofold.post(f"{QUERY}:batch", {"queries": [plain, planned, plain]}).json()["results"]
    forms = [type(one["points"][0]["vectors"]["title"]) for one in results]
    assert forms == [list, str, list]
    assert results[0]["points"] == results[2]["points"]


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"vector": [1, 0], "normalise": "z"}, "/normalise", "where lists are fused"),
        (
            {"vector": [1, 0], "prefetch": [{"vector": [0, 1]}], "normalise": "z"},
            "/normalise",
            "where lists are fused",
        ),
        ({"vector": [1, 0], "hybird": True}, "/hybird", "did you mean hybrid?"),
        ({"vector": [1, 0], "diversity": True}, "/diversity", "mmr, dpp, or an object"),
        ({"vector": [1, 0], "hybrid": "yes"}, "/hybrid", "expected true or an object"),
        (
            {"vector": [1, 0], "boost": {"exp": "cited", "scale": 1}},
            "/boost",
            "a list of functions",
        ),
        (
            {
                "vector": [1, 0],
                "boost": [{"gauss": "at", "origin": {"lat": 0, "lon": 0}, "scale": "5km"}],
            },
            "/boost/0/scale",
            "a number of metres",
        ),
        ({"vector": [1, 0], "group_by": {"feild": "lang"}}, "/group_by/feild", "mean field?"),
        ({"query": {"intersection": [{"id": 1}]}}, "/query/intersection", "mean intersect?"),
        ({"query": {"intersect": ["a", {"id": 1}]}}, "/query/intersect/0", '{"text": …} or'),
        ({"query": {"id": 1, "text": "a"}}, "/query", "exactly one of text and id"),
        (
            {"query": {"recommend": {"positives": [1]}}},
            "/query/recommend/positives",
            "mean positive?",
        ),
        ({"query": "whales"}, "/query", 'as {"text": …}'),
    ],
)
def test_a_mistake_is_answered_by_what_was_meant(
    books: InProcess, body: dict[str, Any], pointer: str, said: str
) -> None:
    answer = books.post(QUERY, body)
    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["pointer"], said in problem["detail"]) == (pointer, True), problem
