"""The application behind a real socket, on a thread of this process; and rude clients."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from app.api.connection import Connections
from app.api.server import Server
from app.backends.base import Backend
from app.config import Settings
from app.service.service import Service
from tests.served import served

WAIT_S = 10.0


@dataclass
class Answer:
    """One answer; `closed` if the connection ended behind it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = orjson.loads(self.body)
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return str(problem["type"]).removeprefix("urn:likewise:problem:")


class Wire:
    """One connection, byte by byte."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_S)
        self._received = b""

    def send(self, *parts: str | bytes) -> Wire:
        """Send what is given, in one piece."""
        self.socket.sendall(b"".join(p.encode() if isinstance(p, str) else p for p in parts))
        return self

    def request(self, method: str, path: str, body: bytes = b"", *headers: str) -> Wire:
        """Send a whole request."""
        return self.send(head(method, path, len(body) if body else None, *headers), body)

    def answer(self) -> Answer:
        """Read one answer."""
        while b"\r\n\r\n" not in self._received:
            self._read()
        top, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:])
        headers = {name.lower(): value for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        while len(self._received) < length:
            self._read()
        body, self._received = self._received[:length], self._received[length:]
        return Answer(int(lines[0].split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait until the server closes the connection; False if more comes instead."""
        try:
            return not self._received and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Go away."""
        self.socket.close()

    def _read(self) -> None:
        received = self.socket.recv(1 << 16)
        assert received, "the connection was closed before the answer was complete"
        self._received += received


def head(method: str, path: str, length: int | None = None, *headers: str) -> str:
    """Write the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join((*lines, "", ""))


@dataclass
class Listening:
    """A server that runs."""

    address: tuple[str, int]
    connections: Connections
    server: Server
    service: Service

    def wire(self) -> Wire:
        """A new connection."""
        return Wire(self.address)

    def ask(self, method: str, path: str, value: Any = None, *headers: str) -> Answer:
        """Send one request on a connection of its own; `value` is JSON, or the bytes of some."""
        wire = self.wire()
        try:
            body = b"" if value is None else value if type(value) is bytes else orjson.dumps(value)
            return wire.request(method, path, body, *headers).answer()
        finally:
            wire.close()


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    last = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < last, "it did not happen"
        time.sleep(0.002)


@contextmanager
def listening(settings: Settings, backend: Backend) -> Iterator[Listening]:
    """A server for as long as the block lasts."""
    with served(settings, backend) as running:
        address = ("127.0.0.1", running.port)
        service = running.app.state.service
        yield Listening(address, running.connections, running.server, service)
