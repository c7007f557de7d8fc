"""Points by the stream: import and export, a line of JSON a point."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.answers import answer
from app.api.body import read, validated
from app.api.convert import json_from_records, point_from_wire
from app.api.openapi import body_of, content_of_lines
from app.api.service import service_of
from app.api.stream import (
    MEDIA_TYPE,
    LinesResponse,
    ProgressResponse,
    accepts_gzip,
    check_headers,
    json_from_progress,
    line_batches,
)
from app.errors import InvalidField
from app.service.checks import check_id
from app.service.cursor import cursor_after
from app.service.importing import Progress, patiently
from app.service.requests import NewPoint
from app.service.service import Service
from app.types import Projection, Record
from app.wire.base import EncodingFormat
from app.wire.points import ExportPoints, Imported
from app.wire.points import NewPoint as WirePoint

router = APIRouter(prefix="/v1/collections/{name}/points", tags=["points"])

PAGE_BYTES = 1 << 20
"""What pages of an export aim at: two of them are in memory, and one is made in milliseconds."""

_FIRST_PAGE, _LARGEST_PAGE = 16, 1024

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


class _Wanted(NamedTuple):
    """How an import is to be done."""

    skip: bool
    from_line: int


_PARAMETERS = [
    {
        "name": "on_error",
        "in": "query",
        "description": "End at the first bad line, or leave bad lines out.",
        "schema": {"type": "string", "enum": ["stop", "skip"], "default": "stop"},
    },
    {
        "name": "from_line",
        "in": "query",
        "description": "First line to import; those before it are passed over.",
        "schema": {"type": "integer", "minimum": 1, "default": 1},
    },
]


@router.post(
    ":import",
    response_model=Imported,
    responses={200: {"content": content_of_lines(Imported)}},
    openapi_extra={
        "requestBody": {"required": True, "content": content_of_lines(WirePoint)},
        "parameters": _PARAMETERS,
    },
)
async def import_points(name: str, request: Request) -> Response:
    """Insert or replace points, one a line, as they come; told when done, or as it goes."""
    service = service_of(request)
    wanted = _wanted(request)
    check_headers(request)
    mark = await service.mark(name)
    progress = Progress(wanted.from_line)

    async def work(on_progress: Callable[[], object]) -> None:
        batches = line_batches(request, _parse, from_line=wanted.from_line)
        await service.import_points(
            name, mark, batches, progress, skip=wanted.skip, on_progress=on_progress
        )

    if MEDIA_TYPE in request.headers.get("accept", "").lower():
        idle_s = service.settings.stream_idle_timeout
        return ProgressResponse(work, progress, idle_s=idle_s)
    await work(lambda: None)
    return answer(json_from_progress("done", progress))


@router.post(
    ":export",
    response_class=Response,
    responses={200: {"content": content_of_lines(WirePoint)}},
    openapi_extra=body_of(ExportPoints),
)
async def export_points(name: str, request: Request) -> Response:
    """Send points in the order of their ids, one a line, as an import takes them."""
    service = service_of(request)
    body = await read(request, ExportPoints)
    pages = _pages(service, name, body)
    first = await anext(pages)  # what is wrong with the request shows here

    async def all_pages() -> AsyncIterator[bytes]:
        yield first
        async for page in pages:
            yield page

    return LinesResponse(
        all_pages(),
        gzip=accepts_gzip(request),
        idle_s=service.settings.stream_idle_timeout,
    )


def _wanted(request: Request) -> _Wanted:
    """Read the query of an import. Raises InvalidField."""
    given = request.query_params
    for name in given:
        if name not in ("on_error", "from_line"):
            raise InvalidField("unknown parameter in the query: expected on_error, from_line")
    on_error, from_line = given.get("on_error", "stop"), given.get("from_line", "1")
    if on_error not in ("stop", "skip"):
        raise InvalidField("expected on_error=stop or on_error=skip in the query")
    if not (from_line.isascii() and from_line.isdigit() and 0 < len(from_line) < 16):
        raise InvalidField("expected from_line=1 or more in the query")
    if int(from_line) == 0:
        raise InvalidField("expected from_line=1 or more in the query: lines count from 1")
    return _Wanted(on_error == "skip", int(from_line))


def _parse(line: bytes) -> NewPoint:
    return point_from_wire(validated(WirePoint, line))


async def _pages(service: Service, name: str, body: ExportPoints) -> AsyncIterator[bytes]:
    """Points as lines, page after page, each of one state of the collection."""
    projection = Projection(with_text=body.with_text, with_vectors=body.with_vectors)
    cursor = None if body.after is None else cursor_after(check_id(body.after, "/after"))
    limit = min(_FIRST_PAGE, service.settings.max_k)
    mark = await patiently(partial(service.mark, name))
    while True:
        records, cursor = await patiently(
            partial(service.scroll, name, body.filter, limit, cursor, projection, mark)
        )
        page = await run_in_threadpool(_lines, records, body.encoding_format)
        yield page
        if cursor is None:
            return
        grown = limit * PAGE_BYTES // max(1, len(page))
        limit = min(max(grown, 1), 2 * limit, _LARGEST_PAGE, service.settings.max_k)


def _lines(records: Sequence[Record], encoding: EncodingFormat) -> bytes:
    points = json_from_records(records, encoding)
    return b"".join(orjson.dumps(point, option=_OPTIONS) for point in points)
