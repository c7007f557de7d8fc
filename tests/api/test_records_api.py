"""Records end to end: points, queries and imports of a collection whose encoder reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from app.backends.local import LocalBackend
from tests.encoders.pipelines import write_record

from .harness import MODELS, InProcess, running, settings

C = "/v1/collections/goods"

GOODS: dict[str, dict[str, Any]] = {
    "tea": {"brand": "acme", "tags": ["green", "loose"], "price": 10},
    "pot": {"brand": "acme", "tags": ["clay"], "price": 60, "maker": {"country": "pt"}},
    "cup": {"brand": "other", "tags": ["clay"], "price": 11, "maker": {"country": "cn"}},
}


@pytest.fixture(scope="module")
def started_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    folder = tmp_path_factory.mktemp("records")
    shutil.copytree(MODELS / "tiny", folder / "models" / "tiny")
    write_record(folder / "models" / "features")
    chosen = settings(folder, models_dir=folder / "models", encoders="tiny,features")
    with running(chosen, LocalBackend(chosen.data_dir, sync=False)) as app:
        app.wait_for_encoders()
        yield app


@pytest.fixture
def api(started_records: InProcess) -> Iterator[InProcess]:
    app = started_records
    assert app.put(C, {"encoder": "features"}).status_code == 201
    points = [
        {"id": name, "record": record, "attributes": {"kind": name}}
        for name, record in GOODS.items()
    ]
    assert app.put(f"{C}/points", {"points": points}).json() == {"upserted": 3}
    yield app
    app.drop_all()


def found(api: InProcess, **query: Any) -> list[Any]:
    answer = api.post(f"{C}/query", query)
    assert answer.status_code == 200, answer.text
    return [point["id"] for point in answer.json()["points"]]


def fault(answer: Any) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status_code, body["type"].rpartition(":")[2], body.get("pointer")


def test_the_records_with_the_most_in_common_are_the_nearest(api: InProcess) -> None:
    for name, record in GOODS.items():
        assert found(api, record=record, k=1) == [name]
    assert found(api, record={"brand": "acme", "price": 58}, k=1) == ["pot"]
    assert found(api, record={"tags": ["clay"], "unknown": 1}, k=2, filter={"kind": "cup"}) == [
        "cup"
    ]
    batch = api.post(
        f"{C}/query:batch",
        {"queries": [{"record": GOODS["tea"], "k": 1}, {"id": "pot", "k": 1}]},
    )
    assert [one["points"][0]["id"] for one in batch.json()["results"]] == ["tea", "cup"]


def test_a_record_is_not_stored_and_its_vector_is(api: InProcess) -> None:
    asked = {"ids": ["tea"], "with_vectors": True}
    (point,) = api.post(f"{C}/points/get", asked).json()["points"]
    assert "record" not in point
    embedded = api.post(
        "/v1/embeddings", {"model": "features", "input": {"record": GOODS["tea"]}}
    ).json()["data"][0]["embedding"]
    assert point["vectors"]["default"] == pytest.approx(embedded, abs=1e-6)


def test_what_cannot_be_read_is_blamed_where_it_stands(api: InProcess) -> None:
    def put(*points: dict[str, Any]) -> Any:
        return fault(api.put(f"{C}/points", {"points": list(points)}))

    good = {"id": "new", "record": GOODS["tea"]}
    wrong = {"id": "bad", "record": {"brand": "a", "price": "much"}}
    assert put(good, wrong) == (422, "invalid-field", "/points/1/record/price")
    assert put(good, {"id": "bad", "record": {"x": 1}}) == (
        422, "invalid-field", "/points/1/record",
    )  # fmt: skip
    assert put({"id": "bad", "record": "tea"}) == (422, "invalid-field", "/points/0/record")
    assert put({"id": "bad", "text": "tea"}) == (422, "invalid-text", "/points/0/text")
    both = {"id": "bad", "record": GOODS["tea"], "vector": [0.1] * 64}
    assert put(both) == (422, "invalid-field", "/points/0/record")

    def ask(**query: Any) -> Any:
        return fault(api.post(f"{C}/query", query))

    assert ask(record={"price": []}) == (422, "invalid-field", "/record/price")
    assert ask(record={}) == (422, "invalid-field", "/record")
    assert ask(record=GOODS["tea"], text="tea") == (422, "invalid-query", "")
    assert len(found(api, record=GOODS["tea"], k=9)) == 3, "nothing was written"


def test_a_collection_of_texts_reads_no_records(api: InProcess) -> None:
    api.put("/v1/collections/texts", {"encoder": "tiny"})
    put = api.put("/v1/collections/texts/points", {"points": [{"id": 1, "record": {"a": 1}}]})
    assert fault(put) == (422, "invalid-text", "/points/0/record")
    asked = api.post("/v1/collections/texts/query", {"record": {"a": 1}})
    assert fault(asked) == (422, "invalid-text", "/record")


def test_an_import_leaves_out_the_lines_of_bad_records(api: InProcess) -> None:
    lines = [{"id": number, "record": {"brand": f"brand {number}"}} for number in range(20)]
    lines[3]["record"] = {"nothing": 1}
    lines[11]["record"] = {"price": "free"}
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    headers = {"content-type": "application/x-ndjson"}
    done = api.send("POST", f"{C}/points:import?on_error=skip", content=body, headers=headers)
    assert (done.json()["upserted"], done.json()["failed"]) == (18, 2)
    pointers = [(one["line"], one["pointer"]) for one in done.json()["errors"]]
    assert pointers == [(4, "/record"), (12, "/record/price")]
    assert found(api, record={"brand": "brand 7"}, k=1) == [7]
    ended = api.send("POST", f"{C}/points:import", content=body, headers=headers)
    assert fault(ended) == (422, "invalid-field", "/record")
