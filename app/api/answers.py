"""Writing answers: JSON straight from plain values, long ones on a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import Response
from starlette.concurrency import run_in_threadpool

INLINE_PARTS = 256
"""Records that are written on the event loop: below a millisecond without vectors."""

PARTS_OF_A_VECTOR = 16
"""What writing one vector costs, in records without one."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


_JSON = (b"content-type", b"application/json")


class JsonResponse(Response):
    """JSON that is written already, under the two headers that it needs."""

    def __init__(self, body: bytes, status: int) -> None:
        # Not the constructor above: it works the same headers out anew for each answer.
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]


def written(value: Any) -> bytes:
    """Write a JSON value; arrays of numbers in it are lists."""
    return orjson.dumps(value, option=_OPTIONS)


def answer(value: Any, status: int = 200) -> Response:
    """Send a small JSON value."""
    return JsonResponse(written(value), status)


async def long_answer(
    build: Callable[[], Any], *, records: int, with_vectors: bool = False
) -> Response:
    """Send what `build` returns; build and write it on a thread if it is long."""
    parts = records * (PARTS_OF_A_VECTOR if with_vectors else 1)
    if parts <= INLINE_PARTS:
        return answer(build())
    return await run_in_threadpool(lambda: answer(build()))
