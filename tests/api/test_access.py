"""The gate: which scope opens which route, and that no spelling of a path goes past it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.routing import Route

from app.access.grants import Grant, Scope
from app.access.guard import Guard
from app.api.access import NEEDS
from app.api.app import create_app
from app.backends.base import Answer, CollectionInfo, Search
from app.types import Definition
from tests.reference_backend import ReferenceBackend

from .harness import InProcess, running, settings

DOCS = Path(__file__).parents[2] / "docs"
JSON = {"content-type": "application/json"}
KEYS = {
    scope: (Grant(f"{scope.value}-key", frozenset({scope})), f"key-of-{scope.value}".encode())
    for scope in Scope
}
DOCS_ONLY = (Grant("docs-key", frozenset({Scope.ADMIN}), ("docs-*",)), b"key-of-docs")


class Noting(ReferenceBackend):
    """A backend that notes which collections anybody got at."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[str] = set()

    def definition(self, name: str) -> Definition:
        self.touched.add(name)
        return super().definition(name)

    def describe(self, name: str) -> CollectionInfo:
        self.touched.add(name)
        return super().describe(name)

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        self.touched.add(name)
        return super().search(name, searches, mark)

    def drop(self, name: str) -> None:
        self.touched.add(name)
        super().drop(name)


@pytest.fixture(scope="module")
def backend() -> Noting:
    return Noting()


@pytest.fixture(scope="module")
def started_guarded(
    tmp_path_factory: pytest.TempPathFactory, backend: Noting
) -> Iterator[InProcess]:
    """An application with a key for each scope, and one for `docs-*` alone."""
    guard = Guard(fixed_keys=[*KEYS.values(), DOCS_ONLY])
    with running(settings(tmp_path_factory.mktemp("guarded")), backend, guard=guard) as app:
        app.wait_for_encoders(key=KEYS[Scope.READ][1].decode())
        yield app


@pytest.fixture
def guarded(started_guarded: InProcess) -> InProcess:
    """The same with two collections, `docs-a` and `other`."""
    for name in ("docs-a", "other"):
        put = {"json": {"dimension": 1}, "headers": bearer(Scope.ADMIN)}
        assert started_guarded.send("PUT", f"/v1/collections/{name}", **put).is_success
    return started_guarded


def bearer(key: Scope | bytes) -> dict[str, str]:
    raw = KEYS[key][1] if isinstance(key, Scope) else key
    return {"authorization": f"Bearer {raw.decode()}"}


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:likewise:problem:")


def routes() -> set[str]:
    """Method and template of all that the application serves."""
    app = create_app(settings(Path("/nonexistent")), backend=ReferenceBackend())
    return set(walk(app.routes))


def walk(found: Iterable[Any]) -> Iterator[str]:
    """Routes, also those of a router that newer FastAPIs include as one."""
    for route in found:
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"})
        else:
            assert not route.include_context.prefix, f"{route}: the gate knows no such route"
            yield from walk(route.original_router.routes)


# ── the table ────────────────────────────────────────────────────────────────────────────────


def test_every_route_has_a_row_that_says_what_it_needs() -> None:
    found = routes()
    assert len(found) >= 23
    assert found <= set(NEEDS), "a row is missing in app/api/access.py"


def test_whatever_names_a_collection_calls_it_name() -> None:
    """The gate checks the parameter of that name against the patterns of the key."""
    for place in NEEDS:
        if "/collections/" in place:
            assert place.split(" ")[1].startswith("/v1/collections/{name}"), place


def test_what_needs_no_key_is_little_and_has_no_parameters() -> None:
    opened = {place for place, need in NEEDS.items() if need.access is None}
    assert opened == {
        "GET /healthz", "GET /readyz", "GET /docs", "GET /docs/oauth2-redirect",
        "GET /openapi.json",
    }  # fmt: skip


def test_a_method_that_changes_something_needs_more_than_reading() -> None:
    asks = (
        r"(query|query:batch|get|count|facets|scroll|points:export|embeddings|embed|rerank|"
        r"evaluate|classify|verify)$"
    )
    reads = re.compile(asks)
    for place, need in NEEDS.items():
        method, path = place.split(" ")
        if method != "GET" and not (method == "POST" and reads.search(path)):
            assert need.access in (Scope.WRITE, Scope.ADMIN), place


def test_the_page_on_security_has_the_same_table() -> None:
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `((?:GET|PUT|POST|PATCH|DELETE) [^`]+)` \| ([^|]+?) \|", page, re.M)
    assert dict(rows) == {
        place: "none" if need.access is None else f"`{need.access.value}`"
        for place, need in NEEDS.items()
    }


# ── scope × route ────────────────────────────────────────────────────────────────────────────


def path_of(place: str) -> tuple[str, str]:
    method, template = place.split(" ")
    return method, re.sub(r"\{\w+\}", "docs-nobody", template)


@pytest.mark.parametrize("place", NEEDS)
def test_a_route_opens_for_its_scope_and_those_above_it_only(
    guarded: InProcess, place: str
) -> None:
    method, path = path_of(place)
    need = NEEDS[place]
    for scope in [None, *Scope]:
        headers = {} if scope is None else bearer(scope)
        answer = guarded.send(method, path, headers=headers)
        if need.access is None or (scope is not None and KEYS[scope][0].holds(need.access)):
            assert answer.status_code not in (401, 403), (place, scope)
        elif scope is None:
            assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == 'Bearer realm="likewise"'
        else:
            assert (answer.status_code, code_of(answer)) == (403, "forbidden")
            assert answer.json()["context"] == {"scope": need.access.value}
            assert f'scope="{need.access.value}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("place", [place for place in NEEDS if "{name}" in place])
def test_a_key_for_some_collections_opens_no_other(guarded: InProcess, place: str) -> None:
    method, path = path_of(place)
    mine = guarded.send(method, path, headers=bearer(DOCS_ONLY[1]))
    assert mine.status_code not in (401, 403)
    for name in ("other", "nobody", "docs", "DOCS-nobody", "xdocs-nobody"):
        theirs = guarded.send(
            method, path.replace("docs-nobody", name), headers=bearer(DOCS_ONLY[1])
        )
        assert (theirs.status_code, code_of(theirs)) == (403, "forbidden")
        assert name not in theirs.text, "whether there is one is not theirs to know"


def test_what_concerns_all_collections_needs_a_key_for_all(guarded: InProcess) -> None:
    needs_all = [place for place, need in NEEDS.items() if need.all_collections]
    assert "GET /metrics" in needs_all
    for place in needs_all:
        method, path = path_of(place)
        assert guarded.send(method, path, headers=bearer(DOCS_ONLY[1])).status_code == 403


def test_the_list_shows_the_collections_of_the_key(guarded: InProcess) -> None:
    def listed(key: Scope | bytes) -> list[str]:
        answer = guarded.send("GET", "/v1/collections", headers=bearer(key))
        return [info["name"] for info in answer.json()["collections"]]

    assert listed(Scope.READ) == ["docs-a", "other"]
    assert listed(DOCS_ONLY[1]) == ["docs-a"]


def test_a_stranger_learns_whether_the_service_is_ready_and_no_more(guarded: InProcess) -> None:
    for headers in ({}, bearer(b"wrong"), bearer(DOCS_ONLY[1]), bearer(Scope.METRICS)):
        answer = guarded.send("GET", "/readyz", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "components": {}})
    told = guarded.send("GET", "/readyz", headers=bearer(Scope.READ)).json()
    assert set(told["components"]) >= {"engine", "encoders"}


# ── what has no route ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/nowhere", "/v1/info/", "/V1/info", "//v1/info", "/healthz/"])
def test_an_unknown_path_is_unknown_only_to_those_with_a_key(guarded: InProcess, path: str) -> None:
    assert guarded.send("GET", path).status_code == 401
    answer = guarded.send("GET", path, headers=bearer(Scope.METRICS))
    assert (answer.status_code, code_of(answer)) == (404, "route-not-found")


def test_a_wrong_method_is_told_the_right_ones_only_with_a_key(guarded: InProcess) -> None:
    path = "/v1/collections/docs-a"
    for method in ("OPTIONS", "HEAD", "POST", "TRACE", "get"):
        assert guarded.send(method, path).status_code == 401
    answer = guarded.send("POST", path, headers=bearer(Scope.READ))
    assert (answer.status_code, code_of(answer)) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, PATCH, PUT"
    assert guarded.send("PUT", "/healthz").status_code == 401


def test_a_route_without_a_row_is_closed(tmp_path: Path) -> None:
    guard = Guard(fixed_keys=[KEYS[Scope.ADMIN]])
    with running(settings(tmp_path), ReferenceBackend(), guard=guard) as app:
        app.app.add_api_route("/v1/forgotten", lambda: "open", include_in_schema=False)
        assert app.send("GET", "/v1/forgotten").status_code == 401
        assert app.send("GET", "/v1/forgotten", headers=bearer(Scope.ADMIN)).status_code == 404


# ── credentials ──────────────────────────────────────────────────────────────────────────────

READ_KEY = KEYS[Scope.READ][1].decode()


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Bearer {READ_KEY}")],
        [("Authorization", f"bearer  {READ_KEY} ")],
        [("x-api-key", READ_KEY)],
        [("X-API-Key", READ_KEY), ("authorization", f"Bearer {READ_KEY}")],
        [("X-API-Key", READ_KEY), ("authorization", "Basic dTpw")],
    ],
)
def test_a_key_may_come_in_either_header(
    guarded: InProcess, headers: list[tuple[str, str]]
) -> None:
    assert guarded.send("GET", "/v1/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", READ_KEY)],
        [("authorization", f"Basic {READ_KEY}")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer{READ_KEY}")],
        [("authorization", f"Bearer {READ_KEY}x")],
        [("authorization", f"Bearer {READ_KEY} {READ_KEY}")],
        [("authorization", b"Bearer \xff\xfe")],
        [("x-api-key", "")],
        [("x-api-key", f"Bearer {READ_KEY}")],
        [("cookie", f"key={READ_KEY}")],
        [("x-api-key", READ_KEY), ("authorization", "Bearer other")],
        [("x-api-key", READ_KEY), ("x-api-key", "other")],
        [("authorization", "Bearer other"), ("authorization", f"Bearer {READ_KEY}")],
    ],
)
def test_anything_else_is_no_key(guarded: InProcess, headers: list[tuple[str, Any]]) -> None:
    answer = guarded.send("GET", "/v1/info", headers=headers)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert READ_KEY not in answer.text + str(answer.headers)


def test_a_key_in_the_query_is_not_looked_at(guarded: InProcess) -> None:
    for name in ("api_key", "key", "token", "access_token"):
        assert guarded.send("GET", f"/v1/info?{name}={READ_KEY}").status_code == 401


@pytest.mark.parametrize("key", [None, b"wrong", KEYS[Scope.METRICS][1]])
def test_a_refusal_comes_before_the_body_is_read(guarded: InProcess, key: bytes | None) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    headers = JSON if key is None else JSON | bearer(key)
    for path in ("/v1/collections/docs-a/query", "/v1/collections/docs-a/points/get"):
        answer = guarded.send("POST", path, content=body(), headers=headers)
        assert answer.status_code == (403 if key == KEYS[Scope.METRICS][1] else 401)
    assert not read


# ── spellings ────────────────────────────────────────────────────────────────────────────────

ODD = [
    "/v1/collections/docs-a%2F..%2Fother/query",
    "/v1/collections/docs-a/../other/query",
    "/v1/collections/docs-a/%2e%2e/other/query",
    "/v1/collections/docs-a%2f%2e%2e%2fother/query",
    "/v1/collections//other/query",
    "//v1/collections/other/query",
    "/v1/collections/other/query/",
    "/v1/collections/other/query%0a",
    "/v1/collections/other%0a/query",
    "/v1/collections/docs-a%00other/query",
    "/v1/collections/other?name=docs-a",
    "/v1/collections/other;docs-a/query",
    "/v1/collections/%6fther/query",
    "/v1/collections/%6f%74%68%65%72/query",
    "/v1/collections/OTHER/query",
    "/V1/collections/other/query",
    "/v1/Collections/other/query",
    "/v1/collections/./other/query",
    "/v1/./collections/other/query",
    "/healthz/../v1/collections/other/query",
    "/healthz%2f..%2fv1/collections/other",
    "/v1/collections/docs-*/query",
    "/v1/collections/%256fther/query",
    "/v1/collections/docs-a%23/../other/query",
    "http://likewise/v1/collections/other/query",
]


async def asked(app: InProcess, method: str, raw: bytes, key: bytes | None) -> int:
    """The status of a request whose path is spelled exactly so, decoded as uvicorn decodes it."""
    path, _, query = raw.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "server": ("likewise", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(b"content-type", b"application/json")]
        + ([] if key is None else [(b"authorization", b"Bearer " + key)]),
    }
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"vector": [1], "filter": {}}'}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app.app(scope, receive, send)
    return status[0]


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_no_spelling_of_a_path_gets_at_another_collection(
    guarded: InProcess, backend: Noting, method: str, path: str
) -> None:
    backend.touched.clear()
    assert guarded.run(asked(guarded, method, path.encode(), None)) == 401
    assert guarded.run(asked(guarded, method, path.encode(), DOCS_ONLY[1])) in (403, 404, 405)
    assert not backend.touched


pieces = st.sampled_from(
    ["/", "//", "%2f", "%2F", ".", "..", "%2e", "%252e", "v1", "V1", "collections", "docs-a",
     "docs-", "other", "%6fther", "points", "query", "query:batch", "count", "%00", "%0a", "?",
     ";", "#", "*", "%c3%a9", "%ff", " ", "healthz", "readyz", "\\"]
)  # fmt: skip


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    st.sampled_from(["", "/v1/collections/", "/v1/collections/other", "/v1/collections/docs-a"]),
    st.lists(pieces, max_size=8),
)
def test_no_mixture_of_pieces_gets_at_another_collection(
    guarded: InProcess, backend: Noting, method: str, start: str, rest: list[str]
) -> None:
    path = (start + "".join(rest)).encode() or b"/"
    backend.touched.clear()
    status = guarded.run(asked(guarded, method, path, None))
    assert status == 401 or path.partition(b"?")[0] in (b"/healthz", b"/readyz")
    assert not backend.touched
    guarded.run(asked(guarded, method, path, DOCS_ONLY[1]))
    assert all(name.startswith("docs-") for name in backend.touched), backend.touched


def test_the_router_and_the_gate_see_the_same_name(guarded: InProcess, backend: Noting) -> None:
    """An encoded spelling of a name that is the caller's works, as it does without keys."""
    backend.touched.clear()
    path = b"/v1/collections/%64%6F%63s-a/query"
    assert guarded.run(asked(guarded, "POST", path, DOCS_ONLY[1])) == 200
    assert backend.touched == {"docs-a"}


# ── the log ──────────────────────────────────────────────────────────────────────────────────


def test_a_line_of_the_log_has_the_name_of_the_key_and_never_the_key(
    guarded: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    path = "/v1/collections/docs-a"
    with caplog.at_level(logging.DEBUG):
        ids = [
            guarded.send("GET", path, headers=headers).headers["x-request-id"]
            for headers in ({}, bearer(b"a-wrong-key"), bearer(Scope.METRICS), bearer(Scope.READ))
        ]
    facts = [record.facts for record in caplog.records if hasattr(record, "facts")]
    template = "/v1/collections/{name}"
    assert [(one["status"], one["path"], one.get("key")) for one in facts] == [
        (401, template, None),
        (401, template, None),
        (403, template, "metrics-key"),
        (200, template, "read-key"),
    ]
    assert len(set(ids)) == 4
    ours = [record for record in caplog.records if record.name.startswith("app")]
    said = json.dumps([record.getMessage() for record in ours] + facts)
    for secret in ("a-wrong-key", *(key.decode() for _, key in KEYS.values())):
        assert secret not in said


# ── the document ─────────────────────────────────────────────────────────────────────────────


def test_the_document_says_which_operations_need_a_key(
    guarded: InProcess, plain: InProcess
) -> None:
    schemes = guarded.get("/openapi.json").json()["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["key"]["name"]) == ("bearer", "X-API-Key")
    document = guarded.get("/openapi.json").json()
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert plain.get("/openapi.json").json()["security"] == [{}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            is_open = NEEDS[f"{method.upper()} {path}"].access is None
            assert (operation.get("security") == []) == is_open, path
            assert ({"401", "403"} <= set(operation["responses"])) != is_open, path


def test_a_service_without_keys_has_no_gate(plain: InProcess) -> None:
    assert plain.send("GET", "/v1/info", headers=bearer(b"whatever")).status_code == 200
    assert type(plain.app.middleware_stack).__name__ == "Shortcut"
