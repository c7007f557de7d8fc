"""The server around the application: where it listens, and how it stops.

The first SIGTERM or SIGINT stops it gracefully: it takes no more connections, `/readyz` says
`stopping`, what was accepted is finished and answered within `GRACE_S`, and the process ends with
status 0. A second signal ends the process at once, as SIGKILL would: what was acknowledged is on
disk already.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn

from app import __version__
from app.api.connection import Bounds, Connections
from app.config import Settings
from app.metrics.accounts import Requests

log = logging.getLogger("likewise")

GRACE_S = 30
"""How long requests in flight may take after SIGTERM before they are answered with 503."""


def connections_of(settings: Settings, requests: Requests) -> Connections:
    """The connections of a server, bounded by the settings; refusals are counted in `requests`."""
    return Connections(
        Bounds(
            connections=settings.max_connections,
            head_s=settings.head_timeout,
            body_s=settings.body_timeout,
            write_s=settings.write_timeout,
        ),
        requests,
    )


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """What uvicorn calls for each connection: it says a class and means a callable."""
    return cast(type[asyncio.Protocol], connections)


class Server(uvicorn.Server):
    """Uvicorn, with our connections and our way to stop.

    begin_stop  called when the first signal has come, before anything is closed
    """

    def __init__(
        self, config: uvicorn.Config, connections: Connections, begin_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._begin_stop = begin_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where in one line of ours."""
        await super().startup(sockets=sockets)
        self._connections.begin_sweeps()
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                scheme = "https" if self.config.is_ssl else "http"
                log.info("likewise %s listens on %s://%s:%d", __version__, scheme, shown, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was accepted, then close."""
        log.info("stopping: requests in flight have %d seconds", GRACE_S)
        self._begin_stop()
        self._connections.stopping = True
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal; at the second, end.

        Uvicorn would note the signal and raise it again after a graceful stop, so that the process
        seems to have been killed: service managers take that for a failure.
        """
        if self.should_exit:
            log.warning("stopped by a second signal: requests in flight are not answered")
            os._exit(128 + sig)
        self.should_exit = True
