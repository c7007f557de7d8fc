"""A service from outside: started, spoken to, killed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.types import F32

ROOT = Path(__file__).parents[2]


class Dead(Exception):
    """The service is not there (any more)."""


class Launcher:
    """The process that services are forks of (`tests.crash.server`)."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.hits = folder / "hits"
        self.log = folder / "log"
        (folder / "models").mkdir(parents=True, exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIKEWISE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.server"],
            cwd=ROOT,
            env=clean | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, **order: Any) -> int:
        """Send an order, await its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, *, at: str = "", full: float = 0.0, **variables: str) -> Service:
        """Start a service; `at` and `full` as in `tests.crash.observer`."""
        self.hits.write_bytes(b"")
        self.log.write_bytes(b"")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {
            "LIKEWISE_PORT": str(port),
            "LIKEWISE_DATA_DIR": str(self.data),
            "LIKEWISE_MODELS_DIR": str(self.folder / "models"),
            "LIKEWISE_DEFAULT_ENCODER": "none",
            "LIKEWISE_HUB_ENDPOINT": "http://127.0.0.1:9",
            "LIKEWISE_HEAD_POINTS": "100",
            "LIKEWISE_LOG_FORMAT": "text",
            "CRASH_HITS": str(self.hits),
            "CRASH_AT": at,
            "CRASH_FULL": str(full),
        }
        number = self.order(start=environment | variables, log=str(self.log))
        return Service(self, number, f"http://127.0.0.1:{port}")

    def close(self) -> None:
        """End, with every service that is left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Service:
    """One running service."""

    def __init__(self, launcher: Launcher, number: int, url: str) -> None:
        self.number = number
        self.url = url
        self._launcher = launcher
        self._end = os.pidfd_open(number)
        self._status: int | None = None
        self._told: signal.Signals | None = None

    def wait_for_start(self, timeout_s: float = 60.0) -> None:
        """Wait until it listens. Raises Dead if it ends instead."""
        deadline = time.monotonic() + timeout_s
        while b"listens on" not in self._launcher.log.read_bytes():
            if self.ended(0.005):
                raise Dead
            assert time.monotonic() < deadline, "the service does not start"

    def ended(self, timeout_s: float) -> bool:
        """Wait for its end, or not so long."""
        if self._status is not None:
            return True
        ready, _, _ = select.select([self._end], [], [], timeout_s)
        return bool(ready)

    def hits(self) -> list[str]:
        """List what the observer noted."""
        return self._launcher.hits.read_text().split()

    def building(self) -> int | None:
        """Give the newest build process, if it runs."""
        noted = [int(line[1:]) for line in self.hits() if line.startswith("@")]
        return noted[-1] if noted and _runs(noted[-1]) else None

    def tell(self, how: signal.Signals) -> None:
        """Send a signal, once: a second SIGTERM ends an orderly stop early."""
        if self._told is not how and not self.ended(0):
            os.kill(self.number, how)
            self._told = how

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Kill it, unless it is dead; returns its exit status when it has ended."""
        if self._status is None:
            self.tell(how)
            self._status = self._launcher.order(reap=self.number)
            os.close(self._end)
            self._wait_for_builds()
        return self._status

    def _wait_for_builds(self) -> None:
        """A build ends a moment after its service."""
        deadline = time.monotonic() + 20
        while self.building() is not None:
            assert time.monotonic() < deadline, "a build process outlives its service"
            time.sleep(0.005)

    def client(self) -> Client:
        """Make a client; for one thread."""
        return Client(self.url)


class Client:
    """Requests and their outcomes: an answer, a refusal, or nobody knows."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=1)
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False, limits=limits)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request: status and body. Raises Dead if no whole answer came."""
        try:
            response = self._http.request(method, path, json=body)
        except httpx.TransportError as exc:
            raise Dead from exc
        return response.status_code, response.json() if response.content else None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed."""
        status, answer = self.call(method, path, body)
        assert status < 300, (method, path, status, answer)
        return answer

    def digest(self, path: str) -> tuple[str, str]:
        """Download a file: the SHA-256 of what came, and the one that it is said to have."""
        try:
            response = self._http.get(path)
        except httpx.TransportError as exc:
            raise Dead from exc
        assert response.status_code == 200, (path, response.status_code, response.text)
        return hashlib.sha256(response.content).hexdigest(), response.headers["etag"].strip('"')

    def close(self) -> None:
        self._http.close()


def _runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


SPARSE = "sparse"
"""In the place of a metric: a sparse vector, which is known here as a dense one with zeros."""

VOCABULARY = 16
"""Numbers of that."""


def vector_from_wire(value: Any) -> F32:
    """Read base64 of float32, or of a sparse vector."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype="<f4")
    vector = np.zeros(VOCABULARY, dtype="<f4")
    indices = np.frombuffer(base64.b64decode(value["indices"]), dtype="<u4")
    vector[indices] = np.frombuffer(base64.b64decode(value["values"]), dtype="<f4")
    return vector


def vector_to_wire(vector: F32, metric: str = "") -> Any:
    """Write base64 of float32, or a sparse vector."""
    if metric == SPARSE:
        indices = np.flatnonzero(vector)
        return {"indices": indices.tolist(), "values": vector[indices].tolist()}
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def errors_in(log: str) -> list[str]:
    """Find what a service should never log."""
    return [line for line in log.splitlines() if re.search(r"Traceback|AssertionError", line)]
