"""Both clients behind one blocking face, a scripted HTTP server, and a real service."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from likewise import AsyncClient, AsyncCollection, Client, LikewiseError, Retries

from tests.launched import launched

# ── both clients, one face ───────────────────────────────────────────────────────────────────


class Blocking:
    """An async client or collection, every call of which is run to its end.

    Lets one case, written for `Client`, check `AsyncClient` too.
    """

    def __init__(self, target: AsyncClient | AsyncCollection, loop: asyncio.AbstractEventLoop):
        self._target = target
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._finished(found(*args, **kwargs))

    def _finished(self, result: Any) -> Any:
        if inspect.isasyncgen(result):
            return self._drained(result)
        if inspect.isawaitable(result):
            result = self._loop.run_until_complete(result)
        return Blocking(result, self._loop) if isinstance(result, AsyncCollection) else result

    def _drained(self, pages: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._loop.run_until_complete(pages.__anext__())
            except StopAsyncIteration:
                return


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A function (base_url, **settings) → client; every test with it runs for both clients."""
    loop = asyncio.new_event_loop()
    opened: list[Any] = []

    def open_client(base_url: str, **settings: Any) -> Any:
        if request.param == "sync":
            opened.append(Client(base_url, **settings))
        else:
            opened.append(Blocking(AsyncClient(base_url, **settings), loop))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close() if isinstance(client, Client) else client.aclose()
    loop.close()


# ── a scripted server ────────────────────────────────────────────────────────────────────────


@dataclass
class Seen:
    """A request that the stub received."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Reply:
    """What the stub does with one request: answer, hang up, or stay silent until the test ends."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    silent: bool = False


class Stub:
    """A real HTTP server on a real port that plays a script, one reply a request."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def plays(self, *replies: Reply) -> None:
        self.script.extend(replies)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(stub) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def play(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                stub.seen.append(Seen(self.command, self.path, headers, content))
                reply = stub.script.pop(0)
                if reply.silent:
                    stub.over.wait(10)
                if reply.hang_up or reply.silent:
                    self.close_connection = True
                    return
                body = b"" if reply.body is None else reply.body
                if not isinstance(body, bytes):
                    body = json.dumps(body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = play  # noqa: N815  # http.server's

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()
    assert not server.script, "the client made fewer requests than the script has replies"


# ── the real service ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a service in a process of its own, with the small test encoders."""
    encoders = {"LIKEWISE_ENCODERS": "tiny,tiny-cross"}
    with launched(tmp_path_factory.mktemp("service"), **encoders) as service:
        _wait_until_ready(service.url, service.process)
        yield service.url


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    with Client(url, retries=Retries(attempts=0), timeout=5) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.ready().status == "ready":
                    return
            except LikewiseError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"the service was not ready (exit code {process.poll()})")
