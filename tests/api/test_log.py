from __future__ import annotations

import json
import logging
import sys

import pytest

from app.log import JsonLines, TextLines, request_id


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


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_an_exception_is_part_of_its_line(formatter: logging.Formatter) -> None:
    try:
        raise RuntimeError("inside")
    except RuntimeError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
    assert "RuntimeError: inside" in formatter.format(made)
