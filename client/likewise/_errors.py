"""What can go wrong, as one tree; the first fork is who failed to do their part.

    LikewiseError
    ├─ ApiError                    the service answered, with a problem document
    │    ├─ InvalidRequestError    the caller can fix it (other 4xx)
    │    ├─ AccessError            the key or token is missing, or does not allow this (401, 403)
    │    ├─ NotFoundError          names what is missing (404)
    │    ├─ ConflictError          contradicts what is stored (409)
    │    ├─ UnavailableError       may succeed later (502, 503, 504, 507)
    │    │    └─ OverloadedError   a queue of the service is full (429)
    │    └─ ServerError            the service's own fault (other 5xx)
    ├─ TransportError              no answer came: nobody listens, a broken connection, no time left
    └─ VersionError                an answer came, in another language than API v1

Arguments that no service could accept (both `ids` and `filter`, a matrix where a vector belongs)
are mistakes in the calling program: they raise TypeError or ValueError and are not in the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


class LikewiseError(Exception):
    """Root of everything the SDK raises on purpose.

    points_written   set by `upsert` and `import_ndjson`: how many points earlier requests of the
                     same call have stored. After a TransportError the failed request may have
                     stored its own points too; writing them again is harmless.
    next_line        set by `import_ndjson` alone: every good line before it is stored; go on with
                     `from_line=error.next_line`
    """

    points_written: int | None = None
    next_line: int | None = None

    def __str__(self) -> str:
        message = super().__str__()
        if self.points_written is None:
            return message
        return f"{message} ({self.points_written} points were written before)"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457) as the service sends it.

    pointer       RFC 6901 pointer to the offending place of the request body. In an error of
                  `upsert` it counts points from the first one passed, not from the batch's first.
    errors        (pointer, detail) of each fault when there are several
    retry_after_s what the Retry-After header asked for
    """

    status: int
    code: str
    title: str
    detail: str
    pointer: str | None = None
    errors: tuple[tuple[str, str], ...] = ()
    context: Mapping[str, object] = field(default_factory=dict)
    request_id: str | None = None
    retry_after_s: float | None = None


class ApiError(LikewiseError):
    """The service answered, and the answer is a problem."""

    # The problem is the only argument so that errors survive pickling, as in process pools.
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.title = problem.title
        self.detail = problem.detail
        self.pointer = problem.pointer
        self.errors = problem.errors
        self.context = problem.context
        self.request_id = problem.request_id
        self.retry_after_s = problem.retry_after_s

    def __str__(self) -> str:
        facts = [f"{self.status} {self.code}"]
        if self.pointer is not None:
            facts.append(f"at {self.pointer or 'the whole body'}")
        if self.points_written is not None:
            facts.append(f"{self.points_written} points were written before")
        if self.request_id is not None:
            facts.append(f"request {self.request_id}")
        return f"{self.detail} [{', '.join(facts)}]"


class InvalidRequestError(ApiError):
    """The request can never succeed as it is; `pointer` names the place to fix."""


class AccessError(ApiError):
    """The key or token is missing or not valid (401), or does not allow this (403)."""


class NotFoundError(ApiError):
    """Something that the request names does not exist."""


class ConflictError(ApiError):
    """The request contradicts what is already stored."""


class UnavailableError(ApiError):
    """The same request may succeed later; the SDK's own retries have been used up."""


class OverloadedError(UnavailableError):
    """A bounded queue of the service was full."""


class ServerError(ApiError):
    """A fault of the service or of its files; `request_id` finds it in the service's log."""


class TransportError(LikewiseError):
    """No answer came.

    reached    whether a connection was made, so that the request may have been carried out
    timed_out  whether the client stopped waiting
    """

    def __init__(self, message: str, *, reached: bool = True, timed_out: bool = False) -> None:
        super().__init__(message)
        self.reached = reached
        self.timed_out = timed_out


class VersionError(LikewiseError):
    """The other side is a Likewise service of another API version, or not Likewise at all."""


_CLASS_OF_STATUS: Mapping[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: AccessError,
    HTTPStatus.FORBIDDEN: AccessError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: OverloadedError,
    HTTPStatus.BAD_GATEWAY: UnavailableError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnavailableError,
    HTTPStatus.GATEWAY_TIMEOUT: UnavailableError,
    HTTPStatus.INSUFFICIENT_STORAGE: UnavailableError,
}


def error_from_problem(problem: Problem) -> ApiError:
    """Choose the class by status: codes may be added within v1, the meaning of a status may not.

    >>> type(error_from_problem(Problem(507, "storage-full", "Storage full", "no room"))).__name__
    'UnavailableError'
    """
    fallback = ServerError if problem.status >= 500 else InvalidRequestError
    return _CLASS_OF_STATUS.get(problem.status, fallback)(problem)
