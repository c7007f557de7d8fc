"""Errors as problem documents (RFC 9457). The one table from error class to HTTP status.

Whatever goes wrong ends here: errors of the tree, JSON that pydantic refuses, paths and methods
that no route takes, and anything nobody expected, which becomes a 500 that tells the caller
nothing but the id under which the log has the whole story.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app import errors
from app.errors import InvalidField, LikewiseError, MalformedBody
from app.log import request_id
from app.service.checks import place

log = logging.getLogger(__name__)

STATUS: dict[type[LikewiseError], int] = {
    errors.LikewiseError: 500,
    errors.InvalidRequest: 422,
    errors.MalformedRequest: 400,
    errors.TargetTooLong: 414,
    errors.HeadTooLarge: 431,
    errors.HeadTooSlow: 408,
    errors.MalformedBody: 400,
    errors.UnsupportedContentType: 415,
    errors.BodyTooLarge: 413,
    errors.BodyTooSlow: 408,
    errors.LimitExceeded: 422,
    errors.InvalidField: 422,
    errors.InvalidName: 422,
    errors.InvalidId: 422,
    errors.DuplicateId: 422,
    errors.InvalidText: 422,
    errors.InvalidImage: 422,
    errors.UnknownVector: 422,
    errors.InvalidVector: 422,
    errors.DimensionMismatch: 422,
    errors.VectorNotFinite: 422,
    errors.ZeroVector: 422,
    errors.InvalidAttributes: 422,
    errors.SchemaViolation: 422,
    errors.InvalidFilter: 422,
    errors.InvalidQuery: 422,
    errors.InvalidDefinition: 422,
    errors.InvalidCursor: 422,
    errors.InvalidSnapshot: 422,
    errors.AccessDenied: 403,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.RouteNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.CollectionNotFound: 404,
    errors.PointNotFound: 404,
    errors.EncoderNotFound: 404,
    errors.SnapshotNotFound: 404,
    errors.ArtefactNotFound: 404,
    errors.Conflict: 409,
    errors.DefinitionDiffers: 409,
    errors.SchemaConflict: 409,
    errors.CollectionExists: 409,
    errors.SnapshotExists: 409,
    errors.KeptOutdated: 409,
    errors.Unavailable: 503,
    errors.Overloaded: 429,
    errors.TooManyConnections: 503,
    errors.DeadlineExceeded: 503,
    errors.EncoderUnavailable: 503,
    errors.LexicalUnavailable: 503,
    errors.StorageFull: 507,
    errors.StorageReadOnly: 503,
    errors.ShuttingDown: 503,
    errors.ServerFault: 500,
    errors.EncodingFailed: 500,
    errors.StoredDataError: 500,
    errors.CorruptFile: 500,
    errors.IncompatibleFormat: 500,
    errors.DirectoryInUse: 500,
}

MEDIA_TYPE = "application/problem+json"

_LAST_WORDS = (
    errors.MalformedRequest,
    errors.TargetTooLong,
    errors.HeadTooLarge,
    errors.HeadTooSlow,
    errors.BodyTooSlow,
    errors.TooManyConnections,
    errors.ShuttingDown,
)
"""After these the connection is closed: its next request could not be told from the rest of this
one, or shall not come."""

_OPENAI_PATHS = ("/v1/embeddings", "/v1/models")
_OPENAI_TYPE = "invalid_request_error"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_MOST_FAULTS = 32  # more help nobody, and a body can be made to hold millions
_MOST_POINTER_CHARS = 1024
_MOST_INTEGER = 2**63 - 1


def error_from_validation(
    error: ValidationError, model: type[BaseModel] | None = None
) -> LikewiseError:
    """Translate what pydantic found into MalformedBody or InvalidField, with JSON pointers.

    model   of the body: its members are those that a misspelt one may have meant
    """
    if error.error_count() > _MOST_FAULTS:
        return InvalidField(f"the body has {error.error_count()} faults", pointer="")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return MalformedBody(_lower(found[0]["msg"]), pointer="")
    known = () if model is None else tuple(model.model_fields)
    faults = [(_pointer(fault["loc"]), _detail(fault, known)) for fault in found]
    pointer, detail = faults[0]
    return InvalidField(detail, pointer=pointer, faults=faults if len(faults) > 1 else ())


def response_to(error: LikewiseError, path: str = "") -> Response:
    """Answer with the problem document of an error.

    path  of the request; where OpenAI's clients ask, the problem says it in their words too
    """
    problem = problem_of(error)
    if path.startswith(_OPENAI_PATHS):
        problem["error"] = _for_openai(problem, error)
    response = Response(orjson.dumps(problem), STATUS[type(error)], media_type=MEDIA_TYPE)
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, _LAST_WORDS):
        response.headers["Connection"] = "close"
    return response


def problem_of(error: LikewiseError) -> dict[str, Any]:
    """Build the problem document of an error."""
    problem: dict[str, Any] = {
        "type": f"urn:likewise:problem:{error.code}",
        "title": error.title,
        "status": STATUS[type(error)],
        "detail": error.detail,
        "request_id": request_id.get(),
    }
    if error.pointer is not None:
        problem["pointer"] = _short(error.pointer)
    if isinstance(error, InvalidField) and error.faults:
        problem["errors"] = [
            {"pointer": _short(pointer), "detail": detail} for pointer, detail in error.faults
        ]
    if error.context:
        problem["context"] = {key: _sendable(value) for key, value in error.context.items()}
    return problem


def _for_openai(problem: dict[str, Any], error: LikewiseError) -> dict[str, Any]:
    """Make the member `error` that OpenAI's clients look for: they show its message."""
    status, pointer = problem["status"], problem.get("pointer") or ""
    return {
        "message": f"{error.detail} (at {pointer})" if pointer else error.detail,
        "type": _OPENAI_TYPES.get(status, "server_error" if status >= 500 else _OPENAI_TYPE),
        "param": pointer.split("/")[1] if pointer else None,
        "code": error.code,
    }


async def on_error(request: Request, error: Exception) -> Response:
    """Answer an error of the tree; one that is ours to mend is logged as well."""
    assert isinstance(error, LikewiseError)
    log_fault(error)
    request.scope["problem"] = error.code
    return response_to(error, request.scope["path"])


def log_fault(error: LikewiseError) -> None:
    """Log an error that is ours to mend."""
    if STATUS[type(error)] == 500:
        log.error("%s: %s", error.code, error.detail, exc_info=error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    refused: LikewiseError
    if error.status_code == 405:
        refused = errors.MethodNotAllowed("the endpoint takes other methods: see the header Allow")
    elif error.status_code == 404:
        refused = errors.RouteNotFound("no endpoint has this path: see /docs")
    else:
        refused = errors.InvalidRequest("the request could not be read")
    request.scope["problem"] = refused.code
    response = response_to(refused, request.scope["path"])
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """List the methods that the path takes: the router names those of one route only."""
    asked = {key: value for key, value in request.scope.items() if key != "method"}
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**asked, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def unexpected(path: str) -> Response:
    """The answer to an exception that nobody foresaw."""
    return response_to(
        LikewiseError(
            "something failed that should not have; the log has it under this request id"
        ),
        path,
    )


def _pointer(loc: tuple[int | str, ...]) -> str:
    # pydantic marks a bad member name by "[key]" behind the name: no place of its own.
    return place("", *loc[:-1]) if loc and loc[-1] == "[key]" else place("", *loc)


def _detail(fault: Any, known: Sequence[str]) -> str:
    if fault["type"] == "missing":
        return "the member is required"
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])[:40] if len(fault["loc"]) == 1 else ""
        close = difflib.get_close_matches(name, known, n=1)
        return f"unknown member; did you mean {close[0]}?" if close else "unknown member"
    return _lower(fault["msg"])


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _short(pointer: str) -> str:
    """Cut a pointer that runs through a very long member name back to that member's parent."""
    while len(pointer) > _MOST_POINTER_CHARS:
        pointer = pointer.rpartition("/")[0]
    return pointer


def _sendable(value: errors.Scalar) -> errors.Scalar:
    """Integers beyond 64 bits travel as strings."""
    return str(value) if isinstance(value, int) and abs(value) > _MOST_INTEGER else value
