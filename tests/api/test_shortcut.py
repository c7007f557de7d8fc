"""The short way to the query routes and the long one through the router are the same."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .harness import InProcess

JSON = {"content-type": "application/json"}
BODIES: list[Any] = [
    {"vector": [1, 0, 0], "k": 2},
    {"vector": [1, 0]},
    {"vector": "no base64"},
    {"vector": [1, 0, 0], "nonsense": 1},
    [],
]


def by_both_ways(app: InProcess, path: str, **request: Any) -> list[tuple[int, Any, set[str]]]:
    """Status, body and names of headers, by the shortcut and by the router alone."""
    routes = app.app.middleware_stack
    assert routes is not None
    answers = []
    for stack in (routes, routes._otherwise):  # type: ignore[attr-defined]
        app.app.middleware_stack = stack
        try:
            answer: httpx.Response = app.send("POST", path, **request)
        finally:
            app.app.middleware_stack = routes
        body = answer.json()
        for volatile in ("took_ms", "request_id"):
            body.pop(volatile, None)
        for result in body.get("results", ()):
            result.pop("took_ms")
        answers.append((answer.status_code, body, set(answer.headers)))
    return answers


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("last", ["query", "query:batch"])
def test_both_ways_give_the_same_answers(vectors: InProcess, last: str, body: Any) -> None:
    points = [{"id": n, "vector": [1, n, 0], "text": "t", "attributes": {"n": n}} for n in range(4)]
    vectors.put("/v1/collections/c/points", {"points": points})
    asked = {"queries": [body]} if last == "query:batch" else body
    short, long = by_both_ways(vectors, f"/v1/collections/c/{last}", json=asked)
    assert short == long


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/v1/collections/nobody/query", {"json": {"vector": [1]}}),
        ("/v1/collections/-/query", {"json": {"vector": [1]}}),
        ("/v1/collections/a%20b/query", {"json": {"vector": [1]}}),
        ("/v1/collections/a%2Fb/query", {"json": {"vector": [1]}}),
        ("/v1/collections//query", {"json": {"vector": [1]}}),
        ("/v1/collections/c/query/", {"json": {"vector": [1]}}),
        ("/v1/collections/c/query:other", {"json": {"vector": [1]}}),
        ("/v1/collections/c/query", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (
            "/v1/collections/c/query",
            {"content": b"{", "headers": {"content-type": "application/json"}},
        ),
    ],
)
def test_both_ways_refuse_the_same(plain: InProcess, path: str, request_: dict[str, Any]) -> None:
    short, long = by_both_ways(plain, path, **request_)
    assert short == long
    assert short[0] >= 400


def test_other_methods_take_the_long_way(plain: InProcess) -> None:
    answer = plain.get("/v1/collections/c/query")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
