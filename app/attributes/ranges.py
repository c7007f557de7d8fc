"""Ranges of one field and kind joined into fewer, before anything is looked up.

Bounds become pairs that sort: a lower one (value, is it outside), an upper one (value, is it
inside); of two lower bounds the greater is the tighter, of two upper ones the lesser. Python
compares ints with floats, infinities included, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.attributes.filter import Range

_Bound = tuple[int | float, bool]


def united(ranges: Sequence[Range]) -> list[Range]:
    """Cover what at least one of the ranges covers, and nothing else; ascending, disjoint."""
    like = ranges[0]
    spans = sorted((_low(range), _high(range)) for range in ranges)
    joined: list[Range] = []
    low, high = spans[0]
    for next_low, next_high in spans[1:]:
        # They leave no gap if the next one starts before the end, or at it and one holds the end.
        if next_low[0] < high[0] or (next_low[0] == high[0] and (high[1] or not next_low[1])):
            high = max(high, next_high)
        else:
            joined.append(_range(like, low, high))
            low, high = next_low, next_high
    joined.append(_range(like, low, high))
    return joined


def intersected(ranges: Sequence[Range]) -> Range:
    """Cover what all of the ranges cover."""
    return _range(ranges[0], max(map(_low, ranges)), min(map(_high, ranges)))


def _low(range: Range) -> _Bound:
    return (-math.inf if range.low is None else range.low), range.low_open


def _high(range: Range) -> _Bound:
    return (math.inf if range.high is None else range.high), not range.high_open


def _range(like: Range, low: _Bound, high: _Bound) -> Range:
    return Range(
        like.field,
        like.over,
        None if low[0] == -math.inf else low[0],
        None if high[0] == math.inf else high[0],
        low[1],
        not high[1],
    )
