"""Logs: one line an event, as JSON or as text, each with the id of the request it belongs to.

Nothing of a caller's texts, vectors, ids or attribute values is ever logged, at no level, unless
`LIKEWISE_LOG_VALUES` asks for it: the messages of exceptions that are not ours may quote what they
could not take, so only their types and places are logged. Facts go into `extra={"facts": {…}}`:
JSON lines carry them as members, text lines as `key=value`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request being served; empty outside one. Worker threads inherit it."""

trace_id: ContextVar[str] = ContextVar("trace_id", default="")
"""Id of the trace that the request belongs to (W3C Trace Context); empty without one."""

LogFormat = Literal["auto", "json", "text"]


class _Lines(logging.Formatter):
    """What both kinds of lines do with exceptions.

    values   whether messages of exceptions are shown that may hold parts of a request
    """

    def __init__(self, *, values: bool = False) -> None:
        super().__init__()
        self._values = values

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """Write a traceback with the exceptions that led to it, the first one first."""
        if self._values:
            return super().formatException(ei)
        return "\n".join(_told(ei[1]))


class JsonLines(_Lines):
    """A record as one JSON object: time, level, logger, message, ids, the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        if trace := trace_id.get():
            line["trace_id"] = trace
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # it takes no lone surrogates, as in names of files
            return json.dumps(line, default=str)


class TextLines(_Lines):
    """A record for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={value}" for key, value in getattr(record, "facts", {}).items())
        current = request_id.get()
        line = (
            f"{_utc(record.created)} {record.levelname:<7} {record.name}: "
            f"{record.getMessage()}{facts}{f' request_id={current}' if current else ''}"
            f"{f' trace_id={trace}' if (trace := trace_id.get()) else ''}"
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def set_up(level: str, log_format: LogFormat, *, values: bool = False) -> None:
    """Send every record of `level` and above to standard error, replacing earlier set-ups.

    values   whether messages of unexpected exceptions are shown, which may hold parts of requests
    """
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines(values=values) if as_text else JsonLines(values=values))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # No line shows them, so no record needs to look for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # The request line comes from app.api.middleware; libraries speak up only when it matters.
    for chatty in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "numba"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _told(error: BaseException) -> Iterator[str]:
    """Write an exception and what led to it, without messages that may quote a request."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _told(earlier)
        yield "which led to:"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__}" + (f": {error}" if _is_ours(error) else "")


def _is_ours(error: BaseException) -> bool:
    """Tell whether a message is known not to quote requests: ours, the system's, SQLite's."""
    return isinstance(error, OSError) or type(error).__module__ in _QUOTE_NOTHING


_QUOTE_NOTHING = {"app.errors", "sqlite3", "subprocess"}


def _utc(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    return f"{_utc_to_the_second(whole)}.{int(fraction * 1000):03d}Z"


@lru_cache(maxsize=1)
def _utc_to_the_second(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
