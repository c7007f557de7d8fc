"""Intervals and paired tests by resampling queries.

Queries are the sample: a measure's mean over other queries of the same kind would be another. The
percentile bootstrap draws as many queries as there are, with repetition, again and again.
Whether a difference may be chance is asked of signs: if both configurations were alike, each
query's difference could as well have the other sign. Unlike a bootstrap's, that p is honest
for a handful of queries: of three it is never below 1/4.

Sources: Efron & Tibshirani 1993; for retrieval, Sakai 2006 (doi 10.1145/1148170.1148261), Smucker,
Allan & Carterette 2007 (doi 10.1145/1321440.1321528).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from app.types import F64, I64

SAMPLES = 2000
OF_ALL = 400
"""Draws for measures of all things together, each of which is computed anew."""

LEVEL = 0.95

_NUMBERS = 1 << 21  # of draws held at once


class Estimate(NamedTuple):
    """A value with its interval; all nan where there was nothing to measure.

    queries   how many it is a mean of
    """

    value: float
    low: float
    high: float
    queries: int


class Difference(NamedTuple):
    """A paired difference of two configurations, other − one.

    p       two-sided: how often a difference is as large when each query's sign is tossed; for
            measures of the whole, how often resampled ones are on the other side of 0, twice
    wins    queries on which the other is better; `losses` and `ties` likewise
    """

    value: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    ties: int


def means(
    values: F64, *, samples: int = SAMPLES, level: float = LEVEL, seed: int = 0
) -> list[Estimate]:
    """Mean of each column with its interval.

    values   float64[queries, measures]; a nan has no part in its column
    """
    counted = ~np.isnan(values)
    numbers = counted.sum(axis=0)
    drawn = _resampled_means(values, samples, seed)
    found = []
    for column, queries in enumerate(numbers.tolist()):
        if not queries:
            found.append(Estimate(float("nan"), float("nan"), float("nan"), 0))
            continue
        low, high = _interval(drawn[:, column], level)
        value = float(values[counted[:, column], column].mean())
        found.append(Estimate(value, low, high, queries))
    return found


def paired(
    one: F64, other: F64, *, samples: int = SAMPLES, level: float = LEVEL, seed: int = 0
) -> list[Difference]:
    """Compare two configurations on the same queries, measure by measure.

    one, other   float64[queries, measures]; a query counts where both have a value
    """
    apart = other - one
    drawn = _resampled_means(apart, samples, seed)
    chances = _sign_flips(apart, samples, seed)
    found = []
    for column in range(apart.shape[1]):
        own = apart[~np.isnan(apart[:, column]), column]
        if not own.size:
            nothing = float("nan")
            found.append(Difference(nothing, nothing, nothing, nothing, 0, 0, 0))
            continue
        low, high = _interval(drawn[:, column], level)
        far = np.abs(own) > 1e-12
        wins, losses = int((own[far] > 0).sum()), int((own[far] < 0).sum())
        found.append(
            Difference(
                float(own.mean()),
                low,
                high,
                float(chances[column]),
                wins,
                losses,
                int(own.size) - wins - losses,
            )
        )
    return found


def statistic(
    of: Callable[[I64], float],
    things: int,
    *,
    samples: int = OF_ALL,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """A measure of all things together, such as a correlation, with its interval.

    of   the measure of the things at these places: int64[things], with repetition; draws of which
         it is nan have no part in the interval
    """
    value = of(np.arange(things))
    rng = np.random.default_rng(seed)
    drawn = np.array([of(rng.integers(things, size=things)) for _ in range(samples)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not drawn.size:
        return Estimate(value, float("nan"), float("nan"), things)
    low, high = _interval(drawn, level)
    return Estimate(value, low, high, things)


def paired_statistic(
    one: Callable[[I64], float],
    other: Callable[[I64], float],
    things: int,
    *,
    samples: int = OF_ALL,
    level: float = LEVEL,
    seed: int = 0,
) -> Difference:
    """Compare such a measure of two configurations on the same things; nobody wins or loses one."""
    every = np.arange(things)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(things, size=things) for _ in range(samples))
    drawn = np.array([other(draw) - one(draw) for draw in draws])
    drawn = drawn[~np.isnan(drawn)]
    value = other(every) - one(every)
    if np.isnan(value) or not drawn.size:
        return Difference(value, float("nan"), float("nan"), float("nan"), 0, 0, 0)
    low, high = _interval(drawn, level)
    return Difference(value, low, high, sign_of_chance(drawn), 0, 0, 0)


def sign_of_chance(drawn: F64) -> float:
    """Two-sided p of resampled differences: 2 · min(P(d ≤ 0), P(d ≥ 0)), never 0, at most 1."""
    below = (int((drawn <= 0).sum()) + 1) / (drawn.size + 1)
    above = (int((drawn >= 0).sum()) + 1) / (drawn.size + 1)
    return float(min(1.0, 2 * min(below, above)))


def _interval(drawn: F64, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled_means(values: F64, samples: int, seed: int) -> F64:
    """Means of resampled queries: float64[samples, measures]; nan where a draw held none."""
    counted = ~np.isnan(values)
    filled = np.where(counted, values, 0.0)
    if not len(values):
        return np.full((samples, values.shape[1]), np.nan)
    parts = []
    for weights in _draws(len(values), samples, seed):
        numbers = weights @ counted
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(np.where(numbers > 0, (weights @ filled) / numbers, np.nan))
    found: F64 = np.concatenate(parts)
    return found


def _sign_flips(apart: F64, samples: int, seed: int) -> F64:
    """Share of tosses of signs, that of the data included, whose sum is as large: [measures]."""
    filled = np.where(np.isnan(apart), 0.0, apart)
    seen = np.abs(filled.sum(axis=0)) * (1 - 1e-12)
    as_large = np.ones(apart.shape[1])
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS // max(1, len(apart)))
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        signs = rng.integers(2, size=(count, len(apart))) * 2.0 - 1.0
        as_large += (np.abs(signs @ filled) >= seen).sum(axis=0)
    found: F64 = as_large / (samples + 1)
    return found


def _draws(queries: int, samples: int, seed: int) -> Iterator[F64]:
    """How often each query was drawn, some draws at a time: float64[draws, queries]."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS // queries)
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        places = rng.integers(queries, size=(count, queries))
        places += (np.arange(count) * queries)[:, None]
        weights = np.bincount(places.ravel(), minlength=count * queries)
        yield weights.reshape(count, queries).astype(np.float64)
