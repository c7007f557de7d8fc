from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable

import pytest

from app.errors import CorruptFile
from app.log import JsonLines, TextLines, request_id, trace_id


def record(message: str, facts: dict[str, object] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("app.part", logging.WARNING, __file__, 1, message, (), None)
    made.created = 1_700_000_000.5
    if facts:
        made.facts = facts
    return made


def test_a_json_line_carries_time_level_request_and_facts() -> None:
    token = request_id.set("r1")
    try:
        line = json.loads(JsonLines().format(record("it\nhappened", {"status": 200})))
    finally:
        request_id.reset(token)
    assert line == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "logger": "app.part",
        "message": "it\nhappened",
        "request_id": "r1",
        "status": 200,
    }


def test_a_text_line_is_for_reading() -> None:
    line = TextLines().format(record("it happened", {"status": 200}))
    assert line == "2023-11-14T22:13:20.500Z WARNING app.part: it happened status=200"


@pytest.mark.parametrize("lines", [JsonLines, TextLines])
def test_an_exception_is_told_with_its_place_and_without_what_it_may_quote(
    lines: type[logging.Formatter],
) -> None:
    formatted = lines().format(failed())
    assert "builtins.ValueError\\n" in formatted.replace("\n", "\\n")
    assert "app.errors.CorruptFile: the file is damaged" in formatted
    assert "in failed" in formatted
    assert "secret" not in formatted


@pytest.mark.parametrize("lines", [JsonLines, TextLines])
def test_an_exception_is_told_in_full_where_that_is_asked_for(
    lines: Callable[..., logging.Formatter],
) -> None:
    assert "ValueError: secret" in lines(values=True).format(failed())


def failed() -> logging.LogRecord:
    try:
        try:
            raise ValueError("sec" + "ret")
        except ValueError as error:
            raise CorruptFile("the file is damaged") from error
    except CorruptFile:
        made = record("it failed")
        made.exc_info = sys.exc_info()
    return made


def test_a_line_carries_the_trace_that_it_belongs_to() -> None:
    token = trace_id.set("a" * 32)
    try:
        line = json.loads(JsonLines().format(record("it happened")))
        assert f" trace_id={'a' * 32}" in TextLines().format(record("it happened"))
    finally:
        trace_id.reset(token)
    assert line["trace_id"] == "a" * 32
