"""Many numbers in few: spread, quantiles, histograms and calendars of counted values.

Values come as different numbers, ascending, with how many points hold each. So a million points in
three hundred values cost three hundred steps, and nothing is sorted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.types import F64, I64

Interval = Literal["minute", "hour", "day", "week", "month", "quarter", "year"]


@dataclass(frozen=True, slots=True)
class Spread:
    """What some numbers come to; `total` and `mean` are infinite where float64 ends."""

    count: int
    least: int | float
    greatest: int | float
    total: int | float
    mean: float


def merged(ints: I64, int_counts: I64, floats: F64, float_counts: I64) -> tuple[F64, I64]:
    """Make one ascending array of both, as float64, and its counts."""
    values = np.concatenate([ints.astype(np.float64), floats])
    order = np.argsort(values, kind="stable")
    return values[order], np.concatenate([int_counts, float_counts])[order]


def spread(ints: I64, int_counts: I64, floats: F64, float_counts: I64) -> Spread | None:
    """Sum up numbers; None of none. Integers are added without rounding."""
    count = int(int_counts.sum() + float_counts.sum())
    if count == 0:
        return None
    total: int | float = _exact_total(ints, int_counts)
    if floats.size:
        with np.errstate(over="ignore"):
            total = float(np.sum(floats * float_counts)) + float(total)
    ends = [end for values in (ints, floats) if values.size for end in values[[0, -1]].tolist()]
    return Spread(count, min(ends), max(ends), total, total / count)


def _exact_total(ints: I64, counts: I64) -> int:
    # Halves of 32 bits, each times its count, stay below 2⁶³ for 2³¹ points.
    high, low = ints >> 32, ints & 0xFFFF_FFFF
    return (int(np.sum(high * counts)) << 32) + int(np.sum(low * counts))


def quantiles(values: F64, counts: I64, shares: Sequence[float]) -> list[float]:
    """Interpolate quantiles linearly between the two elements around each.

    values   float64[n] ascending, at least one
    shares   0 … 1

    Source: R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages (The American
    Statistician 50(4), 1996), definition 7, which is numpy's.
    """
    ends = np.cumsum(counts)
    found = []
    for share in shares:
        place = share * (int(ends[-1]) - 1)
        below = int(place)
        part = place - below
        low = float(values[np.searchsorted(ends, below, side="right")])
        if part > 0:
            high = float(values[np.searchsorted(ends, below + 1, side="right")])
            low = low * (1 - part) + high * part
        found.append(low)
    return found


def even_edges(least: float, greatest: float, buckets: int) -> F64:
    """Divide a range evenly: float64[buckets + 1]; a single value is put in the middle of 1."""
    if least == greatest:
        least, greatest = least - 0.5, greatest + 0.5
    shares = np.linspace(0.0, 1.0, buckets + 1)
    edges: F64 = least * (1 - shares) + greatest * shares  # a difference could be infinite
    edges[0], edges[-1] = least, greatest
    return np.maximum.accumulate(edges)


def histogram(values: F64, counts: I64, edges: F64) -> I64:
    """Count from each edge up to the next; the last edge belongs to the last bucket.

    edges    float64[n + 1], ascending
    returns  int64[n]
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    places = np.searchsorted(values, edges, side="left")
    places[-1] = np.searchsorted(values, edges[-1], side="right")
    found: I64 = np.diff(before[places])
    return found


_MICROSECONDS = {"minute": 60_000_000, "hour": 3_600_000_000}
_DAY = 86_400_000_000
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def period_numbers(instants: I64, interval: Interval) -> I64:
    """Number the periods that instants, microseconds since 1970 UTC, lie in.

    Days, weeks (from Monday, as in ISO 8601), months … are those of the Gregorian calendar in UTC.
    """
    if interval in _MICROSECONDS:
        return instants // _MICROSECONDS[interval]
    days: I64 = instants // _DAY
    if interval == "day":
        return days
    if interval == "week":
        return (days + 3) // 7  # 1970-01-01 was a Thursday
    months: I64 = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months // _MONTHS[interval]


def period_starts(numbers: I64, interval: Interval) -> I64:
    """Tell when periods begin: int64, microseconds since 1970 UTC."""
    if interval in _MICROSECONDS:
        return numbers * _MICROSECONDS[interval]
    if interval == "day":
        return numbers * _DAY
    if interval == "week":
        return (numbers * 7 - 3) * _DAY
    months = (numbers * _MONTHS[interval]).astype("datetime64[M]")
    days: I64 = months.astype("datetime64[D]").astype(np.int64)
    return days * _DAY
