"""One writer and many readers of a growing index."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from app.attributes.evaluate import evaluate
from app.attributes.filter import parse_filter
from app.attributes.growing import GrowingIndex
from app.kernels import bits


def test_readers_see_exactly_the_points_they_noted_while_the_writer_appends() -> None:
    points = 4000
    index = GrowingIndex()
    found: list[str] = []
    done = threading.Event()

    def none(_: Any) -> Any:
        return np.empty(0, np.uint32)

    def read(raw: dict[str, Any], share: int) -> None:
        filter = parse_filter(raw)
        while True:
            last = done.is_set()
            slots = index.slots
            passed = bits.slots_of(evaluate(filter, index, slots, none))
            if passed.tolist() != list(range(0, slots, share)):
                found.append(f"{raw} at {slots}: {len(passed)}")
            if last:
                return

    readers = [
        threading.Thread(target=read, args=arguments)
        for arguments in (
            ({"kind": "even"}, 2),
            ({"n": {"$gte": 0}}, 1),
            ({"x": {"$lt": 1e9}}, 1),
            ({"t": {"$gte": "2024-01-01"}}, 1),
            ({"third": {"$exists": True}}, 3),
            ({"kind": {"$ne": "odd"}}, 2),
        )
    ]
    for reader in readers:
        reader.start()
    try:
        for i in range(points):
            point: dict[str, Any] = {"n": i, "x": i + 0.5, "t": "2024-05-01"}
            point["kind"] = "odd" if i % 2 else "even"
            if i % 3 == 0:
                point["third"] = None
            index.append(point)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert found == []
    assert index.slots == points
