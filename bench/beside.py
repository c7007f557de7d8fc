"""One system with other threads beside its own: a second that searches, one that only computes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.measures import percentile_ms

SERVED_S = 0.0005
"""How long a thread may keep the interpreter, as `likewise serve` sets it."""

INTERVALS_S = (0.005, SERVED_S)  # Python's default is the first
ROUNDS = 3

Share = Sequence[tuple[Any, Any]]
SearchOnce = Callable[[Any, Any], Any]


def measure_beside(search: SearchOnce, asked: Share, seconds: float) -> dict[str, Any]:
    """Search with one thread and with two, then with one beside a thread that keeps the
    interpreter busy.

    asked     (query, filter), repeated for as long as it takes
    seconds   of one round; one and two threads take turns, and the best round of each counts
    """
    ones: list[list[float]] = []
    twos: list[list[float]] = []
    for _ in range(ROUNDS):
        ones.append(searched(search, [asked], seconds))
        twos.append(searched(search, [asked[0::2], asked[1::2]], seconds))
    alone = max(ones, key=len)
    busy = []
    for interval_s in INTERVALS_S:
        with switching(interval_s), computing():
            times = searched(search, [asked], seconds * ROUNDS)
        busy.append(
            {
                "interval_ms": interval_s * 1000,
                "p50_ms": percentile_ms(times, 50),
                "p99_ms": percentile_ms(times, 99),
            }
        )
    return {
        "one": len(alone) / seconds,
        "two": max(map(len, twos)) / seconds,
        "alone_p50_ms": percentile_ms(alone, 50),
        "alone_p99_ms": percentile_ms(alone, 99),
        "busy": busy,
    }


def searched(search: SearchOnce, shares: Sequence[Share], seconds: float) -> list[float]:
    """Search with one thread per share; returns each search's seconds, at least one."""
    times: list[list[float]] = [[] for _ in shares]
    until = time.perf_counter() + seconds

    def work(share: Share, taken: list[float]) -> None:
        while True:
            for query, form in share:
                begun = time.perf_counter()
                if taken and begun >= until:
                    return
                search(query, form)
                taken.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(shares, times, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for taken in times for one in taken]


@contextmanager
def switching(interval_s: float) -> Iterator[None]:
    """Set how long a thread may keep the interpreter while others wait for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def computing() -> Iterator[None]:
    """Keep the interpreter busy with a thread that only computes."""
    stop = threading.Event()

    def compute() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(1000):
                number = (number * 31 + 7) % 1_000_003

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
