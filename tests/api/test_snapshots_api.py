"""Snapshots over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.backends.local import LocalBackend

from .harness import InProcess, running, settings

BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InProcess, Path]]:
    folder = tmp_path_factory.mktemp("snapshots")
    chosen = settings(folder, max_snapshot_bytes=1 << 20)
    backend = LocalBackend(chosen.data_dir, sync=False, head_points=64)
    with running(chosen, backend) as app:
        app.wait_for_encoders()
        yield app, chosen.data_dir / "snapshots"


@pytest.fixture
def api(started: tuple[InProcess, Path]) -> Iterator[InProcess]:
    """An application with the collection "c" of three points, encoded from texts."""
    app, _ = started
    assert app.put("/v1/collections/c", {"schema": {"n": "integer"}}).status_code == 201
    points = [{"id": n, "text": f"text {n}", "attributes": {"n": n}} for n in range(3)]
    assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
    yield app
    app.drop_all()
    for snapshot in app.get("/v1/snapshots").json()["snapshots"]:
        assert app.delete(f"/v1/snapshots/{snapshot['name']}").status_code == 204


@pytest.fixture
def folder(started: tuple[InProcess, Path]) -> Path:
    return started[1]


def take(api: InProcess, name: str = "s") -> dict[str, Any]:
    answer = api.post("/v1/collections/c/snapshots", {"name": name})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:likewise:problem:{code}"
    return body


def put_file(api: InProcess, name: str, octets: bytes, **headers: str) -> httpx.Response:
    path = f"/v1/snapshots/{name}/file"
    return api.send("PUT", path, content=octets, headers={**BINARY, **headers})


def test_a_snapshot_is_taken_listed_described_and_dropped(api: InProcess) -> None:
    taken = take(api)
    assert (taken["name"], taken["collection"], taken["points"]) == ("s", "c", 3)
    assert api.get("/v1/snapshots").json() == {"snapshots": [taken]}
    assert api.get("/v1/snapshots/s").json() == taken
    problem(api.post("/v1/collections/c/snapshots", {"name": "s"}), 409, "snapshot-exists")
    assert api.delete("/v1/snapshots/s").status_code == 204
    problem(api.delete("/v1/snapshots/s"), 404, "snapshot-not-found")
    problem(api.get("/v1/snapshots/s"), 404, "snapshot-not-found")


def test_without_a_name_it_has_the_collections_and_the_time(api: InProcess) -> None:
    long = "a" * 64
    api.put(f"/v1/collections/{long}", {"dimension": 1})
    for collection in ("c", long):
        answer = api.post(f"/v1/collections/{collection}/snapshots", {})
        assert answer.status_code == 201
        name, moment = answer.json()["name"].rsplit("-", 1)
        assert collection.startswith(name)
        assert len(moment) == len("20261123T184700123Z")
        assert len(answer.json()["name"]) <= 64


def test_a_collection_comes_back_under_its_name_or_another(api: InProcess) -> None:
    take(api)
    question = {"text": "text 1", "k": 2}
    before = api.post("/v1/collections/c/query", question).json()["points"]
    problem(api.post("/v1/snapshots/s/restore", {}), 409, "collection-exists")
    answer = api.post("/v1/snapshots/s/restore", {"collection": "d"})
    assert answer.status_code == 201
    assert (answer.json()["name"], answer.json()["points"]) == ("d", 3)
    assert api.post("/v1/collections/d/query", question).json()["points"] == before
    api.post("/v1/collections/c/points/delete", {"filter": {}})
    assert api.post("/v1/snapshots/s/restore", {"replace": True}).status_code == 201
    assert api.post("/v1/collections/c/query", question).json()["points"] == before
    api.delete("/v1/collections/c")
    assert api.post("/v1/snapshots/s/restore", {}).json()["name"] == "c"


def test_a_file_goes_out_and_comes_back(api: InProcess) -> None:
    taken = take(api)
    answer = api.get("/v1/snapshots/s/file")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.likewise.snapshot"
    assert answer.headers["content-length"] == str(taken["size"])
    assert answer.headers["etag"] == f'"{taken["sha256"]}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="s.snapshot"'
    assert hashlib.sha256(answer.content).hexdigest() == taken["sha256"]
    kept = put_file(api, "t", answer.content, **{"X-Content-SHA256": taken["sha256"].upper()})
    assert kept.status_code == 201, kept.text
    assert kept.json() == {**taken, "name": "t"}
    problem(put_file(api, "t", answer.content), 409, "snapshot-exists")
    assert api.post("/v1/snapshots/t/restore", {"collection": "d"}).status_code == 201


def test_ranges_of_a_file_are_sent(api: InProcess) -> None:
    whole = api.get(f"/v1/snapshots/{take(api)['name']}/file").content
    etag = f'"{hashlib.sha256(whole).hexdigest()}"'
    size = len(whole)

    def ask(**headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return api.send("GET", "/v1/snapshots/s/file", headers=sent)

    for asked, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, size),
        (f"bytes=5-{size + 5}", 5, size),
    ):
        for more in ({}, {"if_range": etag}):
            answer = ask(range=asked, **more)
            assert answer.status_code == 206
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert answer.content == whole[start:end]
    for odd in (f"bytes={size}-", "bytes=9-3", "bytes=-5", "bytes=0-1,4-5", "lines=1-2", "x" * 99):
        answer = ask(range=odd)
        assert (answer.status_code, answer.content) == (200, whole), odd
    assert ask(range="bytes=1-2", if_range='"other"').status_code == 200


def test_an_upload_is_limited_by_its_declared_and_its_true_length(
    api: InProcess, folder: Path
) -> None:
    too_large = bytes((1 << 20) + 1)
    problem(put_file(api, "t", too_large), 413, "body-too-large")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(1 << 18)

    answer = api.send("PUT", "/v1/snapshots/t/file", content=pieces(), headers=BINARY)
    problem(answer, 413, "body-too-large")
    assert left(api, folder) == []


def left(api: InProcess, folder: Path) -> list[str]:
    """What an upload left behind; it is cleared away after the answer."""
    for _ in range(200):
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if not names:
            break
        api.run(asyncio.sleep(0.005))
    return names


def test_a_wrong_upload_is_refused_and_leaves_nothing(api: InProcess, folder: Path) -> None:
    take(api)
    octets = api.get("/v1/snapshots/s/file").content
    api.delete("/v1/snapshots/s")
    problem(put_file(api, "t", b"no snapshot"), 422, "invalid-snapshot")
    problem(put_file(api, "t", octets[:-1]), 422, "invalid-snapshot")
    problem(put_file(api, "t", b""), 422, "invalid-snapshot")
    wrong = put_file(api, "t", octets, **{"X-Content-SHA256": "0" * 64})
    problem(wrong, 422, "invalid-snapshot")
    problem(put_file(api, "t", octets, **{"X-Content-SHA256": "abc"}), 422, "invalid-field")
    for headers in ({"content-type": "application/json"}, {"content-encoding": "gzip"}):
        answer = put_file(api, "t", octets, **headers)
        problem(answer, 415, "unsupported-content-type")
    assert left(api, folder) == []


@pytest.mark.parametrize("name", ["..", ".hidden", "a%2Fb", "a%00", "%2e%2e%2fc", "a" * 65, "é"])
def test_a_name_that_could_be_a_path_is_none(api: InProcess, name: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/file", None),
        ("DELETE", "", None),
        ("POST", "/restore", {}),
        ("PUT", "/file", None),
    ):
        url = httpx.URL(f"http://likewise/v1/snapshots/{name}{path}")
        headers = BINARY if method == "PUT" else {}
        answer = api.run(api._client.request(method, url, json=body, headers=headers))
        assert answer.status_code in (404, 405, 422), (name, path)
    asked = api.post("/v1/collections/c/snapshots", {"name": "../c"})
    assert problem(asked, 422, "invalid-name")["pointer"] == "/name"
    take(api)
    asked = api.post("/v1/snapshots/s/restore", {"collection": "../c"})
    assert problem(asked, 422, "invalid-name")["pointer"] == "/collection"


def test_a_collection_with_an_unknown_encoder_is_restored_all_the_same(
    api: InProcess, started: tuple[InProcess, Path], tmp_path: Path
) -> None:
    """It is searched by vectors; only texts want for the encoder."""
    from tests.snapshots.making import content, filled, opened

    other = opened(tmp_path)
    filled(other)
    other.snapshots.take("c", "s")
    octets = content(other, "s")
    other.close()
    assert put_file(api, "t", octets).status_code == 201
    restored = api.post("/v1/snapshots/t/restore", {"collection": "d"})
    assert restored.status_code == 201, restored.text
    assert restored.json()["vectors"]["title"]["encoder"] == "nobody-has-it"
    path = "/v1/collections/d/query"
    by_vector = api.post(path, {"vector": [1, 2, 3], "using": "title", "k": 1})
    assert by_vector.status_code == 200
    problem(api.post(path, {"text": "x", "using": "title"}), 404, "encoder-not-found")


def test_snapshots_wait_for_each_other_and_too_many_are_refused(api: InProcess) -> None:
    async def many() -> list[httpx.Response]:
        asked = [
            api.ask("POST", "/v1/collections/c/snapshots", {"name": f"s{n}"}) for n in range(12)
        ]
        return list(await asyncio.gather(*asked))

    statuses = [answer.status_code for answer in api.run(many())]
    assert set(statuses) <= {201, 429}
    assert statuses.count(201) >= 5


def test_a_backend_without_snapshots_says_so(plain: InProcess) -> None:
    assert plain.get("/v1/snapshots").json() == {"snapshots": []}
    plain.put("/v1/collections/c", {"dimension": 1})
    problem(plain.post("/v1/collections/c/snapshots", {}), 422, "invalid-request")
