"""What a reranker reads of a point."""

from __future__ import annotations

import tracemalloc

from app.service.point_text import point_text_from
from app.types import Record

LONG = "x" * 50_000


def test_a_template_makes_no_more_text_than_a_text_may_have() -> None:
    record = Record(1, {"a": LONG, "b": "y"}, None, None)
    read = point_text_from(None, "{a}" * 1300, "")
    tracemalloc.start()
    text = read.of(record, 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert text == "x" * 100_000
    assert peak < 1_000_000
    assert point_text_from(None, "<{b}, {b}>", "").of(record, 100) == "<y, y>"
