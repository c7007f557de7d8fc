"""Plain accounts of what happened: numbers that one thread writes and any thread may read.

No locks and no labels, so that an entry costs a fraction of a microsecond on the path of a query.
The price is a rule: each account has one writing thread (the event loop, an encoder's worker, the
builder), or writers that hold a lock anyway. Readers may see an entry half made, a count before its
sum; the next look has both. Nothing here knows who reads, or in which format (`app.metrics`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
"""Bounds for what a request waits for: from a search on the event loop to a wait in a queue."""

LONG_SECONDS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bounds for work in the background."""

POWERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)
"""Bounds for sizes: of groups, batches, tokens."""

SHARES = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Bounds for shares of a whole, finest near the whole."""


class Histogram:
    """How often values fell between ascending bounds, and what they add up to.

    counts   per bound the values up to it and above the one before; last those above all bounds
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        """Enter one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Count the values."""
        return sum(self.counts)

    def add(self, other: Histogram) -> None:
        """Enter every value of another account with the same bounds."""
        assert self.bounds == other.bounds
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum
