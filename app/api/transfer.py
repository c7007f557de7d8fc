"""Files as bodies: sent and received in pieces, never whole in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import IO

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from app.api.body import check_fault
from app.errors import InvalidField, MalformedBody, UnsupportedContentType

MEDIA_TYPE = "application/vnd.likewise.snapshot"

_READ = {MEDIA_TYPE, "application/octet-stream", ""}
_PIECE = 256 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?", re.ASCII)


def announced(request: Request) -> tuple[int | None, str | None]:
    """Read what the headers say of a file that comes: its length and its SHA-256, if they do.

    Raises UnsupportedContentType, MalformedBody or InvalidField.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _READ:
        raise UnsupportedContentType("expected the header Content-Type: application/octet-stream")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedContentType("a compressed body is not accepted: send it as it is")
    length = request.headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
        raise MalformedBody("the header Content-Length is not a number")
    digest = request.headers.get("x-content-sha256")
    if digest is not None and not _DIGEST.fullmatch(digest.lower()):
        raise InvalidField("the header X-Content-SHA256 has 64 hexadecimal digits")
    return None if length is None else int(length), digest and digest.lower()


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """Give the body as it arrives. Raises MalformedBody if it ends too early, or BodyTooSlow."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise MalformedBody("the body ended before it was complete")
        if message.get("more_body", False):
            check_fault(request)
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def sent(request: Request, file: IO[bytes], size: int, sha256: str, name: str) -> Response:
    """Send a file of that size, or the range of it that is asked for, and close it.

    One range of bytes with a first one is understood; whatever else is asked for is answered with
    the whole, as RFC 9110 (14.2) allows.
    """
    etag = f'"{sha256}"'
    start, end = _range(request, etag, size)
    headers = {
        "content-length": str(end - start),
        "etag": etag,
        "accept-ranges": "bytes",
        # Names are of A-Z a-z 0-9 _ . - and need no quoting.
        "content-disposition": f'attachment; filename="{name}"',
    }
    whole = (start, end) == (0, size)
    if not whole:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        _read(file, start, end), 200 if whole else 206, headers, media_type=MEDIA_TYPE
    )


def _range(request: Request, etag: str, size: int) -> tuple[int, int]:
    """Say which bytes are wanted: from `start` up to before `end`."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", etag) != etag:
        return 0, size
    start = int(asked[1])
    end = size if asked[2] is None else min(int(asked[2]) + 1, size)
    return (start, end) if start < end else (0, size)


async def _read(file: IO[bytes], start: int, end: int) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(file.seek, start)
        left = end - start
        while left and (piece := await asyncio.to_thread(file.read, min(left, _PIECE))):
            left -= len(piece)
            yield piece
    finally:
        file.close()
