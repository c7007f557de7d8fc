"""Random callers, cancels, deadlines, failures and an end at any moment: nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pytest

from app.encoders.base import Encoded, LaneName, OutputKind, Prepared, TextKind
from app.encoders.batcher import Batcher
from app.encoders.inputs import Input
from app.encoders.turns import LANES
from app.errors import (
    DeadlineExceeded,
    EncodingFailed,
    InvalidText,
    LikewiseError,
    Overloaded,
    ShuttingDown,
)
from app.types import F32

PATIENCE_S = 20.0
CALLERS = 6
REQUESTS = 60


class MoodyEncoder:
    """An encoder with every fault that there is, chosen by the text's first letter."""

    name = "moody"
    dimension = 2

    def __init__(self, parallel: int) -> None:
        self.parallel = parallel

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        return list(inputs)

    def estimate(self, given: Input) -> int:
        return 2

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        texts = [given for given in inputs if isinstance(given, str)]
        if any(text[0] == "p" for text in texts):
            raise MemoryError("no room for tokens")
        if any(text[0] == "s" for text in texts):
            return []
        return [
            InvalidText("cannot be read") if text[0] == "u" else Prepared(text, len(text), 1)
            for text in texts
        ]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        moods = {one.value[0] for one in batch}
        time.sleep(0.0005 * len(batch))
        if "x" in moods:
            raise SystemExit("no way to end a worker")
        if "m" in moods:
            raise MemoryError("no room")
        if "w" in moods:
            return np.zeros((1, 9), np.float32)
        return np.array([spelled(one.value) for one in batch], np.float32)

    def close(self) -> None:
        """It has no threads."""


def spelled(text: str) -> list[int]:
    return [len(text), sum(map(ord, text))]


@pytest.mark.parametrize("seed", range(4))
def test_every_caller_gets_a_right_result_or_an_error(seed: int) -> None:
    draw = random.Random(seed)
    batcher = Batcher(
        MoodyEncoder(1 + seed % 2), queue=60, batch_tokens=draw.choice([4, 40]), queue_chars=400
    )
    asked: list[tuple[list[str], Future[Encoded]]] = []

    def call(own: random.Random) -> None:
        for _ in range(REQUESTS):
            faulty = own.random() < 0.1
            letters = "psuxmw" if faulty else "abcd"
            texts = [own.choice(letters) * own.randint(1, 6) for _ in range(own.randint(0, 9))]
            lane: LaneName = own.choice(LANES)
            due = time.monotonic() + own.choice([0.0, 0.005, PATIENCE_S, PATIENCE_S])
            try:
                future = batcher.submit(texts, lane=lane, due=due)
            except Overloaded:
                time.sleep(0.001)
                continue
            except ShuttingDown:
                return
            asked.append((texts, future))
            if own.random() < 0.2:
                future.cancel()
            if own.random() < 0.3:
                threading.Event().wait(own.random() * 0.002)

    callers = [threading.Thread(target=call, args=[random.Random(seed * 100 + number)])
               for number in range(CALLERS)]  # fmt: skip
    for caller in callers:
        caller.start()
    time.sleep(0.02 + 0.2 * draw.random())  # then it ends, in the midst of them
    batcher.close(grace_s=draw.choice([0.0, 0.05, PATIENCE_S]))
    for caller in callers:
        caller.join(PATIENCE_S)
        assert not caller.is_alive()
    right = 0
    for texts, future in asked:
        assert future.done(), "somebody would wait for ever"
        try:
            encoded = future.result(0)
        except (CancelledError, EncodingFailed, InvalidText, DeadlineExceeded, ShuttingDown):
            continue
        np.testing.assert_array_equal(
            encoded.vectors, np.array([spelled(text) for text in texts]).reshape(-1, 2)
        )
        right += 1
    assert right
    told = batcher.statistics()
    assert set(told.waiting.values()) == {0}
    assert not any(thread.name.startswith("moody-") for thread in threading.enumerate())
