"""Full text over HTTP, on every backend: definitions, `$match`, words and hybrid queries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.backends.local import LocalBackend
from app.types import TEXT_FIELD
from tests.builders import settle

from .harness import InProcess, running, settings

AT = "/v1/collections/c"
QUERY = f"{AT}/query"
TITLES = ["Whales", "Ships of the line", "The white whale", "Sailing", "Captains", "White sails"]
TEXTS = [
    "the whale is hunted by a captain",
    "a ship of wood with white sails",
    "a novel of a captain and a ship",
    "how to sail a small ship at sea",
    "orders are given by captains",
    "cloth that catches the wind",
]


@pytest.fixture
def books(api: InProcess) -> InProcess:
    """Points 0 … 5 with a text, encoded as "body", and a title, in a lexical index of both."""
    definition = {
        "vectors": {"body": {"encoder": "tiny"}, "own": {"dimension": 2}},
        "lexical": {"fields": {"title": 2, TEXT_FIELD: 1}},
    }
    assert api.put(AT, definition).status_code == 201
    points = [
        {"id": n, "text": text, "vectors": {"own": [1, n]}, "attributes": {"title": title, "n": n}}
        for n, (title, text) in enumerate(zip(TITLES, TEXTS, strict=True))
    ]
    assert api.put(f"{AT}/points", {"points": points}).status_code == 200
    return api


def ids(answer: Any) -> list[object]:
    return [point["id"] for point in answer.json()["points"]]


def counted(api: InProcess, filter: dict[str, Any]) -> Any:
    return api.post(f"{AT}/points/count", {"filter": filter}).json()["count"]


# ── definitions ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lexical", "shown"),
    [
        (None, None),
        (False, None),
        (True, {"fields": {TEXT_FIELD: 1.0}, "language": "english"}),
        ({}, {"fields": {TEXT_FIELD: 1.0}, "language": "english"}),
        ({"fields": ["b", "a"]}, {"fields": {"a": 1.0, "b": 1.0}, "language": "english"}),
        ({"fields": {"a": 2}, "language": None}, {"fields": {"a": 2.0}, "language": None}),
    ],
)
def test_an_index_is_defined_with_its_collection_and_shown(
    api: InProcess, lexical: object, shown: object
) -> None:
    body = {"dimension": 2, "lexical": lexical}
    created = api.put(AT, body)
    assert (created.status_code, created.json()["lexical"]) == (201, shown)
    assert api.put(AT, body).status_code == 200
    assert api.get(AT).json()["lexical"] == shown
    other = {**body, "lexical": {"fields": ["z"]}}
    assert api.put(AT, other).status_code == 409


def test_the_order_of_fields_does_not_matter(api: InProcess) -> None:
    assert api.put(AT, {"dimension": 2, "lexical": {"fields": ["a", "b"]}}).status_code == 201
    assert api.put(AT, {"dimension": 2, "lexical": {"fields": ["b", "a"]}}).status_code == 200


def test_an_index_is_changed_and_dropped_and_left_alone(books: InProcess) -> None:
    assert counted(books, {"title": {"$match": "whale"}}) == 2
    plain = books.patch(AT, {"lexical": {"fields": ["title"], "language": None}})
    assert plain.json()["lexical"] == {"fields": {"title": 1.0}, "language": None}
    assert counted(books, {"title": {"$match": "whale"}}) == 1
    left = books.patch(AT, {"index": {"m": 8}})
    assert left.json()["lexical"] == plain.json()["lexical"]
    assert books.patch(AT, {"lexical": None}).json()["lexical"] is None
    answer = books.post(QUERY, {"query": {"lexical": "whale"}})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/query/lexical")


@pytest.mark.parametrize(
    ("lexical", "pointer"),
    [
        (5, "/lexical"),
        ([], "/lexical"),
        ({"fields": []}, "/lexical/fields"),
        ({"fields": {}}, "/lexical/fields"),
        ({"fields": "title"}, "/lexical/fields"),
        ({"fields": {"title": 0}}, "/lexical/fields"),
        ({"fields": {"title": -1}}, "/lexical/fields/title"),
        ({"fields": {"a/b": "x"}}, "/lexical/fields/a~1b"),
        ({"fields": {"title": 1001}}, "/lexical/fields/title"),
        ({"fields": {"title": True}}, "/lexical/fields/title"),
        ({"fields": ["a", "a"]}, "/lexical/fields/1"),
        ({"fields": ["a", 5]}, "/lexical/fields/1"),
        ({"fields": ["a", ["b"]]}, "/lexical/fields/1"),
        ({"fields": ["$id"]}, "/lexical/fields/0"),
        ({"fields": [f"f{n}" for n in range(17)]}, "/lexical/fields"),
        ({"language": "klingon"}, "/lexical/language"),
        ({"language": ["english"]}, "/lexical/language"),
        ({"feilds": ["a"]}, "/lexical/feilds"),
    ],
)
def test_a_definition_that_cannot_be_is_blamed_by_its_place(
    plain: InProcess, lexical: object, pointer: str
) -> None:
    assert plain.put(AT, {"dimension": 2}).status_code == 201
    for answer in (
        plain.put("/v1/collections/d", {"dimension": 2, "lexical": lexical}),
        plain.patch(AT, {"lexical": lexical}),
    ):
        body = answer.json()
        assert (answer.status_code, body["type"]) == (
            422,
            "urn:likewise:problem:invalid-definition",
        )
        assert body["pointer"] == pointer
    assert plain.get(AT).json()["lexical"] is None


def test_while_words_are_indexed_only_reads_that_need_them_wait(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    backend = LocalBackend(chosen.data_dir, sync=False, head_points=64, build_threads=1)
    with running(chosen, backend) as api:
        api.put(AT, {"dimension": 2})
        points = [{"id": n, "vector": [1, n], "attributes": {"t": "word"}} for n in range(300)]
        api.put(f"{AT}/points", {"points": points})
        settle(backend, "c")
        altered = api.patch(AT, {"lexical": {"fields": ["t"]}})
        assert (altered.status_code, altered.json()["building"]) == (200, True)
        words, filter = {"query": {"lexical": "word"}, "k": 3}, {"$match": "word"}
        plain = {"vector": [1, 0], "k": 3}
        for path, body in (
            (QUERY, words),
            (QUERY, {**plain, "filter": filter}),
            (QUERY, {**plain, "hybrid": {"text": "word"}}),
            (f"{AT}/points/count", {"filter": filter}),
            (f"{AT}/points/scroll", {"filter": filter}),
            (f"{AT}/points/delete", {"filter": filter}),
        ):
            refused = api.post(path, body)
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"] == "urn:likewise:problem:lexical-unavailable"
            assert int(refused.headers["retry-after"]) >= 1
        assert api.post(QUERY, plain).status_code == 200
        assert counted(api, {"t": "word"}) == 300
        settle(backend, "c")
        assert api.get(AT).json()["building"] is False
        assert api.post(QUERY, words).json()["matches"] == 300
        assert counted(api, filter) == 300


# ── $match ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"$match": "whale"}, [0, 2]),
        ({"title": {"$match": "whale"}}, [0, 2]),
        ({TEXT_FIELD: {"$match": "whale"}}, [0]),
        ({"$match": "captain ship"}, [2]),
        ({"$match": {"query": "captain ship", "operator": "or"}}, [0, 1, 2, 3, 4]),
        ({"$match": '"white whale"'}, [2]),
        ({"$match": '"whale white"'}, []),
        ({"$match": "cap* -ship"}, [0, 4]),
        ({"$match": "THE"}, [0, 1, 2, 5]),
        ({"$not": {"$match": "captain"}, "n": {"$gt": 1}}, [3, 5]),
        ({"title": {"$match": "white", "$ne": "White sails"}}, [2]),
    ],
)
def test_words_choose_points_in_every_filter(
    books: InProcess, filter: dict[str, Any], found: list[int]
) -> None:
    assert counted(books, filter) == len(found)
    nearest = books.post(QUERY, {"vector": [1, 0], "using": "own", "filter": filter})
    assert sorted(ids(nearest)) == found
    assert nearest.json()["matches"] == len(found)


@pytest.mark.parametrize(
    ("filter", "pointer"),
    [
        ({"n": {"$match": "five"}}, "/filter/n/$match"),
        ({"$and": [{}, {"no": {"$match": "x"}}]}, "/filter/$and/1/no/$match"),
        ({"$match": "-only"}, "/filter/$match"),
        ({"$match": '"open'}, "/filter/$match"),
        ({"$match": '"' * 100_001}, "/filter/$match"),
        ({"$match": '"' * 100_000}, "/filter/$match"),
        ({"$match": "\x00"}, "/filter/$match"),
        ({"$match": " ".join(f"w{n}" for n in range(65))}, "/filter/$match"),
        ({"$match": {"query": "a", "operator": "xor"}}, "/filter/$match/operator"),
        ({"$match": {"query": 5}}, "/filter/$match/query"),
        ({"$match": ["a"]}, "/filter/$match"),
        ({TEXT_FIELD: "whale"}, f"/filter/{TEXT_FIELD}"),
    ],
)
def test_words_that_cannot_be_matched_are_blamed_by_their_place(
    books: InProcess, filter: dict[str, Any], pointer: str
) -> None:
    for path, body in ((f"{AT}/points/count", {}), (QUERY, {"vector": [1, 0], "using": "own"})):
        answer = books.post(path, {**body, "filter": filter})
        assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text


HOSTILE = [
    "whale NEAR(ship, 2) AND title:sail^5 OR (x)",
    "'; DROP TABLE points; --",
    "\x00whale\x00",
    "\u202ewhale\u200b\ufeff",
    "ẘ̴̛̝̬h̷a̵l̶e̷" * 50,
    "-" * 1000 + "whale",
    "* ** *whale* \\*",
    "\U0001f40b whale",
    "東京 " * 20,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_words_in_filters_and_in_queries(books: InProcess, text: str) -> None:
    filtered = books.post(f"{AT}/points/count", {"filter": {"$match": text}})
    assert filtered.status_code in (200, 422), filtered.text
    for body in ({"query": {"lexical": text}}, {"text": text, "using": "body", "hybrid": True}):
        assert books.post(QUERY, body).status_code == 200


# ── words as a query ─────────────────────────────────────────────────────────────────────────


def test_words_find_what_holds_any_of_them_best_first(books: InProcess) -> None:
    answer = books.post(QUERY, {"query": {"lexical": "what is the white whale"}})
    assert ids(answer)[0] == 2
    assert set(ids(answer)) == {0, 1, 2, 5}
    assert answer.json()["matches"] == 4
    scores = [point["score"] for point in answer.json()["points"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_words_are_looked_for_in_some_fields_or_all_of_them_together(books: InProcess) -> None:
    def found(**more: object) -> set[object]:
        words = {"text": "white sails", **more}
        return set(ids(books.post(QUERY, {"query": {"lexical": words}})))

    assert found() == {1, 2, 3, 5}
    assert found(fields=[TEXT_FIELD]) == {1, 3}
    assert found(fields={"title": 1}) == {2, 3, 5}
    assert found(every=True) == {1, 5}
    assert found(every=True, fields=["title"]) == {5}
    first = {
        weight: ids(
            books.post(
                QUERY,
                {
                    "query": {
                        "lexical": {
                            "text": "white sails",
                            "fields": {"title": weight, TEXT_FIELD: 1},
                        }
                    }
                },
            )
        )[0]
        for weight in (0.01, 50)
    }
    assert first == {0.01: 1, 50: 5}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"query": {"lexical": 5}}, "/query/lexical"),
        ({"query": {"lexical": ""}}, "/query/lexical"),
        ({"query": {"lexical": {"text": ["a"]}}}, "/query/lexical/text"),
        ({"query": {"lexical": {"words": "a"}}}, "/query/lexical"),
        ({"query": {"lexical": {"text": "a", "all": True}}}, "/query/lexical/all"),
        ({"query": {"lexical": {"text": "a", "every": 1}}}, "/query/lexical/every"),
        ({"query": {"lexical": {"text": "a", "fields": ["n"]}}}, "/query/lexical/fields/0"),
        ({"query": {"lexical": {"text": "a", "fields": {"n": 1}}}}, "/query/lexical/fields/n"),
        ({"query": {"lexical": {"text": "a", "fields": {"title": 0}}}}, "/query/lexical/fields"),
        (
            {"query": {"lexical": {"text": "a", "fields": {"title": -1}}}},
            "/query/lexical/fields/title",
        ),
        ({"query": {"lexical": "a"}, "using": "body"}, ""),
        ({"prefetch": [{"lexical": {"text": ""}}]}, "/prefetch/0/lexical/text"),
        ({"text": "a", "using": "body", "hybrid": {"fields": ["n"]}}, "/hybrid/fields/0"),
        ({"text": "a", "using": "body", "hybrid": {"every": "x"}}, "/hybrid/every"),
        ({"text": "a", "using": "body", "hybrid": {"weight": 2}}, "/hybrid/weight"),
        ({"text": "a", "using": "body", "hybrid": {"wieght": 1}}, "/hybrid/wieght"),
        ({"text": "a", "using": "body", "hybrid": {"candidates": 0}}, "/hybrid/candidates"),
        ({"text": "a", "using": "body", "hybrid": {"fuse": "x"}}, "/hybrid/fuse/method"),
        ({"text": "a", "using": "body", "hybrid": True, "fuse": "x"}, "/fuse/method"),
        ({"text": "a", "using": "own", "hybrid": True}, "/text"),
        (
            {"prefetch": [{"lexical": "a", "filter": {"n": {"$match": "x"}}}]},
            "/prefetch/0/filter/n/$match",
        ),
        ({"vector": [1, 2], "using": "own", "hybrid": True}, "/hybrid"),
        ({"vector": [1, 2], "using": "own", "hybrid": {"text": 5}}, "/hybrid/text"),
        ({"vector": [1, 2], "using": "own", "hybrid": {"text": ""}}, "/hybrid/text"),
        ({"hybrid": {"text": "a"}}, "/hybrid"),
        ({"text": "a", "hybrid": True, "prefetch": [{"lexical": "a"}]}, ""),
    ],
)
def test_mistakes_are_named_by_their_place(
    books: InProcess, body: dict[str, Any], pointer: str
) -> None:
    answer = books.post(QUERY, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["pointer"] == pointer, answer.text


def test_hybrid_without_an_index_says_so_at_hybrid(texts: InProcess) -> None:
    answer = texts.post("/v1/collections/t/query", {"text": "a", "using": "body", "hybrid": True})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/hybrid")


# ── hybrid ───────────────────────────────────────────────────────────────────────────────────


def both_sides(api: InProcess, text: str, **more: Any) -> list[dict[Any, float]]:
    """Scores of each side alone, as id → score."""
    dense = api.post(QUERY, {"text": text, "using": "body", "k": 100, **more})
    words = api.post(QUERY, {"query": {"lexical": text}, "k": 100, **more})
    return [
        {point["id"]: point["score"] for point in side.json()["points"]} for side in (dense, words)
    ]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("filter", [None, {"n": {"$gte": 1}}, {"$match": "white"}])
def test_hybrid_by_rank_is_the_two_sides_fused_by_hand(
    books: InProcess, weight: float, filter: dict[str, Any] | None
) -> None:
    text = "a captain of a white ship"
    dense, words = both_sides(books, text, filter=filter)
    fused = dict.fromkeys({*dense, *words}, 0.0)
    for share, side in ((weight, dense), (1 - weight, words)):
        for rank, id_ in enumerate(sorted(side, key=lambda one: -side[one]), 1):
            fused[id_] += share / (60 + rank)
    body = {"text": text, "using": "body", "filter": filter, "k": 10}
    answer = books.post(QUERY, {**body, "hybrid": {"weight": weight, "fuse": "rrf"}}).json()
    found = {point["id"]: point["score"] for point in answer["points"]}
    assert found == pytest.approx(fused)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_hybrid_by_scores_is_the_two_sides_fused_by_hand(books: InProcess) -> None:
    text = "white whales"
    sides = both_sides(books, text)
    assert len(sides[1]) < len(sides[0])
    sides[1] = {id_: sides[1].get(id_, 0.0) for id_ in sides[0]}  # what has no word scores nothing
    fused = dict.fromkeys(sides[0], 0.0)
    for share, side in zip((0.7, 0.3), sides, strict=True):
        low, high = min(side.values()), max(side.values())
        for id_, score in side.items():
            fused[id_] += share * (score - low) / (high - low)
    hybrid = {"weight": 0.7, "fuse": "sum", "normalise": "minmax"}
    answer = books.post(QUERY, {"text": text, "using": "body", "hybrid": hybrid}).json()
    assert {point["id"]: point["score"] for point in answer["points"]} == pytest.approx(fused)


def test_an_explained_hybrid_tells_both_ranks_and_scores_of_each_hit(books: InProcess) -> None:
    text = "white whales"
    dense, words = both_sides(books, text)
    answer = books.post(
        QUERY, {"text": text, "using": "body", "hybrid": True, "explain": True}
    ).json()
    for point in answer["points"]:
        id_, scores, ranks = point["id"], point["scores"], point["notes"]["ranks"]
        assert scores["body"] == pytest.approx(dense[id_], abs=1e-6)
        assert scores["lexical"] == pytest.approx(words.get(id_, 0.0), rel=1e-6)
        assert ranks["body"] == 1 + sum(score > dense[id_] for score in dense.values())
        assert ("lexical" in ranks) == (id_ in words)
        if id_ in words:
            assert ranks["lexical"] == 1 + sum(score > words[id_] for score in words.values())
        assert scores["fused"] == pytest.approx(point["score"])


def test_what_one_side_found_is_scored_by_the_other_as_well(books: InProcess) -> None:
    """So how many candidates each gives hardly matters; by ranks it does."""
    body = {"using": "body", "k": 10, "explain": True}
    for text in (*TEXTS, *TITLES, "white cloth", "orders of the sea"):
        dense, words = both_sides(books, text)
        first, second = (max(side, key=side.__getitem__) for side in (dense, words))
        if first != second:
            break
    assert first != second, "both sides agree on everything: nothing is tested"
    few = {"candidates": 1, "fuse": "sum", "normalise": "minmax"}
    answer = books.post(QUERY, {"text": text, **body, "hybrid": few}).json()["points"]
    assert {point["id"] for point in answer} == {first, second}
    for point in answer:
        assert point["scores"]["body"] == pytest.approx(dense[point["id"]], abs=1e-5)
        assert point["scores"]["lexical"] == pytest.approx(words.get(point["id"], 0.0), rel=1e-5)
        assert len(point["notes"]["ranks"]) == 1
    ranked = books.post(QUERY, {"text": text, **body, "hybrid": {**few, "fuse": "rrf"}}).json()
    assert [len(point["scores"]) for point in ranked["points"]] == [2, 2]  # one side, and fused


def test_a_batch_of_hybrid_queries_answers_as_each_alone(books: InProcess) -> None:
    queries = [{"text": text, "using": "body", "hybrid": True} for text in TEXTS]
    batch = books.post(f"{QUERY}:batch", {"queries": queries}).json()["results"]
    for query, answer in zip(queries, batch, strict=True):
        alone = books.post(QUERY, query).json()
        assert [point["id"] for point in alone["points"]] == [
            point["id"] for point in answer["points"]
        ]


def test_a_batch_of_hybrid_queries_is_encoded_at_once_and_each_text_once(books: InProcess) -> None:
    def encoded() -> tuple[float, float]:
        """Runs of the encoder, and texts in them."""
        told = books.get("/metrics").text
        name = r'^likewise_encoder_batch_texts_{}\{{encoder="tiny"\}} (.*)$'
        runs, texts = (re.search(name.format(of), told, re.M) for of in ("count", "sum"))
        assert runs
        assert texts
        return float(runs[1]), float(texts[1])

    before = encoded()
    queries = [{"text": text, "using": "body", "hybrid": True} for text in TEXTS]
    assert books.post(f"{QUERY}:batch", {"queries": queries}).status_code == 200
    after = encoded()
    assert after[1] - before[1] == len(TEXTS)
    assert after[0] - before[0] < len(TEXTS) / 2


def test_a_vector_is_looked_for_beside_words_that_are_said(books: InProcess) -> None:
    body = {"vector": [1, 0], "using": "own", "k": 3}
    both = books.post(QUERY, {**body, "hybrid": {"text": "sail", "weight": 0.5}}).json()["points"]
    words = books.post(QUERY, {**body, "hybrid": {"text": "sail", "weight": 0}}).json()["points"]
    alone = books.post(QUERY, {**body, "hybrid": False}).json()["points"]
    assert [point["id"] for point in alone] == [0, 1, 2]
    assert {point["id"] for point in words} >= {1, 5}
    assert both[0]["id"] == 1


def test_weights_of_vectors_stand_beside_words(books: InProcess) -> None:
    body = {"text": "a captain of a white ship", "hybrid": True}
    one = books.post(QUERY, {**body, "using": "body"}).json()["points"]
    weighed = books.post(QUERY, {**body, "using": {"body": 2}}).json()["points"]
    assert [point["id"] for point in weighed] == [point["id"] for point in one]


def test_a_point_that_is_started_from_is_not_found_by_its_words_either(books: InProcess) -> None:
    body = {"id": 2, "using": "own", "hybrid": {"text": "white whale"}, "k": 6}
    found = ids(books.post(QUERY, body))
    assert sorted(found) == [0, 1, 3, 4, 5]
    assert 2 in ids(books.post(QUERY, {**body, "id": 4}))


def test_words_are_one_source_among_others(books: InProcess) -> None:
    body = {
        "prefetch": [
            {"lexical": {"text": "whale", "fields": ["title"]}, "name": "titles"},
            {"lexical": "whale", "filter": {"n": 0}, "weight": 3},
            {"vector": [1, 0], "using": "own", "k": 1},
        ],
        "fuse": "rrf",
        "explain": True,
    }
    answer = books.post(QUERY, body).json()
    assert [point["id"] for point in answer["points"]] == [0, 2]
    assert answer["points"][0]["scores"].keys() == {"titles", "lexical", "own", "fused"}
