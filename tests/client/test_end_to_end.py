"""Every method of both clients against a real service: a process, a port, a disk, an encoder."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from likewise import (
    AsyncClient,
    AsyncCollection,
    Client,
    Collection,
    ConflictError,
    F,
    InvalidRequestError,
    NotFoundError,
    Point,
    Query,
    Rerank,
    UnavailableError,
    points_from_columns,
)

_numbers = itertools.count()

FILMS = [
    Point(1, text="A whaler hunts a white whale.", attributes={"year": 1956, "tags": ["sea"]}),
    Point(2, text="A shark empties a beach.", attributes={"year": 1975, "tags": ["sea", "fear"]}),
    Point("3", text="A cook in Paris is a rat.", attributes={"year": 2007, "tags": ["food"]}),
]


@pytest.fixture
def client(connect: Callable[[str], Any], service: str) -> Any:
    return connect(service)


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """A name that no other test uses; whatever was created under it is dropped."""
    name = f"e2e-{next(_numbers)}"
    yield name
    if name in [info.name for info in client.collections()]:
        client.collection(name).drop()


@pytest.fixture
def films(client: Any, name: str) -> Any:
    """Three films with texts, encoded by the service."""
    collection = client.create_collection(name)
    assert collection.upsert(FILMS) == 3
    return collection


@pytest.fixture
def arrows(client: Any, name: str) -> Any:
    """Five plane vectors that the caller brought: ids 0 … 4, ever further from the x axis."""
    collection = client.create_collection(name, dimension=2, metric="cosine")
    angles = np.arange(5) / 5
    matrix = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    attributes = [{"n": n, "even": n % 2 == 0} for n in range(5)]
    collection.upsert(points_from_columns(ids=range(5), vector=matrix, attributes=attributes))
    return collection


# ── the service ──────────────────────────────────────────────────────────────────────────────


def test_the_service_says_how_it_is_and_what_it_takes(client: Any) -> None:
    client.health()
    assert client.ready().can_serve
    assert client.ready().components["engine"]["status"]
    assert client.info().api == "v1"
    assert client.limits().max_batch > 0
    (tiny,) = [model for model in client.models() if model.id == "tiny"]
    assert tiny.modality == "text"


def test_an_encoder_is_unloaded_and_loaded_again(client: Any) -> None:
    assert client.describe_model("tiny").dimensions == ()
    assert client.embed(["a whale"]).tokens
    assert client.unload_model("tiny").status == "unavailable"
    with pytest.raises(UnavailableError, match="unloaded on request"):
        client.embed(["a whale"])
    status = client.load_model("tiny").status
    while status == "loading":
        status = client.describe_model("tiny").status
    assert status == "ready"
    assert client.embed(["a whale"]).tokens


def test_texts_are_embedded_without_being_stored(client: Any) -> None:
    found = client.embed(["a whale", "a shark"], model="tiny", input_type="document")
    assert found.model == "tiny"
    assert found.tokens > 0
    matrix = found.to_numpy()
    assert matrix.dtype == np.float32
    assert matrix.shape == (2, next(m.dimension for m in client.models() if m.id == "tiny"))
    assert client.embed(["a whale"])[0] == pytest.approx(found[0], abs=1e-3)


def test_documents_are_reranked(client: Any) -> None:
    documents = ["a cat", {"text": "the old man and the sea"}, "tea at sea"]
    found = client.rerank("the sea", documents, model="tiny-cross")
    assert [one.index for one in found] == [1, 2, 0]
    assert found.model == "tiny-cross"
    assert found.tokens > 0
    assert client.rerank("the sea", documents, model="tiny-cross", top_n=1)[0] == found[0]
    with pytest.raises(TypeError, match="letter by letter"):
        client.rerank("the sea", "documents")


# ── collections ──────────────────────────────────────────────────────────────────────────────


def test_a_collection_is_created_described_altered_and_dropped(client: Any, name: str) -> None:
    vectors = {"title": {"encoder": "tiny"}, "cover": {"dimension": 3, "metric": "l2"}}
    films = client.create_collection(
        name, vectors=vectors, schema={"year": "integer"}, index={"m": 8}
    )
    info = films.describe()
    assert info in client.collections()
    assert (info.name, info.points, info.schema, info.index.m) == (name, 0, {"year": "integer"}, 8)
    assert info.vectors["title"].encoder == "tiny"
    cover = info.vectors["cover"]
    assert (cover.dimension, cover.metric, cover.encoder) == (3, "l2", None)
    assert datetime.datetime.fromisoformat(info.created_at.replace("Z", "+00:00")).tzinfo

    altered = films.alter(schema={"year": None, "tags": "keyword"}, index={"ef_construction": 64})
    assert altered.schema == {"tags": "keyword"}
    assert (altered.index.m, altered.index.ef_construction) == (8, 64)

    films.drop()
    with pytest.raises(NotFoundError) as caught:
        films.describe()
    assert caught.value.code == "collection-not-found"
    with pytest.raises(NotFoundError):
        films.drop()


def test_creating_twice_is_fine_only_with_the_same_definition(client: Any, name: str) -> None:
    for _ in range(2):
        client.create_collection(name, dimension=2)
    with pytest.raises(ConflictError, match="exists already"):
        client.create_collection(name, dimension=2, exist_ok=False)
    with pytest.raises(ConflictError) as caught:
        client.create_collection(name, dimension=3)
    assert caught.value.code == "definition-differs"


# ── writing and reading ──────────────────────────────────────────────────────────────────────


def test_points_come_back_as_they_were_written(client: Any, name: str) -> None:
    collection = client.create_collection(
        name, vectors={"a": {"dimension": 2, "metric": "l2"}, "b": {"dimension": 1, "metric": "ip"}}
    )
    attributes = {"s": "ü", "i": -(2**63), "f": 0.25, "b": True, "none": None, "list": [1, "x"]}
    collection.upsert(
        [
            {"id": 2**64 - 1, "text": "x", "vectors": {"a": [0.5, -2]}, "attributes": attributes},
            {"id": "1", "vectors": {"b": np.array([3.0])}},
            {"id": 1, "vectors": {"b": (4.0,)}},
        ]
    )
    first, text_id, int_id = collection.get([2**64 - 1, "1", 1], with_vectors=True)
    assert (first.id, first.text, first.attributes) == (2**64 - 1, "x", attributes)
    assert {name: list(vector) for name, vector in first.vectors.items()} == {"a": [0.5, -2.0]}
    assert (text_id.id, list(text_id.vectors["b"])) == ("1", [3.0])
    assert (int_id.id, list(int_id.vectors["b"]), int_id.text) == (1, [4.0], None)


def test_an_upsert_in_batches_replaces_whole_points(arrows: Any) -> None:
    seen: list[int] = []
    generator = ({"id": n, "vector": [1.0, 0.0], "attributes": {"new": n}} for n in range(3, 8))
    assert arrows.upsert(generator, batch_size=2, progress=seen.append) == 5
    assert seen == [2, 4, 5]
    assert arrows.count() == 8
    assert [record.attributes for record in arrows.get([3])] == [{"new": 3}]


def test_a_failed_batch_leaves_the_batches_before_it(arrows: Any) -> None:
    points = [{"id": n, "vector": [1.0, 0.0]} for n in range(10, 14)]
    points.append({"id": 99, "vector": [1.0]})
    with pytest.raises(InvalidRequestError) as caught:
        arrows.upsert(points, batch_size=3)
    error = caught.value
    assert (error.code, error.points_written) == ("dimension-mismatch", 3)
    assert error.pointer == "/points/4/vector"
    assert error.context == {"expected": 2, "received": 1}
    assert arrows.count() == 5 + 3


def test_a_collection_travels_through_a_file(arrows: Any, client: Any, tmp_path: Path) -> None:
    path = tmp_path / "arrows.ndjson.gz"
    seen: list[int] = []
    assert arrows.export_ndjson(path, progress=seen.append) == 5
    assert seen[-1] == 5
    copy = client.create_collection("e2e-copy", dimension=2, metric="cosine")
    try:
        report = copy.import_ndjson(path)
        assert (report.upserted, report.next_line, report.errors) == (5, 6, ())
        theirs, ours = (
            {r.id: (r.attributes, list(r.vectors["default"])) for r in c.scroll(with_vectors=True)}
            for c in (arrows, copy)
        )
        assert ours == theirs
        lines = ['{"id": 9, "vector": [1, 0]}', '{"id": 10, "vector": [1]}']
        assert copy.import_ndjson(lines, on_error="skip").errors[0].line == 2
        with pytest.raises(InvalidRequestError) as caught:
            copy.import_ndjson(lines)
        assert (caught.value.next_line, caught.value.pointer) == (2, "/vector")
        with (tmp_path / "some").open("wb") as file:
            assert copy.export_ndjson(file, F("n") < 2, with_vectors=False) == 2
    finally:
        copy.drop()


def test_get_keeps_the_order_asked_for_and_names_what_is_missing(films: Any) -> None:
    found = films.get(["3", 7, 1, "1"], fields=["year"], with_text=False)
    assert [record.id for record in found] == ["3", 1]
    assert found.missing == (7, "1")
    assert found[0].attributes == {"year": 2007}
    assert (found[0].text, found[0].vectors) == (None, None)


def test_attributes_are_patched_by_id_and_by_filter(films: Any) -> None:
    assert films.patch(ids=[1, 99], set={"seen": True}) == 1
    assert films.patch(filter=F("tags").contains("sea"), set={"wet": True}, unset=["tags"]) == 2
    first, second, third = films.get([1, 2, "3"])
    assert first.attributes == {"year": 1956, "seen": True, "wet": True}
    assert second.attributes == {"year": 1975, "wet": True}
    assert third.attributes == {"year": 2007, "tags": ["food"]}


def test_points_are_deleted_by_id_and_by_filter(films: Any) -> None:
    assert films.delete(ids=[1, "no one"]) == 1
    assert films.delete(filter=F("year") > 2000) == 1
    assert [record.id for record in films.scroll()] == [2]


def test_a_scroll_visits_every_point_once_by_id(films: Any) -> None:
    assert [record.id for record in films.scroll(page_size=2)] == [1, 2, "3"]
    (record,) = films.scroll(F("year") < 1960, fields=[], with_text=False, with_vectors=True)
    assert (record.id, record.attributes, record.text) == (1, {}, None)
    assert len(record.vectors["default"]) > 0


def test_points_are_counted_by_filter(films: Any) -> None:
    assert films.count() == 3
    assert films.count(F("tags").contains_all(["sea", "fear"]) | F("$id").is_in(["3"])) == 2
    assert films.count({"year": {"$gte": 1975}}) == 2
    assert films.count(~F("year").exists()) == 0


def test_points_are_summed_up_by_their_attributes(films: Any) -> None:
    asked = {"years": {"field": "year", "of": "numbers"}, "tags": {"field": "tags", "n": 1}}
    found = films.facets(asked)
    assert (found.points, found["years"]["min"], found["years"]["max"]) == (3, 1956, 2007)
    assert found["tags"]["values"] == [{"value": "sea", "count": 2}]
    later = films.facets(asked, filter=F("year") > 1956)
    assert (later.points, later["years"]["min"]) == (2, 1975)
    one = films.facets(asked, query=Query(text="a shark", k=1))
    assert (one.points, one["years"]["count"]) == (1, 1)


def test_answers_are_evaluated(films: Any) -> None:
    judged = [{"name": "itself", "text": FILMS[1].text, "relevant": [2]}]
    found = films.evaluate(
        judged,
        configurations={"plain": {}, "old": {"filter": F("year") < 1960}},
        measures=["hit@1"],
        per_query=True,
    )
    assert (found["plain"]["hit@1"], found["old"]["hit@1"], found.points) == (1, 0, 3)
    assert found["old"].per_query == {"queries": ["itself"], "values": {"hit@1": [0]}}
    (one,) = found.comparisons
    assert (one.of, one.against, one.difference, one.losses) == ("old", "plain", -1, 1)
    with pytest.raises(InvalidRequestError) as refused:
        films.evaluate(judged, configurations={"plain": {"using": "nowhere"}})
    assert refused.value.problem.pointer == "/configurations/0/query/using"


def test_texts_are_compared_as_people_compared_them(films: Any) -> None:
    texts = [film.text for film in FILMS]
    pairs = [
        {"a": texts[0], "b": texts[0], "score": 5},
        {"a": texts[0], "b": {"id": 1}, "score": 5, "name": "stored"},
        {"a": texts[1], "b": texts[2], "score": 0},
    ]
    found = films.evaluate(pairs=pairs, task="similarity", per_query=True)
    assert found["query"]["spearman"] > 0.8
    assert found["query"].per_query["queries"] == ["1", "stored", "3"]


def test_labels_pairs_and_galleries_are_evaluated(arrows: Any) -> None:
    sample = {"points": 5, "label": "even"}
    known = arrows.evaluate(
        sample=sample, task="recognition", configurations={"near": {"k": 1}, "far": {"k": 4}}
    )
    assert known["near"]["accuracy"] == 0  # whoever is nearest is of the other kind
    assert known["far"]["accuracy"] is not None
    assert [one.of for one in known.comparisons] == ["far"] * len(known.comparisons)
    told = arrows.evaluate(
        pairs=[
            {"a": {"id": 0}, "b": {"id": 1}, "same": True},
            {"a": {"id": 0}, "b": {"vector": [0.0, 1.0]}, "same": False},
        ],
        task="verification",
    )
    assert (told["query"]["roc auc"], told["query"]["eer"]) == (1, 0)
    gallery = {"reference": {"id": 0}, "condition": {"id": 4}, "gallery": [1, 2], "relevant": [2]}
    looked = arrows.evaluate(
        [gallery],
        task="conditional",
        configurations={"half": {"query": {"compose": ["$reference", "$condition"]}}},
    )
    assert looked["half"]["recall@1"] == 1
    assert looked["reference only"]["recall@1"] == 0


# ── classifying and verifying ────────────────────────────────────────────────────────────────


def test_things_are_classified_by_what_is_stored(arrows: Any) -> None:
    found = arrows.classify([{"id": 0}, {"vector": [1.0, 0.1]}], label="even", k=1, explain=True)
    assert [one.label for one in found] == [False, True]
    assert [one.voters["knn"][0]["id"] for one in found] == [1, 0]
    with pytest.raises(TypeError, match="unknown options: lable"):
        arrows.classify([{"id": 0}], lable="even")
    with pytest.raises(TypeError, match="a list of inputs"):
        arrows.classify({"id": 0}, label="even")


def test_classifiers_are_kept_taught_and_dropped(arrows: Any) -> None:
    made = arrows.make_classifier(
        "k", label="even", method="prototypes", fit={"what": [], "keep_means": True}
    )
    assert made.fitted["means"]["prototypes"]["counts"] == [2, 3]
    assert arrows.classifier("k") == made
    assert [kept.name for kept in arrows.classifiers()] == ["k"]
    left = {"vector": [-1.0, 0.0]}
    taught = arrows.teach_classifier("k", [{**left, "label": "left"}], momentum=0.5)
    assert taught.fitted["means"]["prototypes"]["labels"] == [False, True, "left"]
    assert arrows.classify([left], classifier="k")[0].label == "left"
    arrows.drop_classifier("k")
    assert arrows.classifiers() == []


def test_pairs_are_verified_by_a_threshold_that_is_kept(arrows: Any) -> None:
    pairs = [{"a": {"id": a}, "b": {"id": b}, "same": b - a == 1}
             for a in range(5) for b in range(a + 1, 5)]  # fmt: skip
    made = arrows.choose_threshold("t", pairs=pairs, target_far=0.2)
    assert arrows.threshold("t") == made
    assert made.tar.share == 1.0
    assert made.far.share <= 0.2
    assert [kept.name for kept in arrows.thresholds()] == ["t"]
    near, far = arrows.verify(
        pairs=[{"a": {"id": 0}, "b": {"id": 1}}, {"a": {"id": 0}, "b": {"id": 4}}], threshold="t"
    )
    assert (near.decision, far.decision) == ("same", "different")
    claim = arrows.verify({"id": 0}, claim=True, label="even", threshold=0.5)
    assert (claim[0].decision, claim[0].enrolled, claim.threshold) == ("same", 2, None)
    arrows.drop_threshold("t")
    assert arrows.thresholds() == []


# ── querying ─────────────────────────────────────────────────────────────────────────────────


def test_a_text_finds_itself(films: Any) -> None:
    found = films.query(FILMS[1].text, k=2, with_vectors=True)
    assert len(found) == 2
    assert (found[0].id, found[0].text) == (2, FILMS[1].text)
    assert found[0].score == pytest.approx(1, abs=1e-3)
    assert found[0].score >= found[1].score
    assert len(found[0].vectors["default"]) > 0
    assert (found.matches, found.exact, found.explain) == (3, True, None)
    assert found.took_ms >= 0


@pytest.mark.parametrize("vector", [[1.0, 0.0], (1, 0), np.array([1.0, 0.0])])
def test_a_vector_finds_its_neighbours_in_order(arrows: Any, vector: Any) -> None:
    found = arrows.query(vector=vector)
    assert [hit.id for hit in found] == [0, 1, 2, 3, 4]
    assert [hit.score for hit in found] == pytest.approx(np.cos(np.arange(5) / 5), abs=1e-5)


def test_a_point_finds_its_neighbours_without_itself(arrows: Any) -> None:
    assert [hit.id for hit in arrows.query(id=4)] == [3, 2, 1, 0]
    with pytest.raises(NotFoundError) as caught:
        arrows.query(id="4")
    assert caught.value.code == "point-not-found"


def test_every_option_of_a_query_has_its_effect(arrows: Any) -> None:
    found = arrows.query(
        vector=[1.0, 0.0],
        using="default",
        filter=F("even") == True,  # noqa: E712  # builds a filter
        k=2,
        offset=1,
        score_threshold=0.9,
        fields=["n"],
        with_text=False,
        ef=32,
        exact=True,
        explain=True,
    )
    assert [(hit.id, hit.attributes) for hit in found] == [(2, {"n": 2})]
    assert (found.matches, found.exact) == (3, True)
    assert found.plan in ("exact", "graph", "mixed")
    assert found.explain


def test_queries_of_a_batch_are_answered_in_order_each_with_its_filter(arrows: Any) -> None:
    first, second, third = arrows.query_batch(
        [
            Query(vector=[1.0, 0.0], k=1),
            {"id": 0, "filter": F("n").is_in([3, 4]), "k": 5},
            Query(vector=[0.0, 1.0], filter={"n": {"$lt": 0}}),
        ]
    )
    assert [hit.id for hit in first] == [0]
    assert [hit.id for hit in second] == [3, 4]
    assert (len(third), third.matches, third.plan) == (0, 0, "empty")
    with pytest.raises(InvalidRequestError) as caught:
        arrows.query_batch([Query(vector=[1.0, 0.0]), Query(vector=[1.0])])
    assert caught.value.pointer == "/queries/1/vector"


def test_hits_are_reranked_by_what_their_attributes_say(films: Any) -> None:
    films.patch(ids=[1, 2], set={"title": "a tale of the sea"})
    films.patch(ids=[2], set={"title": "tea"})
    rerank = Rerank("tiny-cross", field="title", query="the sea")
    found = films.query("anything", k=3, rerank=rerank)
    assert found[0].id == 1
    assert [hit.rerank_score is None for hit in found] == [False, False, True]
    same = {"model": "tiny-cross", "template": "{title}", "query": "the sea"}
    assert [hit.id for hit in films.query("anything", k=3, rerank=same)] == [
        hit.id for hit in found
    ]


def test_a_wrong_filter_is_refused_with_its_place(films: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        films.query("a whale", filter={"year": {"$above": 1}})
    assert caught.value.code == "invalid-filter"
    assert caught.value.pointer == "/filter/year/$above"
    assert caught.value.request_id


def test_numbers_the_service_cannot_use_are_refused_with_their_place(arrows: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        arrows.query(vector=[float("nan"), 1.0])
    assert (caught.value.code, caught.value.pointer) == ("vector-not-finite", "/vector")


# ── what is kept with a collection ───────────────────────────────────────────────────────────


def test_banks_of_queries_and_calibrations_are_kept_until_they_are_dropped(arrows: Any) -> None:
    bank = arrows.put_query_bank("asked", [{"vector": [1.0, 0.0]}, {"vector": [0.0, 1.0]}], k=1)
    assert (bank.queries, bank.wins) == (2, None)
    assert arrows.query_bank("asked") == bank
    assert [one.name for one in arrows.query_banks()] == ["asked"]
    plain = arrows.query(vector=[1.0, 0.1], k=5)
    corrected = arrows.query(
        vector=[1.0, 0.1], k=5, correct={"bank": "asked", "force": True}, explain=True
    )
    assert sorted(hit.id for hit in corrected) == sorted(hit.id for hit in plain)
    assert corrected[0].score < plain[0].score

    curve = arrows.put_calibration(
        "sure", scores=[0.1, 0.2, 0.3, 0.7, 0.8, 0.9] * 5, matches=([False] * 3 + [True] * 3) * 5
    )
    assert arrows.calibration("sure") == curve
    assert [one.name for one in arrows.calibrations()] == ["sure"]
    arrows.drop_query_bank("asked")
    arrows.drop_calibration("sure")
    assert (arrows.query_banks(), arrows.calibrations()) == ([], [])


# ── completeness ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("owner", [Client, Collection, AsyncClient, AsyncCollection])
def test_every_method_is_used_against_the_real_service(owner: type) -> None:
    here = Path(__file__)
    text = "".join(path.read_text("utf-8") for path in (here, here.with_name("test_snapshots.py")))
    methods = {name for name in vars(owner) if not name.startswith("_")} - {"close", "aclose"}
    assert {name for name in methods if f".{name}(" not in text} == set()
