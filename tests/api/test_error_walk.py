"""A walk over the tree of errors: each class is provoked by a request to a real server.

Where the condition can be made, it is made. What only a broken machine, or a part of the service
with its own tests, brings about is raised by a backend, below everything that a request passes
through. A class without a case fails `test_every_class_has_its_case`.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import jsonschema
import pytest

from app import errors
from app.access.grants import Grant, Scope
from app.access.guard import Guard
from app.api.app import open_encoders
from app.api.problems import STATUS
from app.backends.base import Answer, Backend, CollectionInfo, Search
from app.backends.local import LocalBackend
from app.encoders.registry import EncoderRegistry
from app.errors import LikewiseError
from app.types import Point
from tests.reference_backend import ReferenceBackend
from tests.served import Served, served

from .contract import check
from .harness import settings
from .test_problems import TREE

JSON = {"content-type": "application/json"}
SECRET = "what only the inside knows"
LIMITS = {"max_body_bytes": 40_000, "search_threads": 1, "search_queue": 1}


class Faulty(ReferenceBackend):
    """A backend that raises what it is told to, and whose searches wait at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        if self.fault is not None:
            raise self.fault
        return super().upsert(name, points, mark)

    def describe_all(self) -> list[CollectionInfo]:
        if self.fault is not None:
            raise self.fault
        return super().describe_all()

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        assert self.gate.wait(30)
        return super().search(name, searches, mark)


class FaultyEncoders(EncoderRegistry):
    """Encoders whose runtime refuses one text."""

    def submit(self, name: str, texts: Sequence[Any], *what: Any, **how: Any) -> Any:
        if "refused" in texts:
            raise errors.EncodingFailed("the model runtime refused the batch")
        return super().submit(name, texts, *what, **how)


@dataclass
class Stage:
    """A server with a collection "c" of three numbers, one "t" of texts, and a point in each."""

    server: Served
    backend: Faulty
    client: httpx.Client
    folder: Path
    body: Any = None

    def send(
        self, method: str, path: str, body: Any = None, client: httpx.Client | None = None
    ) -> httpx.Response:
        """Send JSON, and remember it: pointers must lead somewhere in it."""
        self.body = body
        content = None if body is None else json.dumps(body)
        return (client or self.client).request(method, path, content=content, headers=JSON)

    def query(self, **body: Any) -> httpx.Response:
        return self.send("POST", "/v1/collections/c/query", body)

    def upsert(self, client: httpx.Client | None = None, **point: Any) -> httpx.Response:
        body = {"points": [{"id": 1, "vector": [1, 2, 3]} | point]}
        return self.send("PUT", "/v1/collections/c/points", body, client)

    def from_below(self, fault: Exception) -> httpx.Response:
        self.backend.fault = fault
        try:
            return self.upsert()
        finally:
            self.backend.fault = None

    @contextmanager
    def another(self, backend: Backend, **changes: Any) -> Iterator[tuple[Served, httpx.Client]]:
        """A second server for a condition that would spoil the first."""
        with (
            served(settings(self.folder), backend, **changes) as server,
            httpx.Client(base_url=server.url) as client,
        ):
            yield server, client


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("walk")
    chosen, backend = settings(folder, **LIMITS), Faulty()
    opened = open_encoders(chosen)
    opened.close()
    encoders = FaultyEncoders(
        chosen.models_dir, threads=1, queue=64, batch_tokens=256,
        hub_endpoint=chosen.hub_endpoint, local_source=None,
    )  # fmt: skip
    with (
        served(chosen, backend, encoders) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        while client.get("/readyz").json()["status"] != "ready":
            time.sleep(0.01)
        made = Stage(server, backend, client, folder)
        for name, body in (("c", {"dimension": 3, "schema": {"year": "integer"}}), ("t", {})):
            assert made.send("PUT", f"/v1/collections/{name}", body).status_code == 201
        assert made.upsert(attributes={"other": "x"}).status_code == 200
        yield made


# ── the cases ────────────────────────────────────────────────────────────────────────────────

Case = Callable[[Stage], httpx.Response]
CASES: dict[type[LikewiseError], Case] = {}


def provokes(kind: type[LikewiseError]) -> Callable[[Case], Case]:
    def noted(case: Case) -> Case:
        assert kind not in CASES
        CASES[kind] = case
        return case

    return noted


def sends(kind: type[LikewiseError], method: str, path: str, body: Any = None) -> None:
    CASES[kind] = lambda stage: stage.send(method, path, body)


C = "/v1/collections/c"
FAR = [1e39, 0, 0]
sends(errors.LimitExceeded, "POST", f"{C}/query", {"vector": [1, 2, 3], "k": 10**6})
sends(errors.InvalidField, "POST", f"{C}/query", {"vector": [1, 2, 3], "kk": 1, "k": "x"})
sends(errors.InvalidName, "PUT", "/v1/collections/-c", {})
sends(errors.InvalidId, "POST", f"{C}/points/get", {"ids": [1, -1]})
sends(errors.DuplicateId, "PUT", f"{C}/points", {"points": [{"id": 1, "vector": [1, 2, 3]}] * 2})
sends(errors.InvalidText, "POST", f"{C}/query", {"text": "there is no encoder"})
sends(errors.InvalidImage, "POST", f"{C}/query", {"image": "there is no encoder"})
sends(errors.UnknownVector, "POST", f"{C}/query", {"vector": [1, 2, 3], "using": "other"})
sends(errors.InvalidVector, "PUT", f"{C}/points", {"points": [{"id": 1, "vector": "?"}]})
sends(errors.DimensionMismatch, "POST", f"{C}/query:batch", {"queries": [{"vector": [1]}]})
sends(errors.VectorNotFinite, "PUT", f"{C}/points", {"points": [{"id": 1, "vector": FAR}]})
sends(errors.ZeroVector, "POST", f"{C}/query", {"vector": [0, 0, 0]})
sends(errors.InvalidAttributes, "PATCH", f"{C}/points", {"ids": [1], "set": {"a": {"b": 1}}})
sends(errors.SchemaViolation, "PATCH", f"{C}/points", {"ids": [1], "set": {"year": "x"}})
sends(errors.InvalidFilter, "POST", f"{C}/points/count", {"filter": {"a": {"$about": 1}}})
sends(errors.InvalidQuery, "POST", f"{C}/query", {"k": 3})
sends(errors.InvalidDefinition, "PATCH", C, {"index": {"m": 100, "ef_construction": 50}})
sends(errors.InvalidCursor, "POST", f"{C}/points/scroll", {"cursor": "x"})
sends(errors.RouteNotFound, "GET", "/v1/nothing")
sends(errors.MethodNotAllowed, "PUT", "/healthz", {})
sends(errors.CollectionNotFound, "GET", "/v1/collections/nobody")
sends(errors.PointNotFound, "POST", f"{C}/query", {"id": 404})
sends(errors.ArtefactNotFound, "GET", f"{C}/query-banks/nobody")
sends(errors.EncoderNotFound, "POST", "/v1/embeddings", {"input": "a", "model": "nobody"})
sends(errors.DefinitionDiffers, "PUT", C, {"dimension": 4})
sends(errors.SchemaConflict, "PATCH", C, {"schema": {"other": "integer"}})
sends(errors.EncodingFailed, "POST", "/v1/embeddings", {"input": "refused"})


@provokes(errors.MalformedBody)
def malformed(stage: Stage) -> httpx.Response:
    return stage.client.put(C, content=b'{"dimension": 3', headers=JSON)


@provokes(errors.UnsupportedContentType)
def undeclared(stage: Stage) -> httpx.Response:
    return stage.client.put(C, content=b"{}", headers={"content-type": "text/plain"})


@provokes(errors.BodyTooLarge)
def large(stage: Stage) -> httpx.Response:
    return stage.client.put(C, content=b" " * 40_001, headers=JSON)


@provokes(errors.EncoderUnavailable)
def never_obtained(stage: Stage) -> httpx.Response:
    return stage.send("POST", "/v1/embeddings", {"input": "a", "model": "all-MiniLM-L6-v2"})


@provokes(errors.Overloaded)
def crowded(stage: Stage) -> httpx.Response:
    """One search runs, one waits, and of the others the first answer is a refusal."""
    stage.backend.gate.clear()
    with ThreadPoolExecutor(6) as crowd:
        asked = [crowd.submit(stage.query, vector=[1, 2, 3]) for _ in range(6)]
        try:
            while True:
                for one in asked:
                    if one.done() and one.result().status_code != 200:
                        return one.result()
                time.sleep(0.005)
        finally:
            stage.backend.gate.set()


@provokes(errors.StorageFull)
def full(stage: Stage) -> httpx.Response:
    """SQLite may not take another page: the code it gives is that of a full disk."""
    backend = LocalBackend(stage.folder / "full", sync=False)
    with stage.another(backend) as (_, client):
        stage.send("PUT", C, {"dimension": 3}, client)
        writes = backend._open["c"]._store._writes
        writes.connection.execute("PRAGMA max_page_count = 1")
        answer = stage.upsert(client, attributes={"a": "x" * 20_000})
        assert client.post(f"{C}/points/count", json={}).json() == {"count": 0}, "reads go on"
        return answer


@provokes(errors.CorruptFile)
def corrupt(stage: Stage) -> httpx.Response:
    """The store of one collection was overwritten while the service was down."""
    first = LocalBackend(stage.folder / "corrupt", sync=False)
    with stage.another(first) as (_, client):
        stage.send("PUT", C, {"dimension": 3}, client)
    (store,) = (stage.folder / "corrupt").glob("collections/*/store.sqlite")
    store.write_bytes(b"not a database" * 1000)
    with stage.another(LocalBackend(stage.folder / "corrupt", sync=False)) as (_, client):
        return stage.upsert(client)


def guarded(stage: Stage, key: str) -> httpx.Response:
    guard = Guard(fixed_keys=[(Grant("reads", frozenset({Scope.READ})), b"the-key")])
    with stage.another(ReferenceBackend(), guard=guard) as (_, client):
        client.headers["authorization"] = f"Bearer {key}"
        return stage.upsert(client)


@provokes(errors.Unauthenticated)
def strange(stage: Stage) -> httpx.Response:
    answer = guarded(stage, "another-key")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer


@provokes(errors.Forbidden)
def reader(stage: Stage) -> httpx.Response:
    return guarded(stage, "the-key")


@contextmanager
def with_snapshot(stage: Stage) -> Iterator[httpx.Client]:
    """A service on the engine with a collection "c" and a snapshot "s" of it."""
    folder = Path(mkdtemp(dir=stage.folder))
    with stage.another(LocalBackend(folder, sync=False)) as (_, client):
        stage.send("PUT", C, {"dimension": 3}, client)
        taken = stage.send("POST", f"{C}/snapshots", {"name": "s"}, client)
        assert taken.status_code == 201, taken.text
        yield client


@provokes(errors.SnapshotExists)
def taken_twice(stage: Stage) -> httpx.Response:
    with with_snapshot(stage) as client:
        return stage.send("POST", f"{C}/snapshots", {"name": "s"}, client)


@provokes(errors.CollectionExists)
def restored_over(stage: Stage) -> httpx.Response:
    with with_snapshot(stage) as client:
        return stage.send("POST", "/v1/snapshots/s/restore", {}, client)


@provokes(errors.SnapshotNotFound)
def never_taken(stage: Stage) -> httpx.Response:
    with with_snapshot(stage) as client:
        return stage.send("GET", "/v1/snapshots/nobody", None, client)


@provokes(errors.KeptOutdated)
def fitted_for_others(stage: Stage) -> httpx.Response:
    stage.backend.keep("c", "threshold", "old", b"{}")
    pair = {"a": {"vector": [1, 2, 3]}, "b": {"vector": [1, 2, 3]}, "threshold": "old"}
    return stage.send("POST", f"{C}/verify", pair)


@provokes(errors.InvalidSnapshot)
def rubbish(stage: Stage) -> httpx.Response:
    with with_snapshot(stage) as client:
        octets = {"content-type": "application/octet-stream"}
        return client.put("/v1/snapshots/r/file", content=b"rubbish" * 100, headers=octets)


@provokes(errors.Unavailable)
def starting(stage: Stage) -> httpx.Response:
    with stage.another(ReferenceBackend(), lifespan=False) as (_, client):
        return stage.upsert(client)


@provokes(errors.ShuttingDown)
def stopping(stage: Stage) -> httpx.Response:
    with stage.another(ReferenceBackend()) as (server, client):
        stage.send("PUT", C, {"dimension": 3}, client)
        server.run(server.app.state.service.close())
        return stage.upsert(client)


@provokes(LikewiseError)
def unforeseen(stage: Stage) -> httpx.Response:
    return stage.from_below(ZeroDivisionError(SECRET))


FROM_BELOW: tuple[type[LikewiseError], ...] = (
    # Inner nodes of the tree; nothing raises them itself but the router's refusals.
    errors.InvalidRequest,
    errors.AccessDenied,
    errors.NotFound,
    errors.Conflict,
    errors.ServerFault,
    errors.StoredDataError,
    # The tests of admission make these conditions.
    errors.MalformedRequest,
    errors.TargetTooLong,
    errors.HeadTooLarge,
    errors.HeadTooSlow,
    errors.TooManyConnections,
    errors.BodyTooSlow,
    errors.DeadlineExceeded,
    # A disk or a directory that went bad under a running service (tests/recovery).
    errors.StorageReadOnly,
    errors.IncompatibleFormat,
    errors.DirectoryInUse,
    # Words that are being indexed while somebody looks for them (test_lexical_api).
    errors.LexicalUnavailable,
)
"""Raised by the backend of a real request."""


def _raised(kind: type[LikewiseError]) -> Case:
    return lambda stage: stage.from_below(kind("what was expected"))


for _kind in FROM_BELOW:
    provokes(_kind)(_raised(_kind))


# ── what holds for all of them ───────────────────────────────────────────────────────────────


def test_every_class_has_its_case() -> None:
    assert set(CASES) == set(TREE), "an error class without a case, or a case without a class"


def rows_of_catalogue() -> dict[str, list[str]]:
    """docs/api.md's table of codes: code → its cells."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    table = page.partition("| code | status |")[2]
    rows = [line.strip().strip("|").split(" | ") for line in table.splitlines()[2:]]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows if cells}


INNER = {kind for kind in TREE if kind.__subclasses__()}


def check_problem(answer: httpx.Response, document: Any) -> dict[str, Any]:
    """What every problem document is, whoever made it."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    problem: dict[str, Any] = answer.json()
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(problem)
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    assert problem["title"]
    waiting = answer.status_code in (429, 503, 507)
    assert ("retry-after" in answer.headers) == waiting
    if waiting:
        assert int(answer.headers["retry-after"]) >= 1
    return problem


def resolved(pointer: str, body: Any) -> Any:
    """What a pointer leads to in the body; only its last step may be missing."""
    assert pointer == "" or pointer.startswith("/")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for number, step in enumerate(steps):
        if isinstance(body, dict) and step not in body:
            assert number == len(steps) - 1, f"{pointer} leads nowhere"
            return None
        body = body[int(step)] if isinstance(body, list) else body[step]
    return body


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_its_problem_document_is_right_in_every_part(
    stage: Stage, kind: type[LikewiseError]
) -> None:
    stage.body = None
    answer = CASES[kind](stage)
    document = stage.server.app.openapi()
    problem = check_problem(answer, document)
    assert answer.status_code == STATUS[kind], problem
    assert problem["type"] == f"urn:likewise:problem:{kind.code}"
    assert problem["title"] == kind.title
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    if "pointer" in problem:
        resolved(problem["pointer"], stage.body)
    for fault in problem.get("errors", ()):
        resolved(fault["pointer"], stage.body)
    if kind is errors.MethodNotAllowed:
        assert answer.headers["allow"] == "GET"
    if answer.status_code != 408:
        check(document, answer)
    if kind not in INNER or kind in (LikewiseError, errors.InvalidRequest, errors.Unavailable):
        assert rows_of_catalogue()[kind.code][0] == str(answer.status_code)


def test_the_next_request_is_answered_after_all_of_them(stage: Stage) -> None:
    assert stage.query(vector=[1, 2, 3]).status_code == 200


# ── what the router and the server answer themselves ─────────────────────────────────────────


def everywhere(document: Any) -> Iterator[tuple[str, set[str]]]:
    for template, operations in document["paths"].items():
        yield template.replace("{name}", "c"), {method.upper() for method in operations}


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


def test_every_method_that_a_path_does_not_take_is_a_405_with_those_it_does(stage: Stage) -> None:
    document = stage.server.app.openapi()
    for path, taken in everywhere(document):
        for method in METHODS:
            if method in taken:
                continue
            answer = stage.client.request(method, path)
            assert answer.status_code == 405, (method, path)
            allowed = {one.strip() for one in answer.headers["allow"].split(",")}
            assert allowed == taken, (method, path)
            if method == "HEAD":
                assert answer.content == b""
                assert answer.headers["content-type"] == "application/problem+json"
            else:
                problem = check_problem(answer, document)
                assert problem["type"] == "urn:likewise:problem:method-not-allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/collections/",
        "/v1/collections/c/",
        "/v1/collections/c/query/",
        "/v1/collections/c/query:all",
        "/v2/collections",
        "//v1/collections",
        "/v1/collections/../models",
        "/%2e%2e/etc/passwd",
        "/V1/collections",
        "/favicon.ico",
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_path_that_is_none_is_a_404(stage: Stage, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stage.server.port, timeout=10)
    try:
        connection.request(method, path)  # as it is: httpx would tidy it up
        raw = connection.getresponse()
        content = raw.read()
        headers = {name.lower(): value for name, value in raw.getheaders()}
        assert raw.status == 404
        assert headers["content-type"] == "application/problem+json"
        if method != "HEAD":
            answer = httpx.Response(raw.status, headers=headers, content=content)
            problem = check_problem(answer, stage.server.app.openapi())
            assert problem["type"] == "urn:likewise:problem:route-not-found"
    finally:
        connection.close()


def test_a_bug_in_a_handler_is_a_500_that_tells_nothing_and_a_log_that_tells_all(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.backend.fault = ZeroDivisionError(SECRET)
    try:
        answer = stage.client.get("/v1/collections", headers={"x-request-id": "the-one"})
    finally:
        stage.backend.fault = None
    problem = check_problem(answer, stage.server.app.openapi())
    assert (answer.status_code, problem["request_id"]) == (500, "the-one")
    assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
    assert "ZeroDivision" not in answer.text
    assert SECRET in caplog.text


# ── the catalogue ────────────────────────────────────────────────────────────────────────────


def test_the_catalogue_tells_whoever_meets_a_code_what_to_do() -> None:
    for code, cells in rows_of_catalogue().items():
        status, when, retry, action = cells
        assert when.endswith("."), code
        assert action.endswith("."), code
        kind = next(one for one in TREE if one.code == code)
        assert int(status) == STATUS[kind]
        may_later = issubclass(kind, errors.Unavailable) or int(status) == 408
        assert retry == ("yes" if may_later else "no"), code
