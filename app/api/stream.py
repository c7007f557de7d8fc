"""Bodies without an end in sight: imports as they are read, exports as they are written.

An ordinary body is judged by its length and by the time it takes. A stream has neither: it is
judged by whether it moves. Each wait for the other side, in either direction, may take
`stream_idle_timeout`; nothing limits the whole.

Reading is paced by writing: nothing is taken from the connection while one batch is written and
the next one is ready, so the server's buffer fills, and then the sender's.

Progress is told without ever waiting for whoever reads it. Most clients of HTTP/1.1 read no answer
before they have sent everything; if the import waited until its progress was taken, both sides
would wait for ever. So only the newest progress is kept for sending.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from app.api.body import PACED, check_fault
from app.api.lines import BATCH_LINES, LineBatches, LineReader, Parse
from app.api.middleware import BREAK_OFF
from app.api.problems import log_fault, problem_of
from app.errors import BodyTooSlow, LikewiseError, MalformedBody, UnsupportedContentType
from app.service.importing import LineBatch, Progress

MEDIA_TYPE = "application/x-ndjson"

LINGER_S = 1.0
"""Lines that came are written after this long, also if they do not fill a batch."""

HEARTBEAT_S = 10.0
"""Progress is told at least this often, for whoever closes connections on which nothing moves."""

_READ_BYTES = 1 << 15  # enough for a thread to be worth its while

# Level 1: 6 takes three times as long for base64, and makes it 1 % smaller.
_GZIP_LEVEL, _GZIP_WINDOW = 1, 31


# ── reading ──────────────────────────────────────────────────────────────────────────────────


async def line_batches(
    request: Request, parse: Parse, *, from_line: int
) -> AsyncIterator[LineBatch]:
    """Read a body of lines, gzip or not, in batches.

    Raises UnsupportedContentType before the first batch; after the last whole one BodyTooSlow,
    BodyTooLarge, or MalformedBody if the body is damaged or the connection is gone.
    """
    settings = request.app.state.settings
    reader = LineReader(
        gzip=check_headers(request),
        from_line=from_line,
        max_line_bytes=settings.max_line_bytes,
        max_bytes=settings.max_import_bytes,
    )
    batches = LineBatches(reader, parse, most_lines=min(BATCH_LINES, settings.max_batch))
    body = _Body(request.receive, settings.stream_idle_timeout)
    request.scope[PACED] = True
    try:
        while True:
            failure: LikewiseError | None = None
            try:
                await body.read(within_s=LINGER_S)
                check_fault(request)
            except LikewiseError as error:
                failure = error
            for data in body.taken():
                reader.feed(data)
            if body.ended:
                reader.end()
            while (batch := await run_in_threadpool(batches.next)) is not None:
                yield batch
            if batches.waiting and (body.ended or body.lingered or failure is not None):
                yield batches.rest()
            if failure is not None:
                raise failure
            if body.ended:
                return
    finally:
        body.close()


def check_headers(request: Request) -> bool:
    """Tell whether the body is gzip. Raises UnsupportedContentType for what cannot be read."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedContentType(f"expected the header Content-Type: {MEDIA_TYPE}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedContentType("expected the header Content-Encoding: gzip, or none")
    return encoding == "gzip"


class _Body:
    """Bytes as the connection gives them, gathered a little."""

    def __init__(self, receive: Receive, idle_s: float) -> None:
        self.ended = False
        self.lingered = False
        """Whether the last `read` ended because of its time."""
        self._receive = receive
        self._idle_s = idle_s
        self._silent_s = 0.0  # waited for the other side since something came
        self._pending: asyncio.Future[Message] | None = None
        self._taken: list[bytes] = []

    async def read(self, *, within_s: float) -> None:
        """Gather some bytes, for so long at most.

        Raises BodyTooSlow or MalformedBody; what came before can be taken still.
        """
        gathered = 0
        self.lingered = False
        until = time.monotonic() + within_s
        while gathered < _READ_BYTES and not self.ended:
            if self._pending is None:
                self._pending = asyncio.ensure_future(self._receive())
            begun = time.monotonic()
            patience_s = min(until - begun, self._idle_s - self._silent_s)
            await asyncio.wait({self._pending}, timeout=max(0.0, patience_s))
            now = time.monotonic()
            if not self._pending.done():
                self._silent_s += now - begun
                if self._silent_s >= self._idle_s:
                    raise BodyTooSlow(f"nothing of the body came for {self._idle_s:g} seconds")
            else:
                message, self._pending = self._pending.result(), None
                if message["type"] == "http.disconnect":
                    raise MalformedBody("the body ended before it was complete")
                data = message.get("body", b"")
                if data:
                    self._silent_s = 0.0
                    self._taken.append(data)
                    gathered += len(data)
                self.ended = not message.get("more_body", False)
            if now >= until:
                self.lingered = True
                return

    def taken(self) -> list[bytes]:
        """Give the bytes gathered since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def close(self) -> None:
        """Wait for no more."""
        if self._pending is not None:
            self._pending.cancel()


# ── answering an import ──────────────────────────────────────────────────────────────────────

Import = Callable[[Callable[[], object]], Awaitable[None]]
"""Does the import; calls its argument after each batch."""


def json_from_progress(state: str, progress: Progress) -> dict[str, Any]:
    """`app.wire.points.Imported`"""
    told: dict[str, Any] = {
        "state": state,
        "next_line": progress.next_line,
        "upserted": progress.upserted,
        "failed": progress.failed,
        "blank": progress.blank,
    }
    if state != "running":
        told["errors"] = [
            {
                "line": line,
                "code": error.code,
                "detail": error.detail,
                "pointer": error.pointer or "",
            }
            for line, error in progress.faults
        ]
    return told


class ProgressResponse(Response):
    """Does an import and tells how it goes, a line of JSON at a time.

    The answer begins with the first thing there is to tell: an import that fails before has the
    status of its error. After that the last line says how it ended.
    """

    def __init__(self, work: Import, progress: Progress, *, idle_s: float) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._work = work
        self._progress = progress
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the import to its end, whether or not anybody reads."""
        lines = _Sent(send, (b"content-type", MEDIA_TYPE.encode()))
        moved = asyncio.Event()
        work = asyncio.ensure_future(self._work(moved.set))
        work.add_done_callback(lambda _: moved.set())
        sending: asyncio.Future[None] | None = None
        try:
            while not work.done():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(moved.wait(), HEARTBEAT_S)
                moved.clear()
                if work.done():
                    break
                running = _line(json_from_progress("running", self._progress))
                sending = asyncio.ensure_future(lines.send(running))
                # Perhaps nobody reads yet: then the next thing to tell is how it ended.
                await asyncio.wait({sending, work}, return_when=asyncio.FIRST_COMPLETED)
            try:
                await work
                last = json_from_progress("done", self._progress)
            except LikewiseError as error:
                if not lines.begun:
                    raise
                log_fault(error)
                last = json_from_progress("failed", self._progress) | {"problem": problem_of(error)}
            if sending is not None:
                await asyncio.wait_for(sending, self._idle_s)
            await asyncio.wait_for(lines.send(_line(last), more=False), self._idle_s)
        finally:
            work.cancel()


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


# ── exporting ────────────────────────────────────────────────────────────────────────────────

Pages = AsyncIterator[bytes]


class LinesResponse(Response):
    """Sends lines as they are made, gzip if it is accepted, and stops when nobody reads.

    When making them fails, the connection is closed without the end that chunked bodies have: that
    is how the other side knows (RFC 9112, section 8). A collection that is dropped meanwhile is no
    fault of ours, and not logged as one.
    """

    def __init__(self, pages: Pages, *, gzip: bool, idle_s: float) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._pages = pages
        self._gzip = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW) if gzip else None
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send page after page, each made while the one before it travels."""
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"vary", b"accept-encoding")]
        if self._gzip is not None:
            headers.append((b"content-encoding", b"gzip"))
        body = _Sent(send, *headers)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            async for page in self._pages:
                if gone.done():
                    return
                packed = await run_in_threadpool(self._packed, page)
                await asyncio.wait_for(body.send(packed), self._idle_s)
            end = b"" if self._gzip is None else self._gzip.flush()
            await asyncio.wait_for(body.send(end, more=False), self._idle_s)
        except LikewiseError as error:
            break_off = scope.get(BREAK_OFF)
            if break_off is None or not body.begun:
                raise
            scope["problem"] = error.code
            log_fault(error)
            break_off()
        finally:
            gone.cancel()

    def _packed(self, page: bytes) -> bytes:
        return page if self._gzip is None else self._gzip.compress(page)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def accepts_gzip(request: Request) -> bool:
    """Tell whether the header Accept-Encoding asks for gzip (RFC 9110, section 12.5.3)."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameter = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", parameter)
    return False


class _Sent:
    """An answer of 200 that begins with its first bytes."""

    def __init__(self, send: Send, *headers: tuple[bytes, bytes]) -> None:
        self.begun = False
        self._send = send
        self._headers = list(headers)

    async def send(self, body: bytes, *, more: bool = True) -> None:
        """Send some bytes, as soon as there is room for them."""
        if not self.begun:
            self.begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": self._headers}
            )
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
