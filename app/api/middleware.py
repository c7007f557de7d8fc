"""What happens around every request: its ids, its log line, its metrics, the net under everything.

A plain ASGI callable, not a `BaseHTTPMiddleware`: that one costs a task and a queue per request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import response_to, unexpected
from app.errors import LikewiseError, MalformedRequest, ShuttingDown
from app.log import request_id, trace_id
from app.metrics.accounts import Requests
from app.service.deadlines import callers_own, deadline
from app.types import NAME

log = logging.getLogger(__name__)

GRANT = "likewise.grant"
"""Where `app.api.access` notes in the scope of a request what its caller may do."""

GONE = "likewise.gone"
"""Member of a scope: its client went away, and its task is cancelled for that reason."""

BREAK_OFF = "likewise.break_off"
"""Member of a scope: closes the connection before the end of an answer that has begun."""

CLIENT_GONE = 499
"""What the log says where nobody was left to be answered; nginx's number for it."""

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that tell how the service is, and are answered when nothing else is."""

_TWO = b"two of them"  # no number: which was meant is not for us to guess
_SANE_TIMEOUT = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# https://www.w3.org/TR/trace-context/, version 00 and whatever later ones put behind it.
_TRACE_PARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
_ids = random.Random()  # noqa: S311  # seeded by the system; an id is no secret


class RequestFrame:
    """Give each request an id and a deadline, log and count it, turn a crash into a plain 500.

    timeout_s  how long a request may wait for its work to begin; its header `X-Request-Timeout`
               can ask for less
    """

    def __init__(self, app: ASGIApp, requests: Requests, timeout_s: float = math.inf) -> None:
        self._app = app
        self._requests = requests
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        self._requests.in_flight += 1
        given, trace, wanted_s = _incoming(scope)
        current = given or new_id()
        token = request_id.set(current)
        trace_token = trace_id.set(trace) if trace else None
        deadline.set(started + self._timeout_s)  # the task ends with the request: no reset
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
            if wanted_s is not None:
                callers_own.set(started + _seconds(wanted_s))
                deadline.set(min(deadline.get(), callers_own.get()))
            await self._app(scope, receive, send_with_id)
        except LikewiseError as error:
            scope["problem"] = error.code
            if status:
                raise
            await response_to(error, scope["path"])(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if GONE in scope:
                status = status or CLIENT_GONE
            elif status:
                raise
            else:
                # The grace of a shutdown is over.
                scope["problem"] = ShuttingDown.code
                stopped = ShuttingDown("the service stopped before the request was answered")
                await response_to(stopped, scope["path"])(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed unexpectedly", extra={"facts": _place(scope)})
            if status:
                raise  # half an answer is out: only a broken connection can tell the caller
            scope["problem"] = "internal"
            await unexpected(scope["path"])(scope, receive, send_with_id)
        finally:
            took_s = time.monotonic() - started
            self._requests.in_flight -= 1
            # The template, not the path: a path holds names that callers chose.
            template = getattr(scope.get("route"), "path", "-")
            self._requests.note(scope["method"], template, status, took_s)
            if "problem" in scope:
                self._requests.refused(scope["problem"])
            _log_request(scope, template, status, took_s)
            request_id.reset(token)
            if trace_token is not None:
                trace_id.reset(trace_token)


def new_id() -> str:
    """Make up the id of a request that brings none."""
    return f"{_ids.getrandbits(128):032x}"


def _incoming(scope: Scope) -> tuple[str, str, bytes | None]:
    """The request's own id, its trace's ("" for one that is not sane), and how long it waits."""
    request, trace, wanted_s = "", "", None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _SANE_ID.fullmatch(value):
                request = str(value, "ascii")
        elif name == b"traceparent" and (found := _TRACE_PARENT.fullmatch(value)):
            trace = str(found[1], "ascii")
        elif name == b"x-request-timeout":
            wanted_s = value if wanted_s is None else _TWO
    return request, trace, wanted_s


def _seconds(value: bytes) -> float:
    if _SANE_TIMEOUT.fullmatch(value) is None:
        raise MalformedRequest("expected one header X-Request-Timeout: seconds, such as 2.5")
    return float(value)


def _place(scope: Scope) -> dict[str, object]:
    """Which endpoint and which collection. What is no name is some other text of the caller's."""
    facts: dict[str, object] = {
        "method": scope["method"],
        "path": getattr(scope.get("route"), "path", "-"),
    }
    name = scope.get("path_params", _NOTHING).get("name")
    if name is not None and NAME.fullmatch(name):
        facts["collection"] = name
    return facts


_NOTHING: dict[str, str] = {}


def _log_request(scope: Scope, template: str, status: int, took_s: float) -> None:
    # Probes ask every few seconds, and nobody reads about it.
    level = logging.DEBUG if template in PROBES and status == 200 else logging.INFO
    if not log.isEnabledFor(level):
        return
    facts = _place(scope)
    facts["status"] = status
    facts["ms"] = round(took_s * 1e3, 2)
    if "problem" in scope:
        facts["problem"] = scope["problem"]
    if GRANT in scope:
        facts["key"] = scope[GRANT].name
    # Not `log.log`, which walks the stack for the caller's file and line: they are known.
    record = log.makeRecord(
        log.name, level, __file__, 0, "request", (), None, extra={"facts": facts}
    )
    log.handle(record)
