"""What happens around every request: its id, its log line, and the net under everything.

A plain ASGI callable, not a `BaseHTTPMiddleware`: that one costs a task and a queue per request.
"""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import unexpected
from app.log import request_id

log = logging.getLogger(__name__)

_PROBES = {"/healthz", "/readyz"}
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestFrame:
    """Give each request an id, log it when it is answered, and turn a crash into a plain 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        current = _incoming_id(scope) or uuid.uuid4().hex
        token = request_id.set(current)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = current
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed unexpectedly")
            if status:
                raise  # half an answer is out: only a broken connection can tell the caller
            await unexpected()(scope, receive, send_with_id)
        finally:
            _log_request(scope, status, started)
            request_id.reset(token)


def _incoming_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return None


def _log_request(scope: Scope, status: int, started: float) -> None:
    # Probes ask every few seconds, and nobody reads about it.
    level = logging.DEBUG if scope["path"] in _PROBES and status == 200 else logging.INFO
    if not log.isEnabledFor(level):
        return
    # The template, not the path: a path holds names that callers chose.
    template = getattr(scope.get("route"), "path", "-")
    took_ms = round((time.perf_counter() - started) * 1e3, 2)
    log.log(
        level,
        "request",
        extra={
            "facts": {
                "method": scope["method"],
                "path": template,
                "status": status,
                "ms": took_ms,
            }
        },
    )
