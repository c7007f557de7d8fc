"""What a server under test has to do, and how its process is kept."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.load import Address
from bench.papers import Clauses, Data
from bench.process import pin

F32 = NDArray[np.float32]
Ids = Sequence[int]


@dataclass(frozen=True)
class Way:
    """How a question is put.

    encoding  of the vectors: "JSON" (numbers) or "base64"
    shown     "default": what the server sends if nothing is said of it; "ids": as little as it can
    """

    encoding: str
    shown: str


class Process(ABC):
    """One process that listens, started when constructed, ended by `close`."""

    name: ClassVar[str]

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                env=os.environ | environment,
                stdout=output,
                stderr=output,
            )
        self._log = log

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    def pin(self, cores: set[int]) -> None:
        """Keep all its threads on those cores."""
        pin(self._process.pid, cores)

    def wait_until_open(self, timeout_s: float = 120.0) -> None:
        """Return when the port takes connections."""
        deadline = time.perf_counter() + timeout_s
        while True:
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1):
                return
            if self._process.poll() is not None or time.perf_counter() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request outside the measurements; returns the decoded answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=300)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{self.name} answered {answer.status}: {told[:500]!r}")
        return json.loads(told)

    def close(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Server(Process):
    """A vector database behind a port."""

    @abstractmethod
    def load(self, data: Data) -> None:
        """Store the papers and wait until their index is built."""

    @abstractmethod
    def single(self, query: F32, clauses: Clauses, way: Way) -> bytes | None:
        """One question as the bytes of a request; None if it cannot be put that way."""

    @abstractmethod
    def batch(self, queries: F32, clauses: Sequence[Clauses], way: Way) -> bytes | None:
        """Several questions in one request; None if they cannot be put that way."""

    @abstractmethod
    def ids(self, body: bytes) -> Ids:
        """The points that an answer to one question holds."""


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
