"""A load generator for HTTP/1.1 servers: prepared bytes out, one latency for every answer.

Closed loop: each connection sends its next request when it has its answer, so throughput is the
server's capacity at that many connections. Open loop: requests are due at random moments (a
Poisson process) whether or not earlier ones were answered, and a latency counts from the moment a
request was *due*; a server that stalls is charged for everything that had to wait meanwhile.

One thread, sockets and a selector: about 15 µs of its own a request. Answers must have a
Content-Length, and connections are kept open, as all the servers measured here do.
"""

from __future__ import annotations

import gc
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bench.measures import percentile_ms

Address = tuple[str, int]

GRACE_S = 60.0
"""How long answers may come after the last request was sent."""

_MOST_RECEIVED = 1 << 18
_SLEEPS_ABOVE_S = 0.002  # a selector's own timeout is too coarse below


@dataclass(frozen=True)
class Load:
    """What came of it: requests answered, of them not with 200, seconds, and the latencies."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds


def request(address: Address, method: str, path: str, body: bytes) -> bytes:
    """Write one request with a JSON body."""
    host, port = address
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answers(address: Address, requests: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Send one request after the other; returns (status, body) of each."""
    connection = Connection(address)
    got = []
    with selecting([connection]) as selector:
        for one in requests:
            connection.send(one, 0.0, selector)
            while not connection.poll(selector):
                pass
            got.append((connection.status, connection.body))
    return got


def closed_loop(
    address: Address, requests: Sequence[bytes], *, connections: int, seconds: float
) -> Load:
    """Keep every connection busy for `seconds`, with the requests in turn."""
    opened = [Connection(address) for _ in range(connections)]
    latencies: list[float] = []
    failed = sent = 0
    with selecting(opened) as selector, _undisturbed():
        begun = time.perf_counter()
        deadline = begun + seconds
        for connection in opened:
            connection.send(requests[sent % len(requests)], time.perf_counter(), selector)
            sent += 1
        busy = len(opened)
        while busy:
            for connection in ready(selector, deadline + GRACE_S):
                if not connection.poll_once(selector):
                    continue
                now = time.perf_counter()
                latencies.append(now - connection.due)
                failed += connection.status != 200
                if now < deadline:
                    connection.send(requests[sent % len(requests)], now, selector)
                    sent += 1
                else:
                    busy -= 1
        ended = time.perf_counter()
    return _load(latencies, failed, ended - begun)


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    connections: int,
    rate: float,
    seconds: float,
    seed: int = 1,
) -> Load:
    """Have requests due `rate` times a second on average; at most `connections` are under way."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, max(1, round(rate * seconds)))
    due_after = np.cumsum(gaps).tolist()
    opened = [Connection(address) for _ in range(connections)]
    idle = deque(opened)
    waiting: deque[float] = deque()
    latencies: list[float] = []
    failed = sent = 0
    with selecting(opened) as selector, _undisturbed():
        begun = time.perf_counter()
        last = begun + due_after[-1] + GRACE_S
        arrivals = iter(due_after)
        upcoming = begun + next(arrivals)
        while len(latencies) < len(due_after):
            now = time.perf_counter()
            while upcoming <= now:
                waiting.append(upcoming)
                upcoming = begun + next(arrivals, float("inf"))
            while waiting and idle:
                idle.popleft().send(requests[sent % len(requests)], waiting.popleft(), selector)
                sent += 1
            for connection in ready(selector, last, until=upcoming):
                if connection.poll_once(selector):
                    latencies.append(time.perf_counter() - connection.due)
                    failed += connection.status != 200
                    idle.append(connection)
        ended = time.perf_counter()
    return _load(latencies, failed, ended - begun)


def _load(latencies: list[float], failed: int, seconds: float) -> Load:
    return Load(
        len(latencies), failed, seconds, percentile_ms(latencies, 50), percentile_ms(latencies, 99)
    )


class Connection:
    """One kept-alive connection with at most one request under way, due at `due`."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=GRACE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.status = 0
        self.body = b""
        self.last = False  # whether the server closes the connection behind this answer
        self._unsent = memoryview(b"")
        self._received = bytearray()
        self._length = 0  # of head and body, once the head is there

    def send(self, data: bytes, due: float, selector: selectors.BaseSelector) -> None:
        """Begin a request; what the system does not take at once goes when it will."""
        self.due = due
        self._received.clear()
        self._length = 0
        self._unsent = memoryview(data)
        self._push()
        if self._unsent:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            selector.modify(self.socket, both, self)

    def poll(self, selector: selectors.BaseSelector) -> bool:
        """Wait for something to happen; whether the answer is complete."""
        (complete,) = [
            connection.poll_once(selector)
            for connection in ready(selector, time.perf_counter() + GRACE_S)
        ] or [False]
        return complete

    def poll_once(self, selector: selectors.BaseSelector) -> bool:
        """Send and receive what can be; whether the answer is complete."""
        if self._unsent:
            self._push()
            if not self._unsent:
                selector.modify(self.socket, selectors.EVENT_READ, self)
        try:
            received = self.socket.recv(_MOST_RECEIVED)
        except BlockingIOError:
            return False
        if not received:
            raise ConnectionError("the server closed a connection")
        self._received += received
        if not self._length:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._received[:end]).lower()
            _, found, rest = head.partition(b"content-length:")
            if not found:
                raise ValueError("an answer without Content-Length")
            self.status = int(head[9:12])
            self.last = b"\r\nconnection: close" in head
            self._length = end + 4 + int(rest.split(b"\r\n", 1)[0])
        if len(self._received) < self._length:
            return False
        self.body = bytes(self._received[self._received.index(b"\r\n\r\n") + 4 :])
        return True

    def _push(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass


def ready(
    selector: selectors.BaseSelector, last: float, until: float = float("inf")
) -> Iterator[Connection]:
    """Wait for connections on which something happened, but not past `until`."""
    now = time.perf_counter()
    if now > last:
        raise TimeoutError("an answer did not come")
    wait = min(until - now, last - now)
    for key, _ in selector.select(wait if wait > _SLEEPS_ABOVE_S else 0):
        yield key.data


@contextmanager
def selecting(connections: Sequence[Connection]) -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        try:
            yield selector
        finally:
            for connection in connections:
                connection.socket.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep our own garbage collector out of the latencies."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
