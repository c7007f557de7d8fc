"""What any request meets before and after its endpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.backends.base import CollectionInfo
from app.wire.status import Limits
from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings

JSON = {"content-type": "application/json"}


def problem_code(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:likewise:problem:")


def test_the_service_says_what_it_is(plain: InProcess) -> None:
    expected = {"name": "likewise", "version": __version__, "api": "v1"}
    assert plain.get("/").json() == plain.get("/v1/info").json() == expected
    assert plain.get("/healthz").json() == {"status": "ok"}


def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    with running(settings(tmp_path, max_k=7), ReferenceBackend()) as app:
        limits = app.get("/v1/limits").json()
    assert limits["max_k"] == 7
    assert limits["max_filter_depth"] == 32
    assert set(limits) == set(Limits.model_fields)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route-not-found"),
        ("GET", "/v1/info/", 404, "route-not-found"),
        ("GET", "/v1/collections/a%2Fb", 404, "route-not-found"),
        ("POST", "/v1/collections/a", 405, "method-not-allowed"),
        ("PUT", "/healthz", 405, "method-not-allowed"),
        ("BREW", "/healthz", 405, "method-not-allowed"),
    ],
)
def test_what_no_route_takes_is_a_problem_document(
    plain: InProcess, method: str, path: str, status: int, code: str
) -> None:
    answer = plain.send(method, path)
    assert (answer.status_code, problem_code(answer)) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_refused_method_is_told_all_that_the_path_takes(plain: InProcess) -> None:
    answer = plain.send("POST", "/v1/collections/a")
    assert answer.headers["allow"] == "DELETE, GET, PATCH, PUT"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_refused(plain: InProcess, headers: dict[str, str]) -> None:
    answer = plain.send("PUT", "/v1/collections/c", content=b"{}", headers=headers)
    assert (answer.status_code, problem_code(answer)) == (415, "unsupported-content-type")
    assert plain.get("/v1/collections").json() == {"collections": []}


def test_a_charset_beside_the_type_is_no_matter(plain: InProcess) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    answer = plain.send("PUT", "/v1/collections/c", content=b"{}", headers=headers)
    assert answer.status_code == 201


@pytest.fixture
def small(tmp_path: Path) -> Iterator[InProcess]:
    """An application that takes bodies of 100 bytes."""
    with running(settings(tmp_path, max_body_bytes=100), ReferenceBackend()) as app:
        app.put("/v1/collections/c", {"dimension": 1})
        yield app


def test_a_body_above_the_limit_is_refused_before_it_is_read(small: InProcess) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b" " * 101

    answer = small.send(
        "PUT", "/v1/collections/d", content=body(), headers={**JSON, "content-length": "101"}
    )
    assert (answer.status_code, problem_code(answer)) == (413, "body-too-large")
    assert answer.json()["context"] == {"limit": 100}


def test_a_body_of_unknown_length_is_refused_while_it_is_read(small: InProcess) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 60

    answer = small.send("PUT", "/v1/collections/d", content=endless(), headers=JSON)
    assert (answer.status_code, problem_code(answer)) == (413, "body-too-large")


def test_a_body_of_exactly_the_limit_is_taken(small: InProcess) -> None:
    content = b'{"dimension": 1}'.ljust(100)
    assert small.send("PUT", "/v1/collections/d", content=content, headers=JSON).status_code == 201


def test_a_nonsensical_content_length_is_refused(plain: InProcess) -> None:
    for length in ("-1", "x", "", "1_0"):
        answer = plain.send(
            "PUT", "/v1/collections/d", content=b"{}", headers={**JSON, "content-length": length}
        )
        assert answer.status_code == 400, length
    answer = plain.send(
        "PUT", "/v1/collections/d", content=b"{}", headers={**JSON, "content-length": "9" * 5000}
    )
    assert answer.status_code == 413


def test_a_sane_request_id_is_kept_and_another_is_replaced(plain: InProcess) -> None:
    def sent(value: bytes) -> str:
        return plain.send("GET", "/healthz", headers={"x-request-id": value}).headers[
            "x-request-id"
        ]

    assert sent(b"req-1.A:b_c") == "req-1.A:b_c"
    for insane in (b"", b"a b", b"a\tb", b"\xff", b"x" * 129):
        assert sent(insane) != insane.decode("latin-1")
        assert len(sent(insane)) == 32
    assert sent(b"") != sent(b"")


class Failing(ReferenceBackend):
    """A backend with a bug."""

    def describe_all(self) -> list[CollectionInfo]:
        raise RuntimeError("secret of the inside")


def test_an_unforeseen_failure_is_a_plain_500_and_the_log_has_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings(tmp_path), Failing()) as app:
        answer = app.send("GET", "/v1/collections", headers={"x-request-id": "abc"})
        assert app.get("/healthz").status_code == 200
    assert (answer.status_code, problem_code(answer)) == (500, "internal")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "abc"
    assert "secret" not in answer.text
    assert "secret of the inside" in caplog.text


def test_a_request_is_logged_by_its_route_and_without_its_contents(
    plain: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="app.api.middleware"):
        plain.put("/v1/collections/films", {"dimension": 1})
        plain.post("/v1/collections/films/query", {"vector": [77777]})
        plain.get("/v1/collections/no name")
        plain.get("/hush")
    facts = [getattr(record, "facts", {}) for record in caplog.records]
    facts = [{k: v for k, v in one.items() if k != "ms"} for one in facts if one]
    one = "/v1/collections/{name}"
    query = f"{one}/query"
    assert facts == [
        {"method": "PUT", "path": one, "collection": "films", "status": 201},
        {"method": "POST", "path": query, "collection": "films", "status": 200},
        {"method": "GET", "path": one, "status": 422, "problem": "invalid-name"},
        {"method": "GET", "path": "-", "status": 404, "problem": "route-not-found"},
    ]
    assert "hush" not in json.dumps(facts) + caplog.text
    assert "77777" not in caplog.text
