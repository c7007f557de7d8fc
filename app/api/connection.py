"""One client's connection: HTTP read within bounds of bytes, time and number.

Theory of operation. Uvicorn's protocol does the work: it is called by the event loop when bytes
come and when they have gone, lets httptools parse them, and starts a task for each request. It
trusts its clients, though: a head may be of any length and take for ever, as may a body, and an
answer may stay unread. This subclass adds what a server needs that cannot choose its clients.

- **Heads** have at most `HEAD_BYTES` and `HEADERS`, their targets `TARGET_BYTES`.
- **Time.** No timer is set for a request: once in a while `Connections` walks over all
  connections, and each adds the time that passed to what it waits for: a head, a body, or for a
  client to read. Time in which it is us who do not read is not counted. A byte now and then does
  not help: beyond a fixed time, bytes have to come (and go) at `SLOWEST` a second.
- **Number.** Of connections above the limit, the first `RESERVED` are answered: probes by the
  application, everything else with 503. So a service that is full is not taken for dead. Those
  above are told so and closed.
- **Pipelining.** Requests behind each other are answered in order, at most `PIPELINED` may wait.
  Then no more are read, and the connection is closed behind the last: its client sends the rest
  again.
- **A client that goes away** takes its requests with it: their tasks are cancelled (`GONE` tells
  the frame why). What waits in a lane or an encoder's queue is then taken out; what has begun is
  finished.
- **Faults of HTTP** are answered with problem documents. If an earlier request is still being
  answered, the connection is closed behind that answer instead: a second one would be taken for
  its.
- **Stopping.** Requests under way are finished, queued ones too. Idle connections stay for
  `DRAIN_S`, since a request may be on its way through them: it gets 503, and then they are closed.
  Nobody is waited for who does nothing: a body of which nothing comes for `STILL_S`, and an answer
  of which nothing is taken for as long, are given up.

A connection that was refused lingers: it is read, and what comes is thrown away, until the client
has closed it or `LINGER_S` are over. Closed at once, the system would answer whatever is still on
its way with a reset, which can destroy the answer before the client has read it.

Everything runs on the event loop. What is relied on in uvicorn is listed in
`tests/api/test_uvicorn.py`; its version is pinned for that reason.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, cast

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.api.body import FAULT, PACED
from app.api.middleware import BREAK_OFF, GONE, PROBES, RequestFrame, new_id
from app.api.problems import response_to
from app.errors import (
    BodyTooSlow,
    HeadTooLarge,
    HeadTooSlow,
    LikewiseError,
    MalformedBody,
    MalformedRequest,
    ShuttingDown,
    TargetTooLong,
    TooManyConnections,
)
from app.log import request_id
from app.metrics.accounts import Requests

log = logging.getLogger(__name__)

HEAD_BYTES = 32 * 1024
"""Most bytes of a request line and its headers: four times the longest tokens that are common."""

TARGET_BYTES = 8 * 1024
HEADERS = 128
PIPELINED = 64
RESERVED = 32

SLOWEST = 16 * 1024
"""Bytes a second below which a client is too slow: an eighth of a megabit."""

LINGER_S = 5.0
DRAIN_S = 0.5
STILL_S = 3.0  # a third of the ten seconds that containers are given to stop
LONGEST_SWEEP_S = 1.0
SWEPT_AT_ONCE = 256

_PROBE_TARGETS = tuple(probe.encode() for probe in PROBES)

# What a connection is reading; at rest it waits for a request, or reads none until one is answered.
_HEAD, _BODY, _REST = range(3)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server puts up with: open connections, and seconds for heads, bodies and answers."""

    connections: int
    head_s: float
    body_s: float
    write_s: float


class Connections:
    """All connections of a server; called by uvicorn to make one.

    requests  where refusals are counted
    open      those that are open now
    refused   connections and heads that were answered by the connection itself
    slow      connections that were closed because a head, a body or a reader took too long
    gone      requests whose client went away before they were answered
    stopping  whether new requests are refused
    """

    def __init__(self, bounds: Bounds, requests: Requests) -> None:
        self.bounds = bounds
        self.requests = requests
        self.open: set[Connection] = set()
        self.refused = self.slow = self.gone = 0
        self.stopping = False
        shortest = min(bounds.head_s, bounds.body_s, bounds.write_s)
        self._sweep_s = min(LONGEST_SWEEP_S, shortest / 4)

    def __call__(self, **given: Any) -> Connection:
        return Connection(self, **given)

    def begin_sweeps(self) -> None:
        """Look after the connections from now on, for as long as the loop runs."""
        loop = asyncio.get_running_loop()
        swept = loop.time()

        def sweep() -> None:
            nonlocal swept
            now = loop.time()
            connections = list(self.open)
            # Spread over the time until the next, for nobody to wait for all of them.
            for start in range(0, len(connections), SWEPT_AT_ONCE):
                after_s = self._sweep_s * start / len(connections)
                part = connections[start : start + SWEPT_AT_ONCE]
                loop.call_later(after_s, _age, part, now - swept)
            swept = now
            loop.call_later(self._sweep_s, sweep)

        loop.call_later(self._sweep_s, sweep)


def _age(connections: list[Connection], passed_s: float) -> None:
    for connection in connections:
        connection.age(passed_s)


class Connection(HttpToolsProtocol):
    """A connection of `Connections`."""

    def __init__(self, shared: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._shared = shared
        self._application = cast(ASGIApp, self.app)  # the same, by uvicorn's names
        self._crowded = False
        self._deaf = False  # nothing more is parsed
        self._phase = _HEAD
        self._waited_s = 0.0  # for the phase to end
        self._still_s = 0.0  # since bytes last came
        self._left_s = 0.0  # lingering
        self._received = 0  # bytes of the phase
        self._chunk = 0  # bytes that are being parsed
        self._fresh = 0  # of them, those that can belong to the message that begins in them
        self._unread_s = 0.0  # since the client last took bytes of its answer
        self._unsent = 0
        self._serving: tuple[RequestResponseCycle, asyncio.Task[None]] | None = None

    # ── from the event loop ──────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take part, unless there are too many."""
        shared = self._shared
        excess = len(shared.open) - shared.bounds.connections
        shared.open.add(self)
        super().connection_made(transport)
        self._crowded = excess >= 0
        if excess >= RESERVED:
            self._answer(_crowd())
        elif shared.stopping:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and what was to be answered through it."""
        self._shared.open.discard(self)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._serving is not None:
            cycle, task = self._serving
            if not cycle.response_complete and not task.done():
                self._shared.gone += 1
                cast(Scope, cycle.scope)[GONE] = True
                cycle.disconnected = True
                task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf:
            return
        self._still_s = 0.0
        self._chunk = self._fresh = len(data)
        self._received += self._chunk
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade_asked()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, LikewiseError) else _malformed())
        else:
            if self._phase == _HEAD and self._received > HEAD_BYTES:
                self._refuse(_large_head())

    def resume_writing(self) -> None:
        """Notice that the client reads."""
        self._unread_s = 0.0
        super().resume_writing()

    # ── from the parser ──────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        """Begin to read a head: only now, for blank lines may come before it, without end."""
        if len(self.pipeline) >= PIPELINED:
            raise _malformed()  # answered behind what waits, that is, not at all
        self._unset_keepalive_if_required()
        self._phase = _HEAD
        self._waited_s = 0.0
        self._received = self._fresh
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request, or refuse it by its head."""
        if max(self._received, self._chunk) > HEAD_BYTES and self._head_bytes() > HEAD_BYTES:
            raise _large_head()
        if len(self.headers) > HEADERS:
            raise HeadTooLarge(f"a request has at most {HEADERS} headers", limit=HEADERS)
        if len(self.url) > TARGET_BYTES:
            raise TargetTooLong(
                f"the target of a request has at most {TARGET_BYTES} bytes", limit=TARGET_BYTES
            )
        if self._crowded or self._shared.stopping:
            self.app = cast(Any, self._instead())
        super().on_headers_complete()
        self._phase = _BODY
        self._waited_s = self._left_s = 0.0
        self._received = 0

    def on_message_complete(self) -> None:
        """Note that the body is there."""
        self._phase = _REST
        self._fresh = 0
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        def break_off() -> None:
            cycle.disconnected = True
            self.transport.close()

        cast(Scope, cycle.scope)[BREAK_OFF] = break_off
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self._serving = cycle, task

    # ── from the server ──────────────────────────────────────────────────────────────────────

    def shutdown(self) -> None:
        """Answer what was accepted; close the connection behind it, or soon if there is nothing."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(DRAIN_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def age(self, passed_s: float) -> None:
        """Add `passed_s` to what this connection waits for, and give up what takes too long."""
        if self._deaf or (self._phase != _REST and not self.flow.read_paused):
            self._waited_s += passed_s
            self._still_s += passed_s
            self._check_reading(passed_s)
        self._check_writing(passed_s)

    def _check_reading(self, passed_s: float) -> None:
        bounds = self._shared.bounds
        if self._deaf:
            if not self._answering():
                self._linger(passed_s)
        elif self._phase == _HEAD:
            if self._waited_s > bounds.head_s:
                self._shared.slow += 1
                self._refuse(HeadTooSlow(f"a head has to arrive in {bounds.head_s:g} seconds"))
        elif self.cycle.response_complete or FAULT in self.cycle.scope:
            # The request is answered, or is about to be, without the rest of its body.
            self._linger(passed_s)
        elif self._shared.stopping and self._still_s > STILL_S:
            self._break_off(
                ShuttingDown("the service is stopping, and the rest of the body does not come")
            )
        elif PACED in self.cycle.scope:
            pass
        elif self._waited_s > bounds.body_s + self._received / SLOWEST:
            self._shared.slow += 1
            self._break_off(
                BodyTooSlow(
                    f"a body has to arrive in {bounds.body_s:g} seconds and one more for each "
                    f"{SLOWEST} bytes"
                )
            )

    def _linger(self, passed_s: float) -> None:
        self._left_s += passed_s
        if self._left_s > LINGER_S:
            self.transport.abort()

    def _check_writing(self, passed_s: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            self._unread_s += passed_s - max(0, self._unsent - unsent) / SLOWEST
            self._unread_s = max(0.0, self._unread_s)
            bound_s = self._shared.bounds.write_s
            if self._unread_s > (min(bound_s, STILL_S) if self._shared.stopping else bound_s):
                self._shared.slow += 1
                log.info("a client did not read its answer", extra={"facts": {"unread": unsent}})
                self.transport.abort()
        else:
            self._unread_s = 0.0
        self._unsent = unsent

    # ── refusals ─────────────────────────────────────────────────────────────────────────────

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: LikewiseError) -> None:
        """Read no further, and say why if that can be understood."""
        if not self._answering():
            if self._phase == _BODY:
                self._hang_up()  # the fault is in a body whose request is answered already
            elif self._phase == _HEAD and not self._received:
                self.transport.close()  # nothing was asked
            else:
                self._answer(error)
        elif self._phase == _BODY:
            self._deaf = True
            self._break_off(MalformedBody("the chunks of the body are not what HTTP says"))
        else:
            self._deaf = True
            self.cycle.keep_alive = False

    def _break_off(self, error: LikewiseError) -> None:
        """Have the request whose body is being read end with an error."""
        self.cycle.keep_alive = False
        self.cycle.more_body = True
        cast(Scope, self.cycle.scope)[FAULT] = error
        self.cycle.message_event.set()

    def _answer(self, error: LikewiseError) -> None:
        self._shared.refused += 1
        self._shared.requests.refused(error.code)
        token = request_id.set(new_id())
        try:
            log.info("a connection was refused", extra={"facts": {"code": error.code}})
            response = response_to(error)
            head = [STATUS_LINE[response.status_code]]
            for name, value in (
                *self.server_state.default_headers,
                *response.raw_headers,
                (b"x-request-id", request_id.get().encode("ascii")),
            ):
                head += (name, b": ", value, b"\r\n")
            self.transport.write(b"".join((*head, b"\r\n", response.body)))
        finally:
            request_id.reset(token)
        self._hang_up()

    def _hang_up(self) -> None:
        """Say that no more will come, and linger."""
        self._deaf = True
        self._left_s = 0.0
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS
            self.transport.close()

    def _upgrade_asked(self) -> None:
        """Go on without: a server may. But the parser has stopped, so a body would be lost."""
        self._deaf = True
        if self._answering():
            self.cycle.keep_alive = False
            declared = {name for name, _ in self.headers}
            if declared & {b"content-length", b"transfer-encoding"}:
                self._break_off(MalformedRequest("send the request without the header Upgrade"))

    def _instead(self) -> ASGIApp:
        """What answers in place of the application; for probes, the application itself."""
        if self.url.partition(b"?")[0] in _PROBE_TARGETS:
            return self._application
        if self._shared.stopping:
            stopping = ShuttingDown("the service is stopping")
            return RequestFrame(_raising(stopping), self._shared.requests)
        self._shared.refused += 1
        return RequestFrame(_raising(_crowd()), self._shared.requests)

    def _head_bytes(self) -> int:
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        headers = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        return line + headers + len("\r\n")


def _raising(error: LikewiseError) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


def _malformed() -> LikewiseError:
    return MalformedRequest("expected a request in HTTP/1.1")


def _large_head() -> LikewiseError:
    return HeadTooLarge(f"a head has at most {HEAD_BYTES} bytes", limit=HEAD_BYTES)


def _crowd() -> LikewiseError:
    return TooManyConnections(
        "the service has as many connections as it may; use fewer, and keep them open"
    )
