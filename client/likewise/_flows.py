"""What a client does beyond one exchange, without doing any of it: sans-IO generators.

A flow yields steps and is sent their outcomes: a `Request` is answered with a `Response` or a
`TransportError`, a `Sleep` with None. What it returns is the caller's result, what it raises the
caller's error. `Client` and `AsyncClient` each have one loop that performs steps; retries,
batching and limits are written once, here, and are tested by hand-feeding outcomes: no socket, no
clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import count
from typing import Any, Literal, TypeAlias, TypeVar

from . import _requests as requests
from ._errors import ApiError, LikewiseError, TransportError
from ._filters import FilterLike
from ._images import wire_length
from ._lines import Lines, LineSource, pieces
from ._points import PointId, PointLike, batches
from ._requests import Call, Request, Response, TextLike
from ._results import Embeddings, Encodings, ImportReport, Limits, OutputKind
from ._retry import Failure, Retries, wait_before_retry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for a while."""

    seconds: float


Outcome: TypeAlias = "Response | TransportError | None"
Flow: TypeAlias = "Generator[Request | Sleep, Outcome, T]"

# A request of a few hundred texts takes an encoder on two cores a few seconds: long enough that
# the exchange costs nothing beside it, short enough for progress bars and time-outs.
DEFAULT_BATCH_POINTS = 512
# Far below the service's usual limit of 64 MiB: what matters is memory, on both sides.
DEFAULT_BATCH_BYTES = 8 << 20
# Of one import: what is sent again when a connection breaks.
PIECE_LINES = 5_000
MOST_LINE_ERRORS = 100


@dataclass(slots=True)
class Session:
    """What calls of one client share.

    jitter   uniform in [0, 1)
    limits   fetched once, when a flow first needs them; two threads may both fetch, harmlessly
    """

    retries: Retries = field(default_factory=Retries)
    jitter: Callable[[], float] = random.random
    limits: Limits | None = None


def exchange(session: Session, call: Call[T]) -> Flow[T]:
    """Make one call, repeated as `wait_before_retry` allows."""
    error: LikewiseError
    for attempt in count():
        outcome = yield call.request
        if isinstance(outcome, Response):
            if call.accepts(outcome.status):
                try:
                    return requests.result_from_response(call, outcome)
                except ApiError as told:  # by the last line of an answer that had begun well
                    error = told
            else:
                error = requests.error_from_response(call.request, outcome)
        else:
            assert isinstance(outcome, TransportError), outcome
            error = outcome
        wait = wait_before_retry(
            session.retries,
            Failure.FINAL if call.probing else _failure_of(error),
            attempt=attempt,
            repeatable=call.repeatable,
            retry_after_s=error.retry_after_s if isinstance(error, ApiError) else None,
            jitter=session.jitter(),
        )
        if wait is None:
            raise error
        yield Sleep(wait)
    raise AssertionError("count() does not end")


def _failure_of(error: LikewiseError) -> Failure:
    if isinstance(error, TransportError):
        if not error.reached:
            return Failure.UNREACHED
        return Failure.FINAL if error.timed_out else Failure.BROKEN
    if isinstance(error, ApiError):
        if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            return Failure.REFUSED
        if error.status == HTTPStatus.BAD_GATEWAY:
            return Failure.BROKEN
    return Failure.FINAL


def limits(session: Session) -> Flow[Limits]:
    """Return the service's limits, asked for once per client."""
    if session.limits is None:
        session.limits = yield from exchange(session, requests.limits())
    return session.limits


def upsert(
    session: Session,
    collection: str,
    points: Iterable[PointLike],
    *,
    batch_size: int | None,
    progress: Callable[[int], object] | None,
) -> Flow[int]:
    """Write points in batches, one after the other, so that the count of an error is certain."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"expected a batch_size of 1 or more, received {batch_size}")
    published = yield from limits(session)
    written = 0
    for batch in batches(
        points,
        most_points=min(batch_size or DEFAULT_BATCH_POINTS, published.max_batch),
        most_bytes=min(DEFAULT_BATCH_BYTES, published.max_body_bytes),
    ):
        try:
            written += yield from exchange(session, requests.upsert(collection, batch))
        except ApiError as error:
            raise requests.counted_from(written, error) from None
        except LikewiseError as error:
            error.points_written = written
            raise
        if progress is not None:
            progress(written)
    return written


def import_lines(
    session: Session,
    collection: str,
    source: LineSource,
    *,
    on_error: Literal["stop", "skip"],
    from_line: int,
    progress: Callable[[ImportReport], object] | None,
) -> Flow[ImportReport]:
    """Send lines in pieces, one after the other; one that breaks is sent again.

    A piece is an import of its own, because httpx reads no answer before it has sent everything:
    in one long request nobody would know how far it came when it broke.
    """
    if from_line < 1:
        raise ValueError(f"expected a from_line of 1 or more, received {from_line}")
    report = ImportReport(from_line, 0, 0, 0, ())
    for piece in pieces(
        source, from_line=from_line, most_lines=PIECE_LINES, most_bytes=DEFAULT_BATCH_BYTES
    ):
        call = requests.import_lines(collection, piece.body, on_error=on_error)
        try:
            part = yield from exchange(session, call)
        except ApiError as error:
            raise requests.counted_from_line(report, error) from None
        except LikewiseError as error:
            error.points_written, error.next_line = report.upserted, report.next_line
            raise
        errors = (replace(error, line=error.line + piece.first - 1) for error in part.errors)
        report = ImportReport(
            next_line=piece.first + piece.lines,
            upserted=report.upserted + part.upserted,
            failed=report.failed + part.failed,
            blank=report.blank + part.blank,
            errors=(*report.errors, *errors)[:MOST_LINE_ERRORS],
        )
        if progress is not None:
            progress(report)
    return report


def export(
    session: Session,
    collection: str,
    write: Callable[[bytes], object],
    *,
    filter: FilterLike | None,
    with_text: bool,
    with_vectors: bool,
    progress: Callable[[int], object] | None,
) -> Flow[int]:
    """Pass on the lines of an export; one that breaks goes on after its last whole line."""
    lines = Lines(write)
    after: PointId | None = None
    attempt = 0

    def sink(data: bytes) -> None:
        lines.feed(data)
        if progress is not None:
            progress(lines.count)

    while True:
        call = requests.export(
            collection,
            filter=filter,
            after=after,
            with_text=with_text,
            with_vectors=with_vectors,
            sink=sink,
        )
        before = lines.count
        outcome = yield call.request
        error: LikewiseError
        if isinstance(outcome, Response):
            if call.accepts(outcome.status):
                requests.result_from_response(replace(call, read=lambda _: lines.end()), outcome)
                return lines.count
            error = requests.error_from_response(call.request, outcome)
        else:
            assert isinstance(outcome, TransportError), outcome
            error = outcome
        after = lines.cut()
        # Patience is for exports that do not move.
        attempt = 0 if lines.count > before else attempt
        wait = wait_before_retry(
            session.retries,
            _failure_of(error),
            attempt=attempt,
            repeatable=True,
            retry_after_s=error.retry_after_s if isinstance(error, ApiError) else None,
            jitter=session.jitter(),
        )
        if wait is None:
            raise error
        attempt += 1
        yield Sleep(wait)


def embed(
    session: Session,
    texts: Sequence[TextLike],
    *,
    model: str | None,
    input_type: Literal["query", "document"] | None,
    dimensions: int | None,
    output: OutputKind = "dense",
) -> Flow[Embeddings | Encodings[Any]]:
    """Encode texts and other inputs, in as many requests as the service's limits ask for."""
    if isinstance(texts, (str, bytes)):
        raise TypeError("expected a list of texts; a string would be taken letter by letter")
    published = yield from limits(session)
    size = min(DEFAULT_BATCH_POINTS, published.max_inputs)
    parts: list[Embeddings | Encodings[Any]] = []
    # No text at all still makes one request: whether that is a mistake, the service says.
    for share in _shares(texts, size, published.max_body_bytes):
        call = requests.embed(
            share,
            model=model,
            input_type=input_type,
            dimensions=dimensions,
            output=output,
        )
        parts.append((yield from exchange(session, call)))
    made: tuple[Any, ...] = tuple(one for part in parts for one in part)
    model, tokens = parts[0].model, sum(part.tokens for part in parts)
    if output == "dense":
        return Embeddings(made, model, tokens)
    return Encodings(made, model, tokens)


def _shares(inputs: Sequence[TextLike], most: int, most_bytes: int) -> Iterator[Sequence[TextLike]]:
    """Cut inputs into requests by their number, and images by their bytes; at least one."""
    start, size = 0, 0
    for place, given in enumerate(inputs):
        length = wire_length(given)
        if place > start and (place - start >= most or size + length > most_bytes * 9 // 10):
            yield inputs[start:place]
            start, size = place, 0
        size += length
    yield inputs[start:]
