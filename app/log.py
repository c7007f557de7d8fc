"""Logs: one line an event, as JSON or as text, each with the id of the request it belongs to.

Nothing of a caller's texts, vectors, ids or attribute values is ever logged. Facts go into
`extra={"facts": {…}}`: JSON lines carry them as members, text lines as `key=value`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request being served; empty outside one. Worker threads inherit it."""

LogFormat = Literal["auto", "json", "text"]


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, request_id, the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # it takes no lone surrogates, as in names of files
            return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """A record for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={value}" for key, value in getattr(record, "facts", {}).items())
        current = request_id.get()
        line = (
            f"{_utc(record.created)} {record.levelname:<7} {record.name}: "
            f"{record.getMessage()}{facts}{f' request_id={current}' if current else ''}"
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def set_up(level: str, log_format: LogFormat) -> None:
    """Send every record of `level` and above to standard error, replacing earlier set-ups."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # No line shows them, so no record needs to look for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # The request line comes from app.api.middleware; libraries speak up only when it matters.
    for chatty in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "numba"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _utc(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    return f"{_utc_to_the_second(whole)}.{int(fraction * 1000):03d}Z"


@lru_cache(maxsize=1)
def _utc_to_the_second(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
