"""Measures of agreement and of ranking; pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.ranked import gain, judged
from app.types import F64


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's rank correlation; equal values share the mean of their ranks.

    one, other  [n] numbers, n ≥ 2
    returns     −1 … 1; nan if all values of a side are equal
    """
    ranks, others = _ranks(one), _ranks(other)
    ranks -= ranks.mean()
    others -= others.mean()
    spread = float(np.sqrt((ranks @ ranks) * (others @ others)))
    return float(ranks @ others) / spread if spread else float("nan")


def pearson(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Pearson's correlation of two rows of numbers, as `spearman` that of their ranks."""
    ours, theirs = np.array(one, np.float64), np.array(other, np.float64)
    ours -= ours.mean()
    theirs -= theirs.mean()
    spread = float(np.sqrt((ours @ ours) * (theirs @ theirs)))
    return float(ours @ theirs) / spread if spread else float("nan")


def ndcg(ranked: Sequence[Any], gains: Mapping[Any, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first k results.

    ranked   ids, best first
    gains    gain of every relevant id; others gain nothing
    returns  0 … 1; nan if nothing is relevant

    A result that comes twice gains once. The formula is that of `app.evaluation.ranked.gain`.
    Source: Järvelin & Kekäläinen 2002 (doi 10.1145/582415.582418), with linear gains.
    """
    one = judged(ranked, gains)
    return gain(one, k) if one.due.size else float("nan")


def _ranks(values: NDArray[Any]) -> F64:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: F64 = (last - (counts - 1) / 2)[where]
    return ranks
