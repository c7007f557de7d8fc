"""Fields of tokens and of sparse vectors that encoders fill, from a text to the answer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.encoders.several import DENSE, LOGITS, TOKENS, write_several
from tests.metrics.reading import read, value
from tests.reference_backend import ReferenceBackend

from .harness import MODELS, InProcess, running, settings

TEXTS = ["red fox", "the old man and the sea", "tea"]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(MODELS / "tiny", models / "tiny")
    write_several(models / "several", DENSE + TOKENS + LOGITS)
    write_several(models / "late", TOKENS)
    chosen = settings(models.parent, models_dir=models, encoders="tiny,several,late")
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        fields = {
            "dense": {"encoder": "several"},
            "words": {"encoder": "several", "kind": "tokens"},
            "terms": {"encoder": "several", "kind": "sparse"},
            "late": {"encoder": "late", "kind": "tokens"},
        }
        assert app.put("/v1/collections/c", {"vectors": fields}).status_code == 201
        points = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
        assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
        yield app


def stored(app: InProcess) -> list[dict[str, Any]]:
    wanted = {"ids": list(range(len(TEXTS))), "with_vectors": True}
    found = app.post("/v1/collections/c/points/get", wanted).json()["points"]
    return [point["vectors"] for point in found]


def made(app: InProcess, model: str, output: str) -> list[Any]:
    body = {"input": TEXTS, "model": model, "output": output, "input_type": "document"}
    return [one["embedding"] for one in app.post("/v1/embeddings", body).json()["data"]]


def test_a_model_says_how_long_the_vectors_of_its_tokens_are(ready: InProcess) -> None:
    models = {one["id"]: one for one in ready.get("/v1/models").json()["data"]}
    assert models["several"]["token_dimension"] == 16
    assert "token_dimension" not in models["tiny"]


def test_a_field_of_tokens_takes_its_dimension_from_the_encoder(ready: InProcess) -> None:
    vectors = ready.get("/v1/collections/c").json()["vectors"]
    assert vectors["words"] == {
        "kind": "tokens",
        "dimension": 16,
        "metric": "cosine",
        "encoder": "several",
    }
    spec = {"kind": "tokens", "encoder": "several", "dimension": 6}
    refused = ready.put("/v1/collections/other", {"vectors": {"v": spec}})
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/vectors/v/dimension")


def test_each_field_holds_what_its_encoder_makes_of_the_text(ready: InProcess) -> None:
    found = stored(ready)
    for name, model, output in (
        ("dense", "several", "dense"),
        ("words", "several", "tokens"),
        ("late", "late", "tokens"),
    ):
        for vectors, expected in zip(found, made(ready, model, output), strict=True):
            np.testing.assert_allclose(vectors[name], expected, atol=1e-5)
    for vectors, expected in zip(found, made(ready, "several", "sparse"), strict=True):
        assert vectors["terms"]["indices"] == expected["indices"]
        np.testing.assert_allclose(vectors["terms"]["values"], expected["values"], atol=1e-5)


def test_a_text_that_feeds_several_fields_of_one_encoder_is_run_once(ready: InProcess) -> None:
    def run() -> float:
        samples = read(ready.get("/metrics").text)
        return value(samples, "likewise_encoder_batch_texts_sum", {"encoder": "several"})

    before = run()
    ready.put("/v1/collections/c/points", {"points": [{"id": 99, "text": "an owl at night"}]})
    assert run() == before + 1
    ready.post("/v1/collections/c/points/delete", {"ids": [99]})


def test_a_text_finds_tokens_by_the_encoder_of_their_field(ready: InProcess) -> None:
    query = {"query": {"text": "the old man and the sea"}, "using": "words", "k": 1}
    (found,) = ready.post("/v1/collections/c/query", query).json()["points"]
    assert found["id"] == 1
    assert found["score"] == pytest.approx(1, abs=1e-3)


def test_a_text_finds_weights_by_the_encoder_of_their_field(ready: InProcess) -> None:
    text = "the old man and a fox"
    body = {"input": [text], "model": "several", "output": "sparse", "input_type": "query"}
    asked = _weights(ready.post("/v1/embeddings", body).json()["data"][0]["embedding"])
    documents = [_weights(one) for one in made(ready, "several", "sparse")]
    expected = {
        number: sum(asked[index] * one[index] for index in asked.keys() & one.keys())
        for number, one in enumerate(documents)
        if asked.keys() & one.keys()
    }
    query = {"query": {"text": text}, "using": "terms"}
    found = ready.post("/v1/collections/c/query", query).json()
    assert found["matches"] == len(expected)
    scores = {point["id"]: point["score"] for point in found["points"]}
    assert scores == pytest.approx(expected, rel=1e-4)
    assert [*scores] == sorted(expected, key=lambda number: -expected[number])
    short = ready.post("/v1/collections/c/query", {"text": text, "using": "terms"}).json()
    assert [point["id"] for point in short["points"]] == [*scores]


def _weights(embedding: Any) -> dict[int, float]:
    return dict(zip(embedding["indices"], embedding["values"], strict=True))


def test_an_encoder_that_makes_no_such_vectors_is_none_for_the_field(ready: InProcess) -> None:
    query = {"query": {"text": "tea", "encoder": "tiny"}, "using": "words"}
    answer = ready.post("/v1/collections/c/query", query)
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/query/encoder")
