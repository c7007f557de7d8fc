"""The load generator, against a real server on a real port."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from bench.load import Address, answers, closed_loop, open_loop, request

LONG = 3_000_000  # bytes: more than a socket takes at once, in both directions


class Echo(BaseHTTPRequestHandler):
    """Answers with the body it got; /slow takes 20 ms, /bad is refused."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(0.02)
        self.send_response(400 if self.path == "/bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Threaded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


@pytest.fixture
def address() -> Iterator[Address]:
    with Threaded(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()
        thread.join()


def test_answers_come_whole_and_in_order(address: Address) -> None:
    bodies = [b"a", b"", b"b" * LONG, b"c"]
    got = answers(address, [request(address, "POST", "/", body) for body in bodies])
    assert got == [(200, body) for body in bodies]


def test_a_closed_loop_counts_every_answer_and_every_failure(address: Address) -> None:
    asked = [request(address, "POST", path, b"x") for path in ("/", "/bad")]
    load = closed_loop(address, asked, connections=3, seconds=0.2)
    assert load.answered > 10
    assert abs(load.failed - load.answered / 2) <= 3
    assert 0 < load.p50_ms <= load.p99_ms


def test_a_closed_loop_has_as_many_requests_under_way_as_connections(address: Address) -> None:
    asked = [request(address, "POST", "/slow", b"x")]
    one = closed_loop(address, asked, connections=1, seconds=0.3)
    four = closed_loop(address, asked, connections=4, seconds=0.3)
    assert one.p50_ms >= 20
    assert four.per_second > 2 * one.per_second


def test_an_open_loop_charges_the_wait_to_the_requests_that_were_due(address: Address) -> None:
    asked = [request(address, "POST", "/slow", b"x")]
    calm = open_loop(address, asked, connections=4, rate=20, seconds=0.5)
    late = open_loop(address, asked, connections=1, rate=200, seconds=0.2)
    assert (calm.answered, late.answered) == (10, 40)
    # 40 requests of 20 ms over one connection, due within .2 s: the last waits for the others.
    assert late.p99_ms > 400
    assert calm.p50_ms < late.p50_ms
