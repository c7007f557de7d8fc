"""Imports and exports: every line accounted for, and the one gives back what the other took."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.backends.base import Page
from app.errors import CollectionNotFound, CorruptFile, Overloaded
from app.types import Point
from tests.attributes.strategies import attributes
from tests.reference_backend import ReferenceBackend

from . import harness
from .harness import InProcess, running
from .network import listening

LINES = {"content-type": "application/x-ndjson"}
TOLD = LINES | {"accept": "application/x-ndjson"}
IMPORT = "/v1/collections/c/points:import"
EXPORT = "/v1/collections/c/points:export"


def lines(points: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(point).encode() + b"\n" for point in points)


def some(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "vector": [1, n, 0]} for n in range(first, last + 1)]


def sent(api: InProcess, body: Any, query: str = "", **headers: str) -> httpx.Response:
    return api.send("POST", IMPORT + query, content=body, headers=LINES | headers)


def exported(api: InProcess, **wanted: Any) -> list[dict[str, Any]]:
    answer = api.post(EXPORT, wanted)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


def ids(api: InProcess) -> list[Any]:
    return [point["id"] for point in exported(api, with_vectors=False)]


# ── import ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_all_lines_are_written_and_counted(vectors: InProcess, encoding: str) -> None:
    body = b"\n" + lines(some(1, 1200)) + b"  \r\n" + json.dumps(some(0, 0)[0]).encode()
    body = gzip.compress(body) if encoding == "gzip" else body
    answer = sent(vectors, body, **{"content-encoding": encoding})
    assert answer.json() == {
        "state": "done", "next_line": 1204, "upserted": 1201, "failed": 0, "blank": 2, "errors": [],
    }  # fmt: skip
    assert ids(vectors) == list(range(1201))


def test_texts_are_encoded(texts: InProcess) -> None:
    body = lines({"id": n, "text": f"a fox and {n} hens"} for n in range(5))
    answer = texts.send("POST", IMPORT.replace("/c/", "/t/"), content=body, headers=LINES)
    assert answer.json()["upserted"] == 5
    found = texts.post("/v1/collections/t/query", {"text": "a fox and 3 hens", "k": 1}).json()
    assert found["points"][0]["id"] == 3


def test_the_later_of_two_lines_with_one_id_stays_in_one_batch_or_two(vectors: InProcess) -> None:
    points = [{"id": 1, "vector": [1, 0, 0], "attributes": {"n": n}} for n in (1, 2)]
    points += some(2, 600)
    points += [
        {"id": 1, "vector": [1, 0, 0], "attributes": {"n": 3}},
        {"id": "1", "vector": [1] * 3},
    ]
    assert sent(vectors, lines(points)).json()["upserted"] == len(points)
    (found,) = vectors.post("/v1/collections/c/points/get", {"ids": [1]}).json()["points"]
    assert found["attributes"] == {"n": 3}
    assert vectors.count("c") == 601


def test_a_bad_line_does_not_replace_the_good_one_before_it(vectors: InProcess) -> None:
    body = lines([{"id": 1, "vector": [1, 2, 3]}, {"id": 1, "vector": [1]}])
    assert sent(vectors, body, "?on_error=skip").json()["failed"] == 1
    assert ids(vectors) == [1]


BAD = [
    (b"{", "malformed-body", ""),
    (b'\xff{"id":1}', "malformed-body", ""),
    (b"[1]", "invalid-field", ""),
    (b'{"id":9,"extra":1}', "invalid-field", "/extra"),
    (b'{"id":9,"vector":[1,2]}', "dimension-mismatch", "/vector"),
    (b'{"id":9,"vector":[1,2,"x"]}', "invalid-vector", "/vector/2"),
    (b'{"id":true,"vector":[1,2,3]}', "invalid-id", "/id"),
    (b'{"id":9}', "invalid-vector", ""),
    (b'{"id":9,"vector":[1,2,3],"attributes":{"year":""}}', "schema-violation", "/attributes/year"),
    (b"x" * 2000, "limit-exceeded", ""),
]  # fmt: skip


@pytest.fixture
def strict(tmp_path: Path) -> Any:
    with running(harness.settings(tmp_path, max_line_bytes=1000), ReferenceBackend()) as app:
        app.put("/v1/collections/c", {"dimension": 3, "schema": {"year": "integer"}})
        yield app


@pytest.mark.parametrize(("bad", "code", "pointer"), BAD, ids=[code for _, code, _ in BAD])
def test_the_first_bad_line_ends_an_import_and_those_before_it_are_written(
    strict: InProcess, bad: bytes, code: str, pointer: str
) -> None:
    body = lines(some(1, 3)) + b"\n" + bad + b"\n" + lines(some(4, 6))
    answer = sent(strict, body)
    problem = answer.json()
    assert answer.status_code in (400, 422)
    assert problem["type"] == f"urn:likewise:problem:{code}"
    assert problem.get("pointer") == pointer
    assert problem["context"]["line"] == problem["context"]["next_line"] == 5
    assert problem["context"]["upserted"] == 3
    assert ids(strict) == [1, 2, 3]


def test_bad_lines_can_be_left_out_and_are_listed(strict: InProcess) -> None:
    body = lines(some(1, 3)) + b"".join(bad + b"\n" for bad, _, _ in BAD) + lines(some(4, 700))
    answer = sent(strict, body, "?on_error=skip").json()
    assert (answer["upserted"], answer["failed"]) == (700, len(BAD))
    assert [(fault["line"], fault["code"], fault["pointer"]) for fault in answer["errors"]] == [
        (4 + at, code, pointer) for at, (_, code, pointer) in enumerate(BAD)
    ]
    assert "year" not in "".join(fault["detail"] for fault in answer["errors"])
    assert ids(strict) == list(range(1, 701))


def test_of_many_bad_lines_a_hundred_are_listed(vectors: InProcess) -> None:
    answer = sent(vectors, b"{\n" * 1500, "?on_error=skip").json()
    assert (answer["failed"], answer["next_line"], len(answer["errors"])) == (1500, 1501, 100)


def test_an_import_goes_on_from_a_line(vectors: InProcess) -> None:
    body = lines(some(1, 3)) + b"{\n" + lines(some(4, 5))
    assert sent(vectors, body).json()["context"]["next_line"] == 4
    answer = sent(vectors, body, "?from_line=5").json()
    assert (answer["upserted"], answer["next_line"]) == (2, 7)
    assert ids(vectors) == [1, 2, 3, 4, 5]


def test_progress_is_told_after_each_batch_and_at_the_end(vectors: InProcess) -> None:
    body = lines(some(1, 1100)) + b"{\n"

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 5000):
            yield body[at : at + 5000]
            await asyncio.sleep(0)

    answer = vectors.send("POST", IMPORT, content=slowly(), headers=TOLD)
    told = [json.loads(line) for line in answer.content.splitlines()]
    assert answer.status_code == 200
    assert [line["state"] for line in told[:-1]] == ["running"] * (len(told) - 1)
    assert told[0]["next_line"] <= 1025
    assert told[-1]["state"] == "failed"
    assert told[-1]["next_line"] == told[-1]["problem"]["context"]["line"] == 1101
    assert told[-1]["problem"]["status"] == 400


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?on_error=x", {}, 422),
        ("?from_line=0", {}, 422),
        ("?from_line=-1", {}, 422),
        ("?from_line=9999999999999999999", {}, 422),
        ("?other=1", {}, 422),
        ("", {"content-type": "application/json"}, 415),
        ("", {"content-encoding": "br"}, 415),
        ("", {"content-encoding": "gzip"}, 400),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson"])
def test_what_cannot_begin_has_the_status_of_its_error(
    vectors: InProcess, query: str, headers: dict[str, str], status: int, accept: str
) -> None:
    answer = sent(vectors, lines(some(1, 3)), query, accept=accept, **headers)
    assert answer.status_code == status
    assert vectors.count("c") == 0


def test_an_import_into_nothing_is_not_found(vectors: InProcess) -> None:
    for path in (IMPORT, EXPORT):
        path = path.replace("/c/", "/nobody/")
        body = {"content": b"", "headers": LINES} if path.endswith("import") else {"json": {}}
        assert vectors.send("POST", path, **body).status_code == 404


def test_an_empty_import_is_done(vectors: InProcess) -> None:
    assert sent(vectors, b"").json()["next_line"] == 1


def test_a_silent_body_is_given_up_and_its_lines_are_written(tmp_path: Path) -> None:
    with running(harness.settings(tmp_path, stream_idle_timeout=0.05), ReferenceBackend()) as app:
        app.put("/v1/collections/c", {"dimension": 3})

        async def stuck() -> AsyncIterator[bytes]:
            yield lines(some(1, 3)) + b'{"id"'
            await asyncio.sleep(30)

        answer = sent(app, stuck())
        assert answer.status_code == 408
        assert answer.json()["context"] == {"next_line": 4, "upserted": 3, "failed": 0}
        assert ids(app) == [1, 2, 3]


class Busy(ReferenceBackend):
    """A backend that is overloaded for the first few writes."""

    refusals = 3

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("not now")
        return super().upsert(name, points, mark)


class Replaced(ReferenceBackend):
    """A backend whose collection is dropped and made anew after its first write."""

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        upserted = super().upsert(name, points, mark)
        definition = self.definition(name)
        self.drop(name)
        self.create(name, definition)
        return upserted


def test_an_import_does_not_go_on_in_a_collection_that_was_made_anew(tmp_path: Path) -> None:
    with running(harness.settings(tmp_path), Replaced()) as app:
        app.put("/v1/collections/c", {"dimension": 3})
        answer = sent(app, lines(some(1, 600)))
        assert answer.status_code == 404
        assert answer.json()["context"]["next_line"] == 513
        assert app.count("c") == 0


def test_an_import_waits_for_an_overloaded_service(tmp_path: Path) -> None:
    with running(harness.settings(tmp_path), Busy()) as app:
        app.put("/v1/collections/c", {"dimension": 3})
        assert sent(app, lines(some(1, 3))).json()["upserted"] == 3


# ── export ───────────────────────────────────────────────────────────────────────────────────


def test_an_export_has_every_point_in_the_order_of_ids(vectors: InProcess) -> None:
    points = [{"id": str(n), "vector": [1, n, 0]} for n in range(50)] + some(0, 99)
    vectors.put("/v1/collections/c/points", {"points": points})
    whole = exported(vectors)
    texts = sorted(str(n) for n in range(50))
    assert [point["id"] for point in whole] == [*range(100), *texts]
    assert exported(vectors, after=98)[0]["id"] == 99
    assert exported(vectors, after=99) == whole[100:]
    assert exported(vectors, filter={"$id": [5, "5"]}) == [whole[5], whole[100 + texts.index("5")]]


def test_vectors_are_exported_as_asked_for(vectors: InProcess) -> None:
    sent(vectors, lines([{"id": 1, "vector": [0.1, 2, 3], "text": "t"}]))
    packed = base64.b64encode(np.array([0.1, 2, 3], "<f4").tobytes()).decode()
    whole = {"id": 1, "attributes": {}, "text": "t"}
    assert exported(vectors) == [whole | {"vectors": {"default": packed}}]
    assert exported(vectors, encoding_format="float") == [
        whole | {"vectors": {"default": [0.1, 2.0, 3.0]}}
    ]
    assert exported(vectors, with_vectors=False) == [whole]
    assert "text" not in exported(vectors, with_text=False)[0]


def test_an_export_is_compressed_if_that_is_accepted(vectors: InProcess) -> None:
    sent(vectors, lines(some(1, 300)))
    for accepted, encoding in [("gzip", "gzip"), ("gzip;q=0", None), ("br", None), ("", None)]:
        answer = vectors.send("POST", EXPORT, json={}, headers={"accept-encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert len(answer.content.splitlines()) == 300


@pytest.mark.parametrize(
    "wanted",
    [{"after": True}, {"filter": {"n": {"$x": 1}}}, {"encoding_format": "hex"}, {"limit": 1}],
)
def test_a_wrong_export_is_refused_before_it_begins(vectors: InProcess, wanted: Any) -> None:
    assert vectors.post(EXPORT, wanted).status_code == 422


class Failing(ReferenceBackend):
    """A backend whose second page is damaged."""

    pages = 0

    def scroll(self, name: str, **wanted: Any) -> Page:
        self.pages += 1
        if self.pages == 2:
            raise CorruptFile("damaged")
        return super().scroll(name, **wanted)


def test_an_export_that_fails_on_the_way_has_no_end(tmp_path: Path) -> None:
    with running(harness.settings(tmp_path), Failing()) as app:
        app.put("/v1/collections/c", {"dimension": 3})
        sent(app, lines(some(1, 100)))
        with pytest.raises(RuntimeError, match="response already started"):
            app.post(EXPORT, {})


class Vanishing(ReferenceBackend):
    """A backend whose collection is gone after the first page."""

    pages = 0

    def scroll(self, name: str, **wanted: Any) -> Page:
        self.pages += 1
        if self.pages == 2:
            raise CollectionNotFound(name)
        return super().scroll(name, **wanted)


class Succeeded(ReferenceBackend):
    """A backend whose collection is dropped and made anew, with points, after the first page."""

    pages = 0

    def scroll(self, name: str, **wanted: Any) -> Page:
        page = super().scroll(name, **wanted)
        self.pages += 1
        if self.pages == 1:
            definition = self.definition(name)
            self.drop(name)
            self.create(name, replace(definition, mark=""))
            points = [Point(n, {"default": np.ones(1, np.float32)}, {}) for n in range(100)]
            self.upsert(name, points)
        return page


@pytest.mark.parametrize("kind", [Vanishing, Succeeded])
def test_an_export_of_a_collection_that_goes_is_cut_short_and_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[ReferenceBackend]
) -> None:
    caplog.set_level(logging.INFO)
    with listening(harness.settings(tmp_path), kind()) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        points = [{"id": n, "vector": [1]} for n in range(100)]
        assert server.ask("PUT", "/v1/collections/c/points", {"points": points}).status == 200
        wire = server.wire().request("POST", EXPORT, b"{}")
        received = b""
        while piece := wire.socket.recv(1 << 16):
            received += piece
        wire.close()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.count(b'"id"') < 100
    assert not received.endswith(b"0\r\n\r\n")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    requests = [record.__dict__["facts"] for record in caplog.records if record.msg == "request"]
    assert requests[-1]["problem"] == "collection-not-found"


# ── both ─────────────────────────────────────────────────────────────────────────────────────

texts_ = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
numbers = st.floats(-(2.0**59), 2.0**59, width=32)
points = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 2**64 - 1) | texts_,
            "attributes": attributes,
            "vectors": st.dictionaries(
                st.sampled_from(["a", "b"]), st.lists(numbers, min_size=2, max_size=2), min_size=1
            ),
        },
        optional={"text": texts_},
    ),
    max_size=40,
    unique_by=lambda point: (type(point["id"]), point["id"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(points, st.sampled_from(["base64", "float"]), st.booleans())
def test_an_export_imported_gives_an_equal_collection(
    api: InProcess, points: list[dict[str, Any]], encoding: str, packed: bool
) -> None:
    api.drop_all()
    for name in ("c", "d"):
        fields = {"a": {"dimension": 2, "metric": "l2"}, "b": {"dimension": 2, "metric": "ip"}}
        api.put(f"/v1/collections/{name}", {"vectors": fields})
    assert sent(api, lines(points)).json()["upserted"] == len(points)
    body = api.post(EXPORT, {"encoding_format": encoding}).content
    headers = LINES | ({"content-encoding": "gzip"} if packed else {})
    answer = api.send(
        "POST",
        IMPORT.replace("/c/", "/d/"),
        content=gzip.compress(body) if packed else body,
        headers=headers,
    )
    assert answer.json()["upserted"] == len(points)
    assert api.post(EXPORT.replace("/c/", "/d/"), {"encoding_format": encoding}).content == body
    assert {point["id"] for point in exported(api)} == {point["id"] for point in points}
