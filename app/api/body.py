"""Reading request bodies: the length limit, the media type, and strict validation.

A body is refused by its declared length before a byte of it is read, and by its true length while
it is read; so it is where too many bytes of others are in work (`app.api.inflight`). What it
declares is taken for a wish, not for bytes that others have to do without. One that does
not arrive in time, or not in HTTP's form, is noticed by the connection, which says so in the scope
(`FAULT`). Validation goes straight from bytes to the model. Up to `INLINE_BYTES` it is done on
the event loop, where a hand-over to a thread would cost more than it saves; above, on a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from app.api.problems import error_from_validation
from app.errors import BodyTooLarge, MalformedBody, UnsupportedContentType
from app.service.deadlines import restart
from app.wire.base import WireModel

INLINE_BYTES = 16 * 1024
"""About 40 µs of validation: measured 7.5 kB (384 numbers) in 18 µs on one core."""

_FIRST_BYTES = 256 * 1024
"""Taken for a body of which nothing has come; then as much as came, and twice that."""

FAULT = "likewise.body_fault"
"""Member of a scope: the error for which the rest of its body will not come."""

PACED = "likewise.paced"
"""Member of a scope: whoever reads the body says itself how slowly it may come."""

_JSON = b"application/json"
_FORM = b"multipart/form-data"

Model = TypeVar("Model", bound=WireModel)
Result = TypeVar("Result")


async def read(request: Request, model: type[Model]) -> Model:
    """Read and validate the body.

    Raises UnsupportedContentType, BodyTooLarge, MalformedBody or InvalidField.
    """
    return await read_with(request, lambda body: validated(model, body))


async def read_as(
    request: Request, model: type[Model], convert: Callable[[Model], Result]
) -> Result:
    """Read the body, validate it and convert it, the last two on the same thread."""
    return await read_with(request, lambda body: convert(validated(model, body)))


async def read_json_or_form(
    request: Request, model: type[Model], members_of: Callable[[bytes | bytearray, bytes], Any]
) -> Model:
    """Read the body as JSON, or as a form that `members_of` turns into members of the same model.

    members_of  the body and its Content-Type → members
    """
    media_type = _header(request, b"content-type")
    if media_type.partition(b";")[0].strip().lower() != _FORM:
        return await read(request, model)
    body = await _read_bytes(request, request.app.state.settings.max_body_bytes)

    def parse() -> Model:
        try:
            return model.model_validate(members_of(body, media_type))
        except ValidationError as error:
            raise error_from_validation(error, model) from None

    return await run_in_threadpool(parse)


async def read_with(request: Request, parse: Callable[[bytes | bytearray], Result]) -> Result:
    """Read the body and parse it, a long one on a thread."""
    _check_media_type(request)
    body = await _read_bytes(request, request.app.state.settings.max_body_bytes)
    if len(body) <= INLINE_BYTES:
        return parse(body)
    return await run_in_threadpool(parse, body)


def validated(model: type[Model], body: bytes | bytearray) -> Model:
    """Validate a body. Raises MalformedBody or InvalidField."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise error_from_validation(error, model) from None


async def _read_bytes(request: Request, limit: int) -> bytes | bytearray:
    declared = _header(request, b"content-length", b"0")
    if not declared.isdigit():
        raise MalformedBody("the header Content-Length is not a number")
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)
    announced = int(declared)
    taken = 0
    if announced > INLINE_BYTES:
        inflight = request.app.state.inflight
        inflight.check(announced)
        taken = min(announced, _FIRST_BYTES)
        inflight.take(taken)
    body: bytes | bytearray = b""
    # Not `request.stream`: nearly every body is one message.
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise MalformedBody("the body ended before it was complete")
        chunk: bytes = message.get("body", b"")
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            if not body:
                return chunk
            restart(request.app.state.settings.request_timeout)
            return body + chunk
        check_fault(request)
        body = bytearray(body) if isinstance(body, bytes) else body
        body += chunk
        if len(body) > max(taken, INLINE_BYTES):
            more = min(max(len(body), 2 * taken), announced or limit) - taken
            request.app.state.inflight.take(more)
            taken += more


def check_fault(request: Request) -> None:
    """Raise what keeps the rest of the body from coming; asked after each part of it."""
    fault = request.scope.get(FAULT)
    if fault is not None:
        raise fault


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"a body has at most {limit} bytes; send the points in several requests", limit=limit
    )


def _check_media_type(request: Request) -> None:
    media_type = _header(request, b"content-type")
    if media_type != _JSON and media_type.partition(b";")[0].strip().lower() != _JSON:
        raise UnsupportedContentType("expected the header Content-Type: application/json")
    if _header(request, b"content-encoding", b"identity").strip().lower() != b"identity":
        raise UnsupportedContentType("a compressed body is not accepted: send it as it is")


def _header(request: Request, wanted: bytes, default: bytes = b"") -> bytes:
    for name, value in request.scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return default
