"""Models over HTTP: described, loaded and unloaded while requests come, and shorter vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.access.grants import Grant, Scope
from app.access.guard import Guard
from tests.encoders.layouts import graph, layout
from tests.reference_backend import ReferenceBackend

from .harness import MODELS, InProcess, running, settings


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def late(**config: Any) -> dict[str, bytes]:
    return layout(config={"matryoshka_dimensions": [4, 8], **config}) | {"model.onnx": graph()}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcess]:
    """A service whose models directory is its own: the tiny encoder, and one cut to 4 or 8."""
    shutil.copytree(MODELS / "tiny", tmp_path / "models" / "tiny")
    write(tmp_path / "models" / "nested", late())
    chosen = settings(tmp_path, models_dir=tmp_path / "models", encoders="tiny,nested")
    with running(chosen, ReferenceBackend()) as app:
        app.wait_for_encoders()
        yield app


def wait_until(app: InProcess, model: str, status: str) -> dict[str, Any]:
    while (found := app.get(f"/v1/models/{model}").json())["status"] == "loading":
        pass
    assert found["status"] == status, found
    return dict(found)


def test_one_model_is_described_as_in_the_list(app: InProcess) -> None:
    listed = {model["id"]: model for model in app.get("/v1/models").json()["data"]}
    assert app.get("/v1/models/tiny").json() == listed["tiny"]
    assert (listed["tiny"]["dimensions"], listed["nested"]["dimensions"]) == ([], [4, 8])
    answer = app.get("/v1/models/tinny")
    assert (answer.status_code, answer.json()["type"]) == (
        404,
        "urn:likewise:problem:encoder-not-found",
    )


def test_an_unloaded_model_stays_so_until_it_is_loaded(app: InProcess) -> None:
    assert app.put("/v1/collections/c", {"encoder": "tiny"}).status_code == 201
    unloaded = app.post("/v1/models/tiny/unload", None).json()
    assert (unloaded["status"], unloaded["detail"]) == ("unavailable", "unloaded on request")
    for _ in range(2):  # a text asks for its encoder, which does not bring this one back
        refused = app.post("/v1/embeddings", {"input": "a", "model": "tiny"})
        assert refused.status_code == 503
        assert "unloaded on request" in refused.json()["detail"]
    assert app.get("/readyz").json()["components"]["encoders"]["encoders"]["tiny"] == "unavailable"
    query = app.post("/v1/collections/c/query", {"vector": [1.0] * 32})
    assert query.status_code == 200, "vectors work meanwhile"
    assert app.post("/v1/models/tiny/load", None).json()["status"] in ("loading", "ready")
    wait_until(app, "tiny", "ready")
    assert app.post("/v1/embeddings", {"input": "a", "model": "tiny"}).status_code == 200
    for verb in ("load", "unload"):
        assert app.post(f"/v1/models/nobody/{verb}", None).status_code == 404


def test_a_folder_that_comes_while_the_service_runs_is_loaded(
    app: InProcess, tmp_path: Path
) -> None:
    write(tmp_path / "models" / "late", late())
    assert "late" in {model["id"] for model in app.get("/v1/models").json()["data"]}
    app.post("/v1/models/late/load", None)
    assert wait_until(app, "late", "ready")["dimension"] == 16
    write(tmp_path / "models" / "odd", late(architectures=["XForSequenceClassification"]))
    odd = app.post("/v1/models/odd/load", None).json()
    assert "odd" in app.get("/v1/models").text
    assert odd["status"] in ("loading", "unavailable")
    assert "is a classifier's" in wait_until(app, "odd", "unavailable")["detail"]
    refused = app.put("/v1/collections/c", {"encoder": "odd"})
    assert refused.status_code == 503
    assert refused.json()["pointer"] == "/encoder"


def test_embeddings_are_cut_to_the_lengths_that_the_model_was_made_for(app: InProcess) -> None:
    def embedded(**body: Any) -> Any:
        return app.post("/v1/embeddings", {"input": ["a cat"], "model": "nested", **body})

    whole = np.array(embedded().json()["data"][0]["embedding"])
    cut = np.array(embedded(dimensions=4).json()["data"][0]["embedding"])
    np.testing.assert_allclose(cut, whole[:4] / np.linalg.norm(whole[:4]), atol=1e-6)
    assert len(embedded(dimensions=16).json()["data"][0]["embedding"]) == 16
    refused = embedded(dimensions=5)
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/dimensions")
    assert "4, 8, 16 numbers" in refused.json()["detail"]


def test_a_collection_may_keep_shorter_vectors_than_its_encoder_makes(app: InProcess) -> None:
    vectors = {
        "short": {"encoder": "nested", "dimension": 4},
        "long": {"encoder": "nested"},
    }
    assert app.put("/v1/collections/c", {"vectors": vectors}).status_code == 201
    points = [{"id": n, "text": text} for n, text in enumerate(["a cat", "the red sea", "tea"])]
    assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
    found = app.post("/v1/collections/c/points/get", {"ids": [0], "with_vectors": True}).json()
    stored = {name: np.array(one) for name, one in found["points"][0]["vectors"].items()}
    assert {name: len(one) for name, one in stored.items()} == {"short": 4, "long": 16}
    first = stored["long"][:4]
    np.testing.assert_allclose(stored["short"], first / np.linalg.norm(first), atol=1e-6)
    for using in vectors:
        query = {"text": "the red sea", "using": using, "k": 1}
        (hit,) = app.post("/v1/collections/c/query", query).json()["points"]
        assert (hit["id"], hit["score"]) == (1, pytest.approx(1.0, abs=1e-5))
    refused = app.put("/v1/collections/d", {"encoder": "nested", "dimension": 5})
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/dimension")
    assert "4, 8, 16 numbers" in refused.json()["detail"]


def test_loading_and_unloading_are_for_admins_of_everything(tmp_path: Path) -> None:
    grants = {
        "reader-reader-reader": Grant("r", frozenset({Scope.READ})),
        "admin-of-a-part-only": Grant("a", frozenset({Scope.ADMIN}), ("docs-*",)),
        "admin-of-all-of-them": Grant("all", frozenset({Scope.ADMIN})),
    }
    guard = Guard(fixed_keys=[(grant, key.encode()) for key, grant in grants.items()])
    with running(settings(tmp_path), ReferenceBackend(), guard) as app:
        app.wait_for_encoders("admin-of-all-of-them")
        for key, allowed in zip(grants, (403, 403, 200), strict=True):
            headers = {"x-api-key": key}
            for verb in ("unload", "load"):
                answer = app.send("POST", f"/v1/models/tiny/{verb}", headers=headers)
                assert answer.status_code == allowed, json.dumps(answer.json())
            assert app.send("GET", "/v1/models/tiny", headers=headers).status_code == 200
