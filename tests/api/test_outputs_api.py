"""What else than one vector `/v1/embeddings` gives, and what reranking makes of it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.api.embeddings import _groups
from app.service.reranking import max_sim, overlap
from app.types import Sparse
from tests.encoders.several import DENSE, LOGITS, TOKENS, write_several
from tests.reference_backend import ReferenceBackend

from .harness import MODELS, InProcess, running, settings

TEXTS = ["red fox", "the old man and the sea"]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(MODELS / "tiny", models / "tiny")
    write_several(models / "several", DENSE + TOKENS + LOGITS)
    write_several(models / "late", TOKENS)
    write_several(models / "words", LOGITS)
    chosen = settings(models.parent, models_dir=models, encoders="tiny,several,late,words")
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        yield app


def made(app: InProcess, texts: list[str] = TEXTS, **more: Any) -> list[Any]:
    answer = app.post("/v1/embeddings", {"input": texts, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["total_tokens"] > len(texts)
    return [one["embedding"] for one in answer.json()["data"]]


def test_all_outputs_are_those_that_are_asked_for_alone(ready: InProcess) -> None:
    alone = {
        kind: made(ready, model="several", output=kind) for kind in ("dense", "tokens", "sparse")
    }
    for place, one in enumerate(made(ready, model="several", output="all")):
        assert set(one) == set(alone)
        np.testing.assert_allclose(one["dense"], alone["dense"][place], atol=1e-5)
        np.testing.assert_allclose(one["tokens"], alone["tokens"][place], atol=1e-5)
        assert one["sparse"]["indices"] == alone["sparse"][place]["indices"]


def test_a_matrix_in_base64_has_its_shape(ready: InProcess) -> None:
    plain = made(ready, model="late", output="tokens")
    jinas = made(ready, model="late", return_multivector=True, encoding_format="base64")
    for matrix, packed in zip(plain, jinas, strict=True):
        numbers = np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(packed["shape"])
        np.testing.assert_allclose(numbers, matrix, atol=1e-6)


def test_sparse_indices_ascend_and_weights_are_above_zero(ready: InProcess) -> None:
    for one in made(ready, model="words", output="sparse", encoding_format="base64"):
        assert one["indices"] == sorted(set(one["indices"]))
        assert len(one["indices"]) == len(one["values"])
        assert min(one["values"]) > 0


@pytest.mark.parametrize(
    ("model", "output"),
    [("tiny", "tokens"), ("tiny", "all"), ("late", "dense"), ("late", "sparse")],
)
def test_an_output_that_an_encoder_does_not_make_is_refused(
    ready: InProcess, model: str, output: str
) -> None:
    body = {"input": "x", "model": model, "output": output}
    problem = ready.post("/v1/embeddings", body)
    assert (problem.status_code, problem.json()["pointer"]) == (422, "/output")
    if output == "dense":
        problem = ready.put("/v1/collections/c", {"encoder": model})
        assert (problem.status_code, problem.json()["pointer"]) == (422, "/encoder")


def test_models_say_what_they_make(ready: InProcess) -> None:
    listed = {one["id"]: one["outputs"] for one in ready.get("/v1/models").json()["data"]}
    assert listed["several"] == ["dense", "tokens", "sparse"]
    assert (listed["late"], listed["words"], listed["tiny"]) == (["tokens"], ["sparse"], ["dense"])


@pytest.mark.parametrize("model", ["late", "words"])
def test_documents_are_reranked_by_the_likeness_of_tokens_or_words(
    ready: InProcess, model: str
) -> None:
    documents = ["tea at sea", "a red fox", "the old man and the sea"]
    body = {"model": model, "query": "old man", "documents": documents}
    answer = ready.post("/v1/rerank", body).json()
    output = {"late": "tokens", "words": "sparse"}[model]
    query, *others = made(ready, ["old man", *documents], model=model, output=output)
    for one in answer["results"]:
        other = others[one["index"]]
        if model == "late":
            expected = max_sim(np.float32(query), np.float32(other))
        else:
            expected = overlap(
                *(Sparse(np.array(s["indices"]), np.float32(s["values"])) for s in (query, other))
            )
        assert one["relevance_score"] == pytest.approx(expected, rel=1e-4)
    found = [one["relevance_score"] for one in answer["results"]]
    assert found == sorted(found, reverse=True)


LONG = "the old man and the sea " * 20  # more tokens than these encoders read


@pytest.mark.parametrize("encoding", ["float", "base64", "int8", "ubinary"])
def test_outputs_larger_than_a_piece_are_written_like_small_ones(
    ready: InProcess, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a", LONG, "red fox", LONG + "tea", "b"]
    for model, output in (("several", "all"), ("late", "tokens"), ("words", "sparse")):
        body = {"model": model, "output": output, "encoding_format": encoding}
        whole = made(ready, texts, **body)
        with monkeypatch.context() as patched:
            patched.setattr("app.api.embeddings._PIECE_NUMBERS", 50)
            assert made(ready, texts, **body) == whole


def test_no_piece_of_an_answer_has_more_numbers_than_a_piece() -> None:
    small, large = np.zeros((1, 16), np.float32), np.zeros((600, 16), np.float32)
    outputs = [small, small, large, large, *[small] * 1500]
    groups = list(_groups(outputs))
    assert [place for start, end in groups for place in range(start, end)] == [*range(len(outputs))]
    assert all(
        end == start + 1 or sum(map(np.size, outputs[start:end])) <= 8192 for start, end in groups
    )


def test_the_outputs_of_a_request_have_a_bound_together(
    ready: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.embedding.MOST_NUMBERS", 1000)
    body = {"model": "late", "output": "tokens", "input": [LONG] * 2}
    problem = ready.post("/v1/embeddings", body)
    assert problem.status_code == 422
    assert problem.json()["type"].endswith(":limit-exceeded")
    assert problem.json()["pointer"] == "/input"


def test_what_is_too_long_is_refused_by_encoders_of_other_outputs_too(ready: InProcess) -> None:
    body = {"model": "several", "output": "all", "truncate": False}
    short = made(ready, TEXTS, model="several", output="all")
    assert made(ready, TEXTS, **body) == short
    problem = ready.post("/v1/embeddings", {**body, "input": ["x", LONG]})
    assert (problem.status_code, problem.json()["pointer"]) == (422, "/input/1")


def test_documents_are_reranked_in_portions_as_together(
    ready: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = ["tea at sea", "a red fox", "the old man and the sea", "fog"]
    body = {"model": "late", "query": "old man", "documents": documents}
    whole = ready.post("/v1/rerank", body).json()
    monkeypatch.setattr("app.service.reranking.PORTION", 3)
    parts = ready.post("/v1/rerank", body).json()
    assert parts["results"] == whole["results"]
    assert parts["usage"] == whole["usage"]
