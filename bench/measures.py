"""What the benchmarks compute from what they measured; pure, so that it can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RECALL = 0.95
"""The recall@10 at which speeds are compared."""

THEIRS, CODED, FLOATS = "hnswlib", "ours, codes", "ours, float32"
"""The ways of `bench.walk` to search one graph."""

TIE = 1e-6  # scores of unit vectors that differ by less were summed in another order


def found(scores: ArrayLike, last: float) -> int:
    """Count results as good as the worst one due; whichever of equal points came is right.

    scores  true scores of the *distinct* points returned
    last    score of the worst result due
    """
    return int(np.count_nonzero(np.asarray(scores) >= last - TIE))


@dataclass(frozen=True)
class Point:
    """One setting of one system on one workload.

    width    what was swept, None for the system's default
    queries  asked within the time allowed
    times_s  are summarised in milliseconds; `compile_us` is the filter's own preparation where the
             system has no filter language, outside `per_second`
    """

    width: int | None
    recall: float
    per_second: float
    p50_ms: float
    p99_ms: float
    queries: int
    compile_us: float = 0.0

    @property
    def per_second_with_compile(self) -> float:
        """Queries per second if each had also prepared its filter."""
        return 1 / (1 / self.per_second + self.compile_us * 1e-6)


def operating_point(points: Sequence[Point], target: float) -> tuple[Point, bool]:
    """Choose the smallest width that reaches the recall, else the best recall: (point, reached).

    Widths are in the order given. Among equally good misses the fastest is taken.
    """
    for point in points:
        if point.recall >= target:
            return point, True
    return max(points, key=lambda point: (point.recall, point.per_second)), False


def speed_at(points: Sequence[Point], recall: float) -> float:
    """Read queries per second off a curve at a recall, log-linear between its points; outside the
    curve, its nearest end. Points that another beats in both are none of the curve."""
    ordered: list[Point] = []
    for point in sorted(points, key=lambda point: (point.recall, point.per_second)):
        while ordered and ordered[-1].per_second <= point.per_second:
            ordered.pop()
        ordered.append(point)
    return float(
        np.exp(
            np.interp(
                recall,
                [point.recall for point in ordered],
                np.log([point.per_second for point in ordered]),
            )
        )
    )


def percentile_ms(times_s: Sequence[float] | NDArray[np.float64], percent: float) -> float:
    """Give the time that `percent` of the calls did not exceed: a call that happened, not a blend
    of two."""
    return float(np.percentile(times_s, percent, method="inverted_cdf")) * 1000


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit cost ∝ size^e by least squares in logarithms; e is 0 for constant, 1 for linear cost."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def growth_beside_log(sizes: Sequence[float], costs: Sequence[float]) -> list[float]:
    """Divide each cost by log₂ of its size, and by what that is for the first: 1, 1, 1 … for a cost
    that grows like log n."""
    shares = np.asarray(costs) / np.log2(sizes)
    beside: list[float] = (shares / shares[0]).tolist()
    return beside


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
