"""Records, point sets and named experts over HTTP: inputs that are more than a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.encoders.pipelines import write_points, write_record, write_router
from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    models = tmp_path_factory.mktemp("models")
    write_record(models / "record")
    write_points(models / "points")
    write_router(models / "router")
    names = ["record", "points", "router", "law", "medicine"]
    chosen = settings(
        tmp_path_factory.mktemp("data"),
        models_dir=models,
        default_encoder="law",
        encoders=",".join(names),
    )
    with running(chosen, ReferenceBackend()) as started:
        started.wait_for_encoders()
        yield started


def embed(app: InProcess, model: str, inputs: Any) -> np.ndarray:
    answer = app.post("/v1/embeddings", {"input": inputs, "model": model})
    assert answer.status_code == 200, answer.text
    return np.array([one["embedding"] for one in answer.json()["data"]])


def test_records_are_encoded_and_overlap_shows_in_their_products(app: InProcess) -> None:
    base = {"brand": "acme", "tags": ["a", "b"], "price": 12.5}
    records = [base, {**base, "price": 12.6}, {"brand": "other", "tags": ["z"], "price": 99}]
    same, near, far = embed(app, "record", [{"record": record} for record in records])
    assert float(same @ near) > 0.95 > 0.5 > float(same @ far)
    (alone,) = embed(app, "record", {"record": base})
    np.testing.assert_allclose(alone, same, atol=1e-6)


def test_turned_point_sets_are_the_same(app: InProcess) -> None:
    points = np.random.RandomState(1).standard_normal((10, 3))
    turned = points[:, [1, 2, 0]] + 5  # an even permutation of the axes is a rotation
    first, second = embed(app, "points", [{"points": points.tolist()}, {"points": turned.tolist()}])
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_text_goes_to_the_expert_that_it_names(app: InProcess) -> None:
    inputs = [{"text": "a cat", "expert": name} for name in ("law", "medicine")]
    law, medicine, routed = embed(app, "router", [*inputs, "a cat"])
    np.testing.assert_allclose(law, embed(app, "law", "a cat")[0], atol=1e-6)
    np.testing.assert_allclose(medicine, embed(app, "medicine", "a cat")[0], atol=1e-6)
    assert min(np.linalg.norm(routed - law), np.linalg.norm(routed - medicine)) < 1e-6


@pytest.mark.parametrize(
    ("model", "given", "pointer"),
    [
        ("record", {"record": {}}, "/input/0/record"),
        ("record", {"record": ["a"]}, "/input/0/record"),
        ("record", {"record": {"else": 1}}, "/input/0/record"),
        ("record", {"record": {"price": "12"}}, "/input/0/record/price"),
        ("record", "a text", "/input/0"),
        ("record", {"record": {"brand": "a"}, "points": []}, "/input/0"),
        ("law", {"record": {"brand": "a"}}, "/input/0"),
        ("law", {"text": "a", "expert": "law"}, "/input/0"),
        ("router", {"text": "a", "expert": "cook"}, "/input/0"),
        ("router", {"text": "a", "expert": 4}, "/input/0/expert"),
        ("router", {"expert": "law"}, "/input/0"),
        ("router", {"record": {"brand": "a"}, "expert": "law"}, "/input/0"),
        ("points", {"points": []}, "/input/0/points"),
        ("points", {"points": [1, 2]}, "/input/0/points"),
        ("points", {"points": [[1, 2, 3, 4, 5]]}, "/input/0/points/0"),
        ("points", {"points": [[1, 2, 3], [1, 2]]}, "/input/0/points/1"),
        ("points", {"points": [[1, 2, 3], [1, 2, 1e31]]}, "/input/0/points/1"),
        ("points", {"points": [[1, 2, 3], [1, 2, True]]}, "/input/0/points/1"),
        ("points", {"points": [[1, 2, 3]] * 2}, "/input/0"),
        ("points", {"points": [[1, 2]] * 5}, "/input/0"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_with_its_place(
    app: InProcess, model: str, given: Any, pointer: str
) -> None:
    answer = app.post("/v1/embeddings", {"input": [given], "model": model})
    assert answer.status_code == 422, answer.text
    assert answer.json()["pointer"] == pointer


def test_a_record_of_too_many_characters_is_refused(app: InProcess) -> None:
    record = {"brand": "x" * 200_000}
    answer = app.post("/v1/embeddings", {"input": {"record": record}, "model": "record"})
    assert answer.status_code == 422
