"""Aggregates of counted numbers are those of the numbers written out."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.aggregates import (
    Interval,
    even_edges,
    histogram,
    merged,
    period_numbers,
    period_starts,
    quantiles,
    spread,
)

ints = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5), max_size=20)
floats = st.lists(
    st.floats(-1e15, 1e15).filter(lambda x: not x.is_integer()) | st.sampled_from([0.5, -2.25]),
    max_size=20,
)
small = st.lists(st.integers(-50, 50), max_size=20)


def counted(numbers: list[Any], dtype: Any) -> tuple[Any, Any]:
    keys, counts = np.unique(np.array(numbers, dtype=dtype), return_counts=True)
    return keys, counts.astype(np.int64)


@given(ints, floats)
def test_a_spread_is_that_of_all_numbers(whole: list[int], broken: list[float]) -> None:
    found = spread(*counted(whole, np.int64), *counted(broken, np.float64))
    every = [*whole, *broken]
    if not every:
        assert found is None
        return
    assert found is not None
    assert (found.count, found.least, found.greatest) == (len(every), min(every), max(every))
    if not broken:
        assert found.total == sum(whole)
        assert found.mean == sum(whole) / len(whole)
    else:
        scale = max(map(abs, every))
        assert found.total == pytest.approx(math.fsum(every), rel=1e-12, abs=1e-12 * scale)


def test_a_sum_past_float64_is_infinite_and_no_error() -> None:
    found = spread(*counted([], np.int64), *counted([1.5e308, 1.6e308], np.float64))
    assert found is not None
    assert found.total == math.inf


@given(small, floats, st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_are_numpys(whole: list[int], broken: list[float], shares: list[float]) -> None:
    values, counts = merged(*counted(whole, np.int64), *counted(broken, np.float64))
    every = np.array([*whole, *broken], dtype=np.float64)
    if every.size:
        expected = np.quantile(every, shares)
        scale = np.abs(every).max() + 1
        np.testing.assert_allclose(quantiles(values, counts, shares), expected, atol=1e-9 * scale)


@given(small, st.lists(st.integers(-60, 60), min_size=2, max_size=8, unique=True))
def test_a_histogram_between_edges_is_numpys(whole: list[int], edges: list[int]) -> None:
    ascending = np.array(sorted(edges), dtype=np.float64)
    values, counts = merged(*counted(whole, np.int64), *counted([], np.float64))
    expected, _ = np.histogram(np.array(whole, dtype=np.float64), ascending)
    assert histogram(values, counts, ascending).tolist() == expected.tolist()


@given(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308), st.integers(1, 30))
def test_even_edges_hold_everything_in_ascending_order(a: float, b: float, buckets: int) -> None:
    least, greatest = min(a, b), max(a, b)
    edges = even_edges(least, greatest, buckets)
    assert edges.shape == (buckets + 1,)
    assert np.isfinite(edges).all()
    assert (np.diff(edges) >= 0).all()
    assert edges[0] <= least
    assert edges[-1] >= greatest
    assert histogram(np.array([least, greatest]), np.array([1, 1]), edges).sum() == 2


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
moments = st.datetimes(datetime(2, 1, 1), datetime(9990, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=timezone.utc)
)


def begun(moment: datetime, interval: str) -> datetime:
    """When the period that a moment lies in began, by the standard library."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "minute":
        return moment.replace(second=0, microsecond=0)
    if interval == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    if interval == "day":
        return day
    if interval == "week":
        return day - timedelta(days=day.weekday())
    month = {"month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}[interval]
    return day.replace(month=month, day=1)


@given(moments, st.sampled_from(get_args(Interval)))
def test_periods_begin_where_the_calendar_says(moment: datetime, interval: Interval) -> None:
    instant = (moment - EPOCH) // timedelta(microseconds=1)
    numbers = period_numbers(np.array([instant], dtype=np.int64), interval)
    (start,) = period_starts(numbers, interval).tolist()
    assert EPOCH + timedelta(microseconds=start) == begun(moment, interval)
    (after,) = period_starts(numbers + 1, interval).tolist()
    assert after > instant
