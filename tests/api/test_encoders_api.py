"""Encoders over HTTP: embeddings, the list of models, and what works while there are none."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings


def test_an_embedding_answer_has_the_shape_that_clients_expect(plain: InProcess) -> None:
    body = {"input": ["one", "two words"], "model": "tiny", "user": "u", "extra_body": {"x": 1}}
    answer = plain.post("/v1/embeddings", body).json()
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    assert [(one["object"], one["index"]) for one in answer["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    assert all(len(one["embedding"]) == 32 for one in answer["data"])
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 2


def test_base64_and_numbers_are_the_same_embedding(plain: InProcess) -> None:
    numbers = plain.post("/v1/embeddings", {"input": "x"}).json()["data"][0]["embedding"]
    text = plain.post("/v1/embeddings", {"input": "x", "encoding_format": "base64"}).json()
    decoded = np.frombuffer(base64.b64decode(text["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(np.float32(numbers), decoded)


def test_more_texts_than_the_encoder_takes_at_once_are_all_encoded(tmp_path: Path) -> None:
    texts = [f"text number {n}" for n in range(70)]
    with running(settings(tmp_path, encoder_queue=32), ReferenceBackend()) as app:
        app.wait_for_encoders()
        many = app.post("/v1/embeddings", {"input": texts}).json()["data"]
        last = app.post("/v1/embeddings", {"input": texts[-1]}).json()["data"]
    assert len(many) == 70
    np.testing.assert_allclose(many[-1]["embedding"], last[0]["embedding"], atol=1e-5)


def test_models_say_whether_they_can_be_used(plain: InProcess) -> None:
    listed = {model["id"]: model for model in plain.get("/v1/models").json()["data"]}
    assert listed["tiny"]["status"] == "ready"
    assert listed["tiny"]["dimension"] == 32


def test_ready_means_that_every_component_is(plain: InProcess) -> None:
    answer = plain.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert set(answer.json()["components"]) == {
        "engine",
        "encoders",
        "storage",
        "queues",
    }


@pytest.fixture
def without_encoder(tmp_path: Path) -> Path:
    """A models directory with an encoder whose files are nowhere to be had."""
    source = settings(tmp_path).models_dir / "tiny"
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "encoder.toml").write_bytes((source / "encoder.toml").read_bytes())
    return folder.parent


def test_without_an_encoder_vectors_still_work_and_texts_are_told_to_wait(
    tmp_path: Path, without_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(tmp_path, models_dir=without_encoder)
    with caplog.at_level(logging.WARNING), running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        health = app.get("/readyz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["components"]["encoders"]["status"] == "unavailable"
        assert "tiny" in health.json()["components"]["encoders"]["detail"]

        definition = {"vectors": {"own": {"dimension": 1, "metric": "l2"}, "body": {}}}
        assert app.put("/v1/collections/c", definition).status_code == 201
        points = "/v1/collections/c/points"
        point = {"id": 1, "vectors": {"own": [1]}}
        assert app.put(points, {"points": [point]}).status_code == 200
        query = {"vector": [1], "using": "own"}
        assert app.post("/v1/collections/c/query", query).json()["matches"] == 1

        for answer in (
            app.put(
                points, {"points": [{"id": 2, "vectors": {"own": [1]}}, {"id": 3, "text": "x"}]}
            ),
            app.post("/v1/collections/c/query", {"text": "x"}),
            app.post("/v1/embeddings", {"input": "x"}),
        ):
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:likewise:problem:encoder-unavailable"
            assert int(answer.headers["retry-after"]) > 0
        assert app.count("c") == 1
    told = [record for record in caplog.records if record.name == "app.service.encoding"]
    assert len(told) == 1, "one line, and no second attempt within a minute"


def test_an_encoder_that_is_not_installed_leaves_the_service_degraded(tmp_path: Path) -> None:
    chosen = settings(tmp_path, default_encoder="nobody")
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        assert app.get("/readyz").json()["status"] == "degraded"
        assert app.put("/v1/collections/c", {}).status_code == 404
        assert app.put("/v1/collections/c", {"dimension": 1}).status_code == 201


def test_a_collection_has_its_encoder_loaded_though_no_setting_named_it(tmp_path: Path) -> None:
    chosen = settings(tmp_path, default_encoder="nobody")
    with running(chosen, ReferenceBackend()) as app:
        assert app.put("/v1/collections/c", {"encoder": "tiny"}).status_code == 201
        ready = False
        while not ready:
            models = app.get("/v1/models").json()["data"]
            ready = {model["id"]: model["status"] for model in models}["tiny"] == "ready"
        answer = app.put("/v1/collections/c/points", {"points": [{"id": 1, "text": "fox"}]})
        assert answer.status_code == 200


def test_before_and_after_it_runs_the_service_says_so(tmp_path: Path) -> None:
    app = InProcess(settings(tmp_path), ReferenceBackend())
    assert app.get("/readyz").json() == {"status": "starting", "components": {}}
    assert app.get("/v1/collections").status_code == 503
    app.start()
    service = app.app.state.service
    app.run(service.close())
    answer = app.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    answer = app.put("/v1/collections/c", {"dimension": 1})
    assert answer.json()["type"] == "urn:likewise:problem:shutting-down"
    assert answer.headers["retry-after"]
    app.stop()
