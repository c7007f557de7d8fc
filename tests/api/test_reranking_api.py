"""Reranking over HTTP: of documents that come along, and of what a query recalls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.encoders.inputs import Pair
from app.encoders.registry import EncoderRegistry
from tests.reference_backend import ReferenceBackend

from .harness import MODELS, InProcess, running, settings

DOCUMENTS = ["a sick dog", "cats and dogs", "the quick red fox jumps", "fox hunting", "tea"]
QUERY = "the red fox"


@pytest.fixture(scope="module")
def cross() -> Iterator[EncoderRegistry]:
    registry = EncoderRegistry(MODELS, threads=1, queue=1000, batch_tokens=1024)
    registry.load("tiny-cross")
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    chosen = settings(
        tmp_path_factory.mktemp("rerank"), encoders="tiny,tiny-cross", max_documents=20
    )
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        yield app


def scored(cross: EncoderRegistry, query: str, documents: list[str]) -> list[float]:
    pairs = [Pair(query, document) for document in documents]
    return list(cross.submit("tiny-cross", pairs, "query", "score").result().outputs)


def test_documents_come_back_in_the_order_of_the_cross_encoders_scores(
    ready: InProcess, cross: EncoderRegistry
) -> None:
    body = {"model": "tiny-cross", "query": QUERY, "documents": DOCUMENTS}
    answer = ready.post("/v1/rerank", body).json()
    expected = scored(cross, QUERY, DOCUMENTS)
    got = {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert [got[index] for index in range(len(DOCUMENTS))] == pytest.approx(expected, abs=1e-6)
    assert [one["index"] for one in answer["results"]] == sorted(
        range(len(DOCUMENTS)), key=lambda index: -expected[index]
    )
    assert answer["results"][0]["index"] == 2
    assert answer["model"] == "tiny-cross"
    assert answer["usage"]["total_tokens"] > 5 * len(DOCUMENTS)
    assert answer["meta"]["billed_units"] == {"search_units": 1}


def test_both_paths_answer_the_same_and_top_n_and_documents_are_as_asked(ready: InProcess) -> None:
    body = {
        "model": "tiny-cross",
        "query": QUERY,
        "documents": [{"text": text, "id": 7} for text in DOCUMENTS],
        "top_n": 2,
        "return_documents": True,
        "max_chunks_per_doc": 10,
        "priority": 3,
    }
    first, second = (ready.post(path, body).json() for path in ("/v1/rerank", "/v2/rerank"))
    assert first["results"] == second["results"]
    assert [one["document"]["text"] for one in first["results"]] == [DOCUMENTS[2], DOCUMENTS[3]]


def test_rank_fields_are_read_in_their_order(ready: InProcess, cross: EncoderRegistry) -> None:
    documents = [{"title": "fox", "body": "red", "text": "the red fox"}, {"body": "a red fox"}]
    answer = ready.post(
        "/v1/rerank",
        {
            "model": "tiny-cross",
            "query": QUERY,
            "documents": documents,
            "rank_fields": ["body", "title"],
        },
    ).json()
    got = {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert [got[0], got[1]] == pytest.approx(scored(cross, QUERY, ["red\nfox", "a red fox"]))


def test_without_a_cross_encoder_documents_are_ranked_by_the_cosine_of_their_vectors(
    ready: InProcess,
) -> None:
    answer = ready.post("/v1/rerank", {"query": QUERY, "documents": DOCUMENTS}).json()
    assert answer["model"] == "tiny"
    embedded = ready.post("/v1/embeddings", {"input": [QUERY, *DOCUMENTS]}).json()["data"]
    query, *others = (one["embedding"] for one in embedded)
    for one in answer["results"]:
        other = others[one["index"]]
        cosine = sum(a * b for a, b in zip(query, other, strict=True))
        assert one["relevance_score"] == pytest.approx(cosine, abs=1e-5)
    found = [one["relevance_score"] for one in answer["results"]]
    assert found == sorted(found, reverse=True)


def test_max_tokens_per_doc_cuts_documents(ready: InProcess, cross: EncoderRegistry) -> None:
    body = {"model": "tiny-cross", "query": "fox", "documents": ["tea tea tea fox"]}
    whole = ready.post("/v1/rerank", body).json()["results"][0]["relevance_score"]
    cut = ready.post("/v1/rerank", {**body, "max_tokens_per_doc": 3}).json()["results"][0]
    assert whole == pytest.approx(scored(cross, "fox", ["tea tea tea fox"])[0])
    assert cut["relevance_score"] == pytest.approx(scored(cross, "fox", ["tea tea tea"])[0])
    assert cut["relevance_score"] < whole


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"documents": []}, "invalid-field", "/documents"),
        ({"documents": ["a"] * 21}, "limit-exceeded", "/documents"),
        ({"documents": ["a", ""]}, "invalid-text", "/documents/1"),
        ({"documents": ["a", 3]}, "invalid-text", "/documents/1"),
        ({"documents": ["a", {"title": "b"}]}, "invalid-text", "/documents/1"),
        ({"documents": [{"text": 1}]}, "invalid-text", "/documents/0/text"),
        ({"documents": ["a", "b" * 100_001]}, "invalid-text", "/documents/1"),
        ({"query": ""}, "invalid-text", "/query"),
        ({"top_n": 0}, "invalid-field", "/top_n"),
        ({"model": "nobody"}, "encoder-not-found", "/model"),
        ({"model": "tiny", "max_tokens_per_doc": 3}, "invalid-field", "/max_tokens_per_doc"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    ready: InProcess, change: dict[str, Any], code: str, pointer: str
) -> None:
    body = {"model": "tiny-cross", "query": QUERY, "documents": DOCUMENTS, **change}
    problem = ready.post("/v1/rerank", body).json()
    assert problem["type"].endswith(f":{code}"), problem
    assert problem.get("pointer") == pointer


# ── inside a query ───────────────────────────────────────────────────────────────────────────

TITLES = [
    "red fox",
    "the fox",
    "sea and sky",
    "a cat",
    "dogs",
    "the red fox jumps",
    "ice tea",
    "old man and the sea",
]


@pytest.fixture
def films(ready: InProcess) -> Iterator[InProcess]:
    """Points whose vectors say one order and whose titles another; 8 has no title, 9 no text."""
    assert ready.put("/v1/collections/f", {"dimension": 2, "metric": "ip"}).status_code == 201
    points: list[dict[str, Any]] = [
        {
            "id": number,
            "vector": [1.0, float(number)],
            "text": f"text of {title}",
            "attributes": {"title": title, "year": 2000 + number, "tags": ["red", "ice"]},
        }
        for number, title in enumerate(TITLES)
    ]
    points += [{"id": 8, "vector": [1.0, 8.0], "text": "x", "attributes": {"year": 1}}]
    points += [{"id": 9, "vector": [1.0, 9.0], "attributes": {"title": "9"}}]
    assert ready.put("/v1/collections/f/points", {"points": points}).status_code == 200
    yield ready
    ready.drop_all()


def asked(app: InProcess, **body: Any) -> dict[str, Any]:
    answer = app.post("/v1/collections/f/query", {"vector": [0.0, 1.0], **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


RERANK = {"model": "tiny-cross", "field": "title", "query": QUERY}


def oracle(cross: EncoderRegistry, candidates: list[int], texts: dict[int, str]) -> list[int]:
    """Ids by score, those without a text last, ties as recalled."""
    have = [one for one in candidates if texts.get(one)]
    scores = dict(zip(have, scored(cross, QUERY, [texts[one] for one in have]), strict=True))
    return sorted(candidates, key=lambda one: -scores.get(one, float("-inf")))


@pytest.mark.parametrize("candidates", [None, 5, 8, 10])
@pytest.mark.parametrize(("k", "offset"), [(3, 0), (2, 2), (5, 0)])
def test_an_answer_is_what_scoring_every_candidate_says(
    films: InProcess, cross: EncoderRegistry, candidates: int | None, k: int, offset: int
) -> None:
    rerank = {**RERANK, "candidates": candidates} if candidates else RERANK
    answer = asked(films, k=k, offset=offset, rerank=rerank)
    recalled = list(range(9, -1, -1))[: candidates or 100]
    texts = {**dict(enumerate(TITLES)), 9: "9"}
    expected = oracle(cross, recalled, texts)[offset : offset + k]
    assert [point["id"] for point in answer["points"]] == expected
    for point in answer["points"]:
        assert point["score"] == pytest.approx(float(point["id"])), "the score of the vectors"


def test_points_with_nothing_to_read_come_last_without_a_score(films: InProcess) -> None:
    answer = asked(films, k=10, rerank=RERANK)
    assert [point["id"] for point in answer["points"]][-1] == 8
    assert "rerank_score" not in answer["points"][-1]
    assert all("rerank_score" in point for point in answer["points"][:-1])


def test_without_field_or_template_the_points_own_texts_are_read(
    films: InProcess, cross: EncoderRegistry
) -> None:
    answer = asked(films, k=10, with_text=False, rerank={"model": "tiny-cross", "query": QUERY})
    texts = {number: f"text of {title}" for number, title in enumerate(TITLES)} | {8: "x"}
    found = [point["id"] for point in answer["points"]]
    assert found == oracle(cross, list(range(9, -1, -1)), texts)
    assert all("text" not in point for point in answer["points"])


def test_a_template_joins_attributes_and_the_projection_stays_as_asked(
    films: InProcess, cross: EncoderRegistry
) -> None:
    rerank = {"model": "tiny-cross", "query": QUERY, "template": "{tags}: {title}!"}
    answer = asked(films, k=10, fields=["year"], rerank=rerank)
    texts = {number: f"red, ice: {title}!" for number, title in enumerate(TITLES)} | {9: ": 9!"}
    found = [point["id"] for point in answer["points"]]
    assert found == oracle(cross, list(range(9, -1, -1)), texts)
    assert [point["attributes"] for point in answer["points"]] == [
        {} if number == 9 else {"year": 1 if number == 8 else 2000 + number} for number in found
    ]


def test_filter_and_threshold_choose_the_candidates(films: InProcess) -> None:
    answer = asked(films, k=10, filter={"year": {"$lt": 2007}}, score_threshold=2, rerank=RERANK)
    found = [point["id"] for point in answer["points"]]
    assert sorted(found) == [2, 3, 4, 5, 6, 8]
    assert found[0] == 5
    assert answer["matches"] == 8


def test_explain_tells_what_the_reranker_did(films: InProcess) -> None:
    told = asked(films, k=2, explain=True, rerank=RERANK)["explain"]["rerank"]
    assert (told["model"], told["candidates"], told["scored"]) == ("tiny-cross", 10, 9)
    assert told["tokens"] > 9 * 5
    assert told["took_ms"] >= 0


PREFETCH = [{"vector": [0.0, 1.0], "k": 6}, {"vector": [1.0, -1.0], "k": 3}]
STAGED: list[tuple[dict[str, Any], list[int]]] = [
    # what is left for the reranker, in the order of the stages before it
    ({"prefetch": PREFETCH, "fuse": "rrf"}, [0, 9, 1, 8, 2, 7, 6, 5, 4]),
    ({"vector": [0.0, 1.0], "rescore": {"vector": [0.0, -1.0], "candidates": 4}}, [6, 7, 8, 9]),
    ({"vector": [0.0, 1.0], "boost": [{"filter": {"year": 2001}, "weight": 100}]},
     [1, 9, 8, 7, 6, 5, 4, 3, 2, 0]),
    ({"vector": [0.0, 1.0], "diversity": {"by": "year"}}, list(range(9, -1, -1))),
    ({"vector": [0.0, 1.0], "score_threshold": 4, "boost": [{"filter": {}, "weight": 0.5}]},
     [9, 8]),
    ({"query": {"vector": [0.0, 1.0]}, "using": {"default": 2}}, list(range(9, -1, -1))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "left"), STAGED)
@pytest.mark.parametrize("candidates", [3, None])
def test_a_reranker_comes_after_all_stages_of_a_plan(
    films: InProcess,
    cross: EncoderRegistry,
    body: dict[str, Any],
    left: list[int],
    candidates: int | None,
) -> None:
    rerank = {**RERANK, "candidates": candidates} if candidates else RERANK
    texts = {**dict(enumerate(TITLES)), 9: "9"}
    expected = oracle(cross, left[:candidates], texts)
    for offset in (0, 1):
        whole = {"k": 2, "offset": offset, "explain": True, "rerank": rerank, **body}
        answer = films.post("/v1/collections/f/query", whole)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert [point["id"] for point in found["points"]] == expected[offset : offset + 2]
        last = found["explain"]["stages"][-1]
        taken = len(left[:candidates])
        assert (last["stage"], last["at"], last["in"]) == ("rerank", "/rerank", taken)
        assert last["out"] == len(found["points"])
        assert found["explain"]["total_ms"] >= last["ms"] >= 0
        assert found["explain"]["cut"]["out"] == taken


def test_a_shortlist_that_differs_is_read_by_the_reranker(films: InProcess) -> None:
    body = {"k": 2, "rerank": {**RERANK, "candidates": 4}, "diversity": {"candidates": 10}}
    found = asked(films, **body)
    assert len(found["points"]) == 2


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"order_by": "year"}, "/order_by"),
        ({"vector": None, "order_by": "year"}, "/order_by"),
        ({"group_by": "year"}, "/group_by"),
        ({"diversity": {"candidates": 20}}, "/diversity"),
    ],
)
def test_stages_that_a_reranker_would_undo_are_refused(
    films: InProcess, more: dict[str, Any], pointer: str
) -> None:
    body = {"vector": [0.0, 1.0], "rerank": RERANK, **more}
    answer = films.post("/v1/collections/f/query", body)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text


def test_the_text_of_a_query_is_what_its_candidates_are_compared_with(ready: InProcess) -> None:
    assert ready.put("/v1/collections/f", {}).status_code == 201
    points = [{"id": number, "text": title} for number, title in enumerate(TITLES)]
    ready.put("/v1/collections/f/points", {"points": points})
    body = {"text": QUERY, "k": 1, "rerank": {"model": "tiny-cross"}}
    (best,) = ready.post("/v1/collections/f/query", body).json()["points"]
    assert best["id"] == 5
    ready.drop_all()


def test_each_query_of_a_batch_is_reranked_as_it_would_be_alone(films: InProcess) -> None:
    queries: list[dict[str, Any]] = [
        {"vector": [0.0, 1.0], "k": 4, "rerank": RERANK},
        {"vector": [0.0, 1.0], "k": 3},
        {"vector": [1.0, -1.0], "k": 2, "rerank": {**RERANK, "query": "ice", "candidates": 3}},
        {"vector": [0.0, 1.0], "k": 2, "rerank": {"field": "title", "query": "sea"}},
    ]
    answer = films.post("/v1/collections/f/query:batch", {"queries": queries}).json()
    for query, together in zip(queries, answer["results"], strict=True):
        alone = films.post("/v1/collections/f/query", query).json()
        assert [one["id"] for one in together["points"]] == [one["id"] for one in alone["points"]]
        for one, other in zip(together["points"], alone["points"], strict=True):
            assert one.get("rerank_score") == pytest.approx(other.get("rerank_score"), abs=1e-5)


@pytest.mark.parametrize(
    ("rerank", "code", "pointer"),
    [
        ({"field": "title"}, "invalid-query", "/rerank/query"),
        ({**RERANK, "template": "{title}"}, "invalid-query", "/rerank"),
        ({"query": "a", "template": "title"}, "invalid-query", "/rerank/template"),
        ({"query": "a", "template": "{title"}, "invalid-query", "/rerank/template"),
        ({"query": "a", "template": "{}"}, "invalid-query", "/rerank/template"),
        ({**RERANK, "candidates": 4}, "invalid-query", "/rerank/candidates"),
        ({**RERANK, "candidates": 21}, "limit-exceeded", "/rerank/candidates"),
        ({**RERANK, "candidates": 0}, "invalid-field", "/rerank/candidates"),
        ({**RERANK, "query": ""}, "invalid-text", "/rerank/query"),
        ({**RERANK, "model": "nobody"}, "encoder-not-found", "/rerank/model"),
        ({**RERANK, "fields": []}, "invalid-field", "/rerank/fields"),
    ],
)
def test_a_wrong_rerank_of_a_query_is_refused_with_its_place(
    films: InProcess, rerank: dict[str, Any], code: str, pointer: str
) -> None:
    body = {"vector": [0.0, 1.0], "k": 5, "rerank": rerank}
    problem = films.post("/v1/collections/f/query", body).json()
    assert problem["type"].endswith(f":{code}"), problem
    assert problem["pointer"] == pointer
    batch = films.post("/v1/collections/f/query:batch", {"queries": [body]}).json()
    assert batch["pointer"] == f"/queries/0{pointer}"


def test_more_results_than_may_be_reranked_are_refused(films: InProcess) -> None:
    body = {"vector": [0.0, 1.0], "k": 21, "rerank": RERANK}
    problem = films.post("/v1/collections/f/query", body).json()
    assert (problem["pointer"], problem["context"]["limit"]) == ("/k", 20)
    queries = [{"vector": [0.0, 1.0], "k": 2, "rerank": {**RERANK, "candidates": 20}}] * 11
    problem = films.post("/v1/collections/f/query:batch", {"queries": queries}).json()
    assert (problem["pointer"], problem["context"]["limit"]) == ("/queries", 200)


def test_a_cross_encoder_makes_no_vectors(ready: InProcess) -> None:
    problem = ready.post("/v1/embeddings", {"input": "x", "model": "tiny-cross"}).json()
    assert problem["pointer"] == "/output"
    problem = ready.put("/v1/collections/c", {"encoder": "tiny-cross"}).json()
    assert problem["pointer"] == "/encoder"


def test_a_reranker_that_is_not_ready_is_loaded_and_the_request_told_to_wait(
    tmp_path: Path,
) -> None:
    with running(settings(tmp_path, default_reranker="tiny-cross"), ReferenceBackend()) as app:
        answer = app.post("/v1/rerank", {"query": "a", "documents": ["b"]})
        while answer.status_code == 503:
            assert answer.json()["type"].endswith(":encoder-unavailable")
            answer = app.post("/v1/rerank", {"query": "a", "documents": ["b"]})
        assert answer.json()["model"] == "tiny-cross"
