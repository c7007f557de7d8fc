"""What clients may do to a connection, and what they may not: over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from app.api.connection import HEAD_BYTES, HEADERS, PIPELINED, RESERVED, TARGET_BYTES
from app.backends.base import Answer as Found
from app.backends.base import Search
from app.backends.local import LocalBackend
from app.types import Point
from tests.reference_backend import ReferenceBackend

from .harness import settings
from .network import Listening, head, listening, until

QUERY = "/v1/collections/c/query"
POINTS = "/v1/collections/c/points"
ONE = orjson.dumps({"vector": [1]})


class Gated(ReferenceBackend):
    """A backend whose searches and writes wait for a gate, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.searches = self.writes = 0

    def search(self, name: str, searches: Sequence[Search], mark: str | None = None) -> list[Found]:
        self.searches += 1
        assert self.gate.wait(10)
        return super().search(name, searches, mark)

    def upsert(self, name: str, points: Sequence[Point], mark: str | None = None) -> int:
        self.writes += 1
        assert self.gate.wait(10)
        return super().upsert(name, points, mark)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server with ordinary bounds."""
    with listening(settings(tmp_path_factory.mktemp("patient")), ReferenceBackend()) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        yield server


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server that waits for nobody longer than a fifth of a second."""
    chosen = settings(
        tmp_path_factory.mktemp("hasty"),
        head_timeout=0.2,
        body_timeout=0.2,
        write_timeout=0.2,
        max_body_bytes=1 << 20,
        max_k=100_000,
    )
    with listening(chosen, ReferenceBackend()) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        yield server


# ── what is not HTTP ─────────────────────────────────────────────────────────────────────────

CHUNKED = "Transfer-Encoding: chunked"
LINES = "Content-Type: application/x-ndjson"
BINARY = "Content-Type: application/octet-stream"
LINE = '{"id":1,"vector":[1]}\n'


@pytest.mark.parametrize(
    "sent",
    [
        "hello\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n",
        "GET /\N{LATIN SMALL LETTER E WITH ACUTE} HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT likewise:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
        head("POST", QUERY, 5, CHUNKED) + "5\r\nhello\r\n0\r\n\r\n",
        head("POST", QUERY, 5, "Content-Length: 6") + "hello",
        head("POST", QUERY, None, "Content-Length: -1") + "hello",
        head("POST", QUERY, None, "Content-Length: +5") + "hello",
        head("POST", QUERY, None, "Content-Length: " + "9" * 30) + "hello",
        head("POST", QUERY, None, "Transfer-Encoding: chunked, identity") + "0\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_problem_document_and_is_hung_up_on(
    patient: Listening, sent: str
) -> None:
    wire = patient.wire().send(sent)
    answer = wire.answer()
    assert (answer.status, answer.code) == (400, "malformed-request")
    assert answer.headers["connection"] == "close"
    assert wire.is_closed()
    wire.close()


def test_a_broken_chunk_ends_the_request_that_reads_it(patient: Listening) -> None:
    wire = patient.wire().send(
        head("POST", QUERY, None, CHUNKED, "Content-Type: application/json"), "2\r\n{}", "nonsense"
    )
    answer = wire.answer()
    assert (answer.status, answer.code) == (400, "malformed-body")
    assert wire.is_closed()
    wire.close()


def test_nonsense_behind_a_request_does_not_cost_it_its_answer(tmp_path: Path) -> None:
    backend = Gated()
    with listening(settings(tmp_path), backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        wire = server.wire().request("POST", QUERY, ONE).send("nonsense\r\n\r\n")
        until(lambda: backend.searches == 1)
        backend.gate.set()
        assert wire.answer().status == 200
        assert wire.is_closed()
        wire.close()


# ── heads ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_head_is_read_up_to_its_limit_and_no_further(patient: Listening, pieces: int) -> None:
    def answer(size: int) -> tuple[int, str]:
        sent = "GET /healthz HTTP/1.1\r\nHost: test\r\nA: " + "a" * size + "\r\n\r\n"
        wire = patient.wire()
        step = -(-len(sent) // pieces)
        for at in range(0, len(sent), step):
            wire.send(sent[at : at + step])
        got = wire.answer()
        wire.close()
        return got.status, got.body.decode() if got.status == 200 else got.code

    assert answer(HEAD_BYTES - 100)[0] == 200
    assert answer(HEAD_BYTES) == (431, "head-too-large")


def test_a_head_without_end_is_refused_while_it_comes(patient: Listening) -> None:
    wire = patient.wire().send("GET /healthz HTTP/1.1\r\nHost: test\r\nA: ")
    for _ in range(64):
        wire.send("a" * (1 << 14))  # a megabyte: what is sent too much is read and thrown away
    answer = wire.answer()
    assert (answer.status, answer.code) == (431, "head-too-large")
    assert wire.is_closed()
    wire.close()


def test_headers_are_counted(patient: Listening) -> None:
    wire = patient.wire()
    wire.request("GET", "/healthz", b"", *(f"A{i}: b" for i in range(HEADERS - 1)))
    assert wire.answer().status == 200
    wire.request("GET", "/healthz", b"", *(f"A{i}: b" for i in range(HEADERS)))
    assert wire.answer().code == "head-too-large"
    wire.close()


def test_targets_have_a_length(patient: Listening) -> None:
    wire = patient.wire()
    wire.request("GET", "/healthz?".ljust(TARGET_BYTES, "a"))
    assert wire.answer().status == 200
    wire.request("GET", "/healthz?".ljust(TARGET_BYTES + 1, "a"))
    answer = wire.answer()
    assert (answer.status, answer.code) == (414, "target-too-long")
    wire.close()


def test_a_head_that_dribbles_is_given_up(hasty: Listening) -> None:
    wire = hasty.wire().send("GET /healthz HTTP/1.1\r\n")
    answer = wire.answer()
    assert (answer.status, answer.code) == (408, "head-too-slow")
    assert wire.is_closed()
    wire.close()


@pytest.mark.parametrize("sent", ["", "\r\n\r\n"])
def test_a_connection_that_asks_nothing_is_closed(hasty: Listening, sent: str) -> None:
    wire = hasty.wire().send(sent)
    if sent:
        assert wire.answer().code == "head-too-slow"
    assert wire.is_closed()
    wire.close()


def test_a_connection_at_rest_is_left_alone(hasty: Listening) -> None:
    slow = hasty.connections.slow
    wire = hasty.wire().request("GET", "/healthz")
    assert wire.answer().status == 200
    other = hasty.wire().send("GET")  # outlives three times what a head may take
    assert other.answer().code == "head-too-slow"
    until(lambda: hasty.connections.slow > slow)
    assert wire.request("GET", "/healthz").answer().status == 200
    for one in (wire, other):
        one.close()


def test_what_callers_call_a_request_cannot_write_headers_or_lines(patient: Listening) -> None:
    wire = patient.wire()
    for sent in ("a%0d%0aSet-Cookie:x", "a\\r\\nSet-Cookie: x", 'a","level":"error'):
        answer = wire.request("GET", "/healthz", b"", f"X-Request-Id: {sent}").answer()
        assert "set-cookie" not in answer.headers
        assert len(answer.headers["x-request-id"]) == 32
    answer = wire.request("GET", "/v1/collections/a%0d%0aSet-Cookie:%20x%0a").answer()
    assert (answer.status, answer.code) == (422, "invalid-name")
    assert "set-cookie" not in answer.headers
    wire.close()


# ── bodies ───────────────────────────────────────────────────────────────────────────────────


def test_a_body_that_dribbles_is_given_up(hasty: Listening) -> None:
    wire = hasty.wire().send(head("POST", QUERY, 1000), "{")
    answer = wire.answer()
    assert (answer.status, answer.code) == (408, "body-too-slow")
    assert answer.headers["connection"] == "close"
    assert wire.is_closed()
    wire.close()


def test_a_body_that_never_begins_is_given_up(hasty: Listening) -> None:
    wire = hasty.wire().send(head("POST", QUERY, 1000))
    assert wire.answer().code == "body-too-slow"
    wire.close()


def test_a_body_in_pieces_and_in_chunks_is_read(patient: Listening) -> None:
    wire = patient.wire().send(head("POST", QUERY, len(ONE)))
    for at in range(len(ONE)):
        wire.send(ONE[at : at + 1])
    assert wire.answer().status == 200
    wire.send(head("POST", QUERY, None, CHUNKED, "Content-Type: application/json"))
    for at in range(len(ONE)):
        wire.send(b"1\r\n", ONE[at : at + 1], b"\r\n")
    wire.send("0\r\n\r\n")
    assert wire.answer().status == 200
    wire.close()


def test_a_body_above_the_limit_is_refused_before_it_is_read(hasty: Listening) -> None:
    wire = hasty.wire().send(head("POST", QUERY, 1 << 40))
    answer = wire.answer()
    assert (answer.status, answer.code) == (413, "body-too-large")
    wire.close()


def test_chunks_above_the_limit_are_refused_when_they_pass_it(hasty: Listening) -> None:
    wire = hasty.wire().send(head("POST", QUERY, None, CHUNKED, "Content-Type: application/json"))
    for _ in range(17):
        wire.send(b"10000\r\n", b" " * 0x10000, b"\r\n")
    assert wire.answer().code == "body-too-large"
    wire.close()


def test_a_body_is_asked_for_where_its_client_waits_for_that(patient: Listening) -> None:
    wire = patient.wire().send(head("POST", QUERY, len(ONE), "Expect: 100-continue"))
    assert wire.answer().status == 100
    assert wire.send(ONE).answer().status == 200
    wire.send(head("POST", QUERY, 1 << 40, "Expect: 100-continue"))
    assert wire.answer().status == 413  # and is not asked for where it would be refused
    wire.close()


def test_a_compressed_body_is_refused_unread(patient: Listening) -> None:
    wire = patient.wire().send(head("POST", QUERY, 1 << 20, "Content-Encoding: gzip"))
    assert wire.answer().code == "unsupported-content-type"
    wire.close()


@pytest.mark.parametrize("opening", [b"[", b'{"filter":'])
def test_nesting_is_bounded(patient: Listening, opening: bytes) -> None:
    answer = patient.ask("POST", QUERY, opening * 100_000)
    assert (answer.status, answer.code) == (400, "malformed-body")


@pytest.mark.parametrize(("depth", "status"), [(180, 422), (201, 400)])
def test_json_is_as_deep_as_published(patient: Listening, depth: int, status: int) -> None:
    body = b'{"vector": [1], "filter": ' + b"[" * depth + b"]" * depth + b"}"
    assert patient.ask("POST", QUERY, body).status == status


# ── the protocol ─────────────────────────────────────────────────────────────────────────────


def test_http_1_0_is_answered_and_closed(patient: Listening) -> None:
    wire = patient.wire().send("GET /healthz HTTP/1.0\r\n\r\n")
    answer = wire.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert wire.is_closed()
    wire.close()


def test_pipelined_requests_are_answered_in_order(patient: Listening) -> None:
    ids = [f"X-Request-Id: {number}" for number in range(40)]
    wire = patient.wire().send(*(head("GET", "/healthz", None, one) for one in ids))
    for number in range(40):
        assert wire.answer().headers["x-request-id"] == str(number)
    wire.close()


def test_of_too_many_pipelined_requests_the_first_are_answered(patient: Listening) -> None:
    wire = patient.wire().send(head("GET", "/healthz") * 5000)
    for _ in range(PIPELINED):
        assert wire.answer().status == 200
    while not wire.is_closed():
        assert wire.answer().status == 200
    wire.close()


def test_an_upgrade_is_ignored(patient: Listening) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    wire = patient.wire().request("GET", "/healthz", b"", *upgrade)
    assert wire.answer().status == 200
    assert wire.is_closed()
    wire.close()


def test_an_upgrade_with_a_body_is_refused(patient: Listening) -> None:
    wire = patient.wire().request("POST", QUERY, ONE, "Connection: Upgrade", "Upgrade: h2c")
    assert wire.answer().code == "malformed-request"
    assert wire.is_closed()
    wire.close()


# ── readers, leavers, crowds ─────────────────────────────────────────────────────────────────


def test_a_client_that_does_not_read_is_dropped(hasty: Listening) -> None:
    points = [{"id": n, "vector": [n + 1], "text": "x" * 2000} for n in range(400)]
    assert hasty.ask("PUT", POINTS, {"points": points}).status == 200
    scroll = orjson.dumps({"limit": 400})
    wire, slow = hasty.wire(), hasty.connections.slow
    for _ in range(12):  # ten megabytes: more than the system keeps for a reader
        wire.request("POST", f"{POINTS}/scroll", scroll)
    until(lambda: hasty.connections.slow > slow)
    until(lambda: all(c.transport.get_write_buffer_size() == 0 for c in hasty.connections.open))
    wire.close()


def test_requests_of_a_client_that_left_are_dropped_from_the_queue(tmp_path: Path) -> None:
    backend = Gated()
    chosen = settings(tmp_path, search_threads=1)
    with listening(chosen, backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        lane = server.service.lanes["search"]
        first, *others = [server.wire().request("POST", QUERY, ONE) for _ in range(6)]
        until(lambda: lane.running == 1 and lane.waiting == 5)
        for wire in others:
            wire.close()
        until(lambda: lane.waiting == 0 or backend.gate.is_set())
        backend.gate.set()
        until(lambda: lane.running == 0)
        assert lane.dropped in (4, 5)  # the one that ran may have been any of the six
        assert backend.searches == 1 + (5 - lane.dropped)
        first.close()


def test_a_write_that_began_is_finished_without_its_client(tmp_path: Path) -> None:
    backend = Gated()
    with listening(settings(tmp_path), backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        wire = server.wire().request("PUT", POINTS, b'{"points": [{"id": 1, "vector": [1]}]}')
        until(lambda: backend.writes == 1)
        wire.close()
        until(lambda: server.connections.gone == 1)
        backend.gate.set()
        until(lambda: server.service.lanes["write"].running == 0)
        assert server.ask("POST", f"{POINTS}/count", {}).body == b'{"count":1}'


def test_connections_above_the_limit_are_refused_while_probes_are_answered(tmp_path: Path) -> None:
    with listening(settings(tmp_path, max_connections=3), ReferenceBackend()) as server:
        held = [server.wire().request("GET", "/healthz") for _ in range(3)]
        for wire in held:
            assert wire.answer().status == 200
        extra = server.wire().request("GET", "/v1/info")
        answer = extra.answer()
        assert (answer.status, answer.code) == (503, "too-many-connections")
        assert int(answer.headers["retry-after"]) >= 1
        assert extra.is_closed()
        extra.close()
        assert server.ask("GET", "/healthz").status == 200
        assert server.ask("GET", "/readyz?x=1").status == 200
        reserved = [server.wire().request("GET", "/healthz") for _ in range(RESERVED)]
        for wire in reserved:
            assert wire.answer().status == 200
        beyond = server.wire()
        assert beyond.answer().code == "too-many-connections"
        for wire in (*held, *reserved, beyond):
            wire.close()
        until(lambda: len(server.connections.open) == 0)
        assert server.ask("GET", "/v1/info").status == 200


def test_probes_wait_for_no_lane(tmp_path: Path) -> None:
    backend = Gated()
    chosen = settings(tmp_path, search_threads=1, search_queue=1)
    with listening(chosen, backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        waiting = [server.wire().request("POST", QUERY, ONE) for _ in range(2)]
        lane = server.service.lanes["search"]
        until(lambda: lane.running + lane.waiting == 2)
        assert server.ask("POST", QUERY, {"vector": [1]}).code == "overloaded"
        assert server.ask("GET", "/healthz").status == 200
        assert server.ask("GET", "/readyz").status == 200
        backend.gate.set()
        for wire in waiting:
            assert wire.answer().status == 200
            wire.close()


def test_only_a_connection_at_rest_is_closed_for_it(tmp_path: Path) -> None:
    backend = Gated()
    with listening(settings(tmp_path, idle_timeout=1), backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        resting, blank, asking = [server.wire().request("GET", "/healthz") for _ in range(3)]
        for wire in (resting, blank, asking):
            assert wire.answer().status == 200
        blank.send("\r\n\r\n")  # is no request
        asking.request("POST", QUERY, ONE)
        assert resting.is_closed()
        assert blank.is_closed()
        backend.gate.set()
        assert asking.answer().status == 200
        for wire in (resting, blank, asking):
            wire.close()


# ── the end ──────────────────────────────────────────────────────────────────────────────────


def test_what_was_accepted_is_answered_and_new_requests_are_told_of_the_end(
    tmp_path: Path,
) -> None:
    backend = Gated()
    with listening(settings(tmp_path, search_threads=1), backend) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        idle, asking, probing = [server.wire().request("GET", "/healthz") for _ in range(3)]
        for wire in (idle, asking, probing):
            assert wire.answer().status == 200
        accepted = [server.wire().request("POST", QUERY, ONE) for _ in range(4)]
        until(lambda: server.service.lanes["search"].waiting == 3)
        server.server.should_exit = True
        until(lambda: server.connections.stopping)
        answer = asking.request("POST", QUERY, ONE).answer()
        assert (answer.status, answer.code) == (503, "shutting-down")
        assert answer.headers["connection"] == "close"
        assert asking.is_closed()
        answer = probing.request("GET", "/readyz").answer()
        assert answer.status == 503
        assert orjson.loads(answer.body)["status"] == "stopping"
        assert idle.is_closed()
        backend.gate.set()
        for wire in accepted:
            answer = wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        for wire in (idle, asking, probing, *accepted):
            wire.close()


def test_who_does_nothing_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.connection.STILL_S", 0.3)
    still = {
        "import": head("POST", f"{POINTS}:import", None, LINES, CHUNKED)
        + f"{len(LINE):x}\r\n"
        + LINE
        + "\r\n",
        "points": head("PUT", POINTS, 100_000) + "{",
        "upload": head("PUT", "/v1/snapshots/s/file", None, BINARY, "Content-Length: 9999") + "x",
    }
    with listening(settings(tmp_path), LocalBackend(tmp_path / "data", sync=False)) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        wires = {name: server.wire().send(sent) for name, sent in still.items()}
        count = f"{POINTS}/count"
        until(lambda: server.ask("POST", count, {}).body == b'{"count":1}')
        begun = time.monotonic()
        server.server.should_exit = True
        for name, wire in wires.items():
            answer = wire.answer()
            assert (answer.status, answer.code) == (503, "shutting-down"), name
            wire.close()
        assert orjson.loads(answer.body)["title"]
    assert time.monotonic() - begun < 10, "the grace is 30 seconds"
    assert not list((tmp_path / "data" / "snapshots").iterdir())
