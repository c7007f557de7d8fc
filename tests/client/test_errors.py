"""Refusing answers become typed errors."""

from __future__ import annotations

import json
import pickle
from http import HTTPStatus

import likewise
import pytest
from likewise import (
    AccessError,
    ApiError,
    ConflictError,
    InvalidRequestError,
    LikewiseError,
    NotFoundError,
    OverloadedError,
    ServerError,
    TransportError,
    UnavailableError,
    VersionError,
)
from likewise._requests import Request, Response, count, error_from_response, result_from_response

REQUEST = Request("POST", "/v1/collections/films/query")


def refused(status: int, body: object, **headers: str) -> LikewiseError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_response(REQUEST, Response(status, named, content))


def document(code: str, **more: object) -> dict[str, object]:
    return {"type": f"urn:likewise:problem:{code}", "title": "Title", "detail": "Detail.", **more}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidRequestError),
        (401, AccessError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidRequestError),
        (415, InvalidRequestError),
        (422, InvalidRequestError),
        (429, OverloadedError),
        (500, ServerError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (507, UnavailableError),
    ],
)
def test_the_status_decides_the_class(status: int, expected: type[ApiError]) -> None:
    assert type(refused(status, document("some-code"))) is expected


def test_an_error_carries_everything_the_document_says() -> None:
    error = refused(
        422,
        document(
            "dimension-mismatch",
            pointer="/points/0/vector",
            errors=[{"pointer": "/a", "detail": "first"}, {"pointer": "/b", "detail": "second"}],
            context={"expected": 3, "received": 2},
            request_id="r1",
        ),
        retry_after="3",
    )
    assert isinstance(error, InvalidRequestError)
    assert (error.status, error.code, error.title) == (422, "dimension-mismatch", "Title")
    assert (error.detail, error.pointer, error.request_id) == ("Detail.", "/points/0/vector", "r1")
    assert error.errors == (("/a", "first"), ("/b", "second"))
    assert error.context == {"expected": 3, "received": 2}
    assert error.retry_after_s == 3.0
    assert str(error) == "Detail. [422 dimension-mismatch, at /points/0/vector, request r1]"


def test_the_request_id_is_found_in_the_header_too() -> None:
    error = refused(500, document("internal"), x_request_id="r2")
    assert isinstance(error, ServerError)
    assert error.request_id == "r2"


def test_the_pointer_to_the_whole_body_reads_as_words() -> None:
    assert "at the whole body" in str(refused(422, document("invalid-query", pointer="")))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad gateway</html>", b"\xff", [], {"detail": "x"}, {"type": "about:blank"},
     {"type": 5}, document("x", errors=5), document("x", context=5)],
)  # fmt: skip
def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same(body: object) -> None:
    error = refused(502, body, x_request_id="r3")
    assert type(error) is UnavailableError
    assert (error.code, error.title, error.request_id) == ("http-502", "Bad Gateway", "r3")


def test_an_unknown_status_is_an_error_all_the_same() -> None:
    assert isinstance(refused(499, b""), InvalidRequestError)
    assert isinstance(refused(302, b""), InvalidRequestError)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, document("route-not-found")),
        (405, document("method-not-allowed")),
        (404, b"404 page not found"),
        (404, {"detail": "Not Found"}),
    ],
)
def test_a_service_without_our_routes_speaks_another_api(status: int, body: object) -> None:
    error = refused(status, body)
    assert type(error) is VersionError
    assert "POST /v1/collections/films/query" in str(error)


@pytest.mark.parametrize("content", [b"", b"pong", b"[]", b"{}", b'{"count": "many"}', b"\xff"])
def test_an_accepted_answer_in_another_language_is_a_version_error(content: bytes) -> None:
    with pytest.raises(VersionError, match=r"points/count answered 200"):
        result_from_response(count("films", None), Response(HTTPStatus.OK, {}, content))


@pytest.mark.parametrize(
    "error",
    [
        refused(429, document("overloaded", pointer="/x")),
        TransportError("gone", reached=False, timed_out=True),
        VersionError("other"),
    ],
)
def test_errors_cross_process_borders(error: LikewiseError) -> None:
    error.points_written = 5
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_every_error_class_is_exported_and_below_the_root() -> None:
    def below(parent: type[LikewiseError]) -> set[type[LikewiseError]]:
        children = set(parent.__subclasses__())
        return children.union(*(below(child) for child in children)) if children else set()

    exported = {
        value
        for value in vars(likewise).values()
        if isinstance(value, type) and issubclass(value, LikewiseError)
    }
    assert exported == below(LikewiseError) | {LikewiseError}
