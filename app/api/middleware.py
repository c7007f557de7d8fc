"""What happens around every request: its id, its log line, and the net under everything.

A plain ASGI callable, not a `BaseHTTPMiddleware`: that one costs a task and a queue per request.
"""

from __future__ import annotations

import logging
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import unexpected
from app.log import request_id

log = logging.getLogger(__name__)

GRANT = "likewise.grant"
"""Where `app.api.access` notes in the scope of a request what its caller may do."""

_PROBES = {"/healthz", "/readyz"}
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_ids = random.Random()  # noqa: S311  # seeded by the system; an id is no secret


class RequestFrame:
    """Give each request an id, log it when it is answered, and turn a crash into a plain 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        current = _incoming_id(scope) or f"{_ids.getrandbits(128):032x}"
        token = request_id.set(current)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", current.encode("ascii")),
                ]
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
    facts = {
        "method": scope["method"],
        # The template, not the path: a path holds names that callers chose.
        "path": getattr(scope.get("route"), "path", "-"),
        "status": status,
        "ms": round((time.perf_counter() - started) * 1e3, 2),
    }
    if GRANT in scope:
        facts["key"] = scope[GRANT].name
    # Not `log.log`, which walks the stack for the caller's file and line: they are known.
    record = log.makeRecord(
        log.name, level, __file__, 0, "request", (), None, extra={"facts": facts}
    )
    log.handle(record)
