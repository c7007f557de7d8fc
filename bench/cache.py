"""What the embedding cache costs: look-ups and writes, in microseconds, the best of seven.

PYTHONPATH=. python bench/cache.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.cache.vectors import Entry, VectorFile
from bench.measures import table

DIMENSION = 384
BATCH = 128
BATCHES = 800


def entries(seed: int, count: int = BATCH) -> list[tuple[bytes, Entry]]:
    """Keys and vectors, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [
        (rng.bytes(32), Entry(rng.random(DIMENSION, np.float32).tobytes(), 9)) for _ in range(count)
    ]


def best_us(work: Callable[[int], object]) -> float:
    """The shortest of seven calls; each is told its number."""
    took = []
    for number in range(7):
        begun_s = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - begun_s)
    return min(took) * 1e6


def main() -> None:
    """Fill a file and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        file = VectorFile(Path(folder) / "cache.sqlite", 1 << 30)
        for seed in range(BATCHES):
            file.put(entries(seed))
        print(f"{BATCHES * BATCH} entries of {file.size_bytes / BATCHES / BATCH:.0f} bytes")
        there = [key for key, _ in entries(BATCHES // 2)]
        absent = [key for key, _ in entries(10**6)]
        rows = []
        for count in (1, 32, BATCH):
            new = [entries(10**7 + count * 10 + number, count) for number in range(7)]
            rows.append(
                [
                    count,
                    f"{best_us(lambda _, n=count: file.get(there[:n])):.0f}",
                    f"{best_us(lambda _, n=count: file.get(absent[:n])):.0f}",
                    f"{best_us(lambda number, batches=new: file.put(batches[number])):.0f}",
                ]
            )
        print(table(["inputs", "all found", "none found", "written"], rows))
        file.close()


if __name__ == "__main__":
    main()
