"""The application behind real sockets, served by a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.access.guard import Guard
from app.api.app import create_app
from app.api.connection import Connections
from app.api.server import Server, connections_of, protocol
from app.backends.base import Backend
from app.config import Settings
from app.encoders.registry import EncoderRegistry


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its address, its application, the loop that it runs on, itself."""

    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop
    server: Server
    connections: Connections

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])

    def run(self, work: Any) -> Any:
        """Await a coroutine on the server's loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextmanager
def served(
    settings: Settings,
    backend: Backend,
    encoders: EncoderRegistry | None = None,
    *,
    guard: Guard | None = None,
    lifespan: bool = True,
) -> Iterator[Served]:
    """Serve for as long as the block lasts, as `likewise serve` does.

    lifespan   False leaves the service as it is before its start
    """
    app = create_app(settings, backend=backend, encoders=encoders, guard=guard)
    connections = connections_of(settings, app.state.requests)
    config = uvicorn.Config(
        app,
        http=protocol(connections),
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.idle_timeout,
        timeout_graceful_shutdown=20,
    )
    server = Server(
        config, connections, begin_stop=lambda: lifespan and app.state.service.begin_stop()
    )
    loop = asyncio.new_event_loop()
    # By its protocol asyncio knows that answers are not to wait for each other (TCP_NODELAY).
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))

        def serve() -> None:
            try:
                loop.run_until_complete(server.serve(sockets=[listener]))
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()

        thread = threading.Thread(target=serve, name="server")
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Served(url, app, loop, server, connections)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"
