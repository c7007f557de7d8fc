"""Scores that attributes raise or lower: decay by distance, numbers as factors, and their mixture.

The functions are those that Elasticsearch documents for its `function_score` query (Reference 8,
"Function score query"); where it refuses a document, what happens instead is said below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from app.types import F64

DECAYS = ("exp", "gauss", "linear")

MODIFIERS: dict[str, Callable[[F64], F64]] = {
    "none": lambda x: x,
    "log": np.log10,
    "log1p": lambda x: np.log10(x + 1),
    "log2p": lambda x: np.log10(x + 2),
    "ln": np.log,
    "ln1p": np.log1p,
    "ln2p": lambda x: np.log(x + 2),
    "square": np.square,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
}
"""What is done to factor × number; `log` is to base 10, as there."""

MIXES = ("multiply", "sum", "avg", "first", "max", "min")
"""How several functions become one factor."""

MODES = ("multiply", "sum", "avg", "max", "min", "replace")
"""How the factor and the score become one."""

LARGEST = 1e12
"""No factor is larger: what is made of it stays a number."""

SMALLEST = 1e-6
"""What a negative score is divided by at least."""


def decayed(apart: F64, how: str, scale: float, offset: float = 0.0, decay: float = 0.5) -> F64:
    """Let a factor fall from 1 with distance; at `offset + scale` it is `decay`.

    With a = max(0, apart − offset):

        exp      exp(a · ln(decay) / scale)
        gauss    exp(a² · ln(decay) / scale²)
        linear   max(0, 1 − a · (1 − decay) / scale)

    apart     float64[n] ≥ 0, NaN where there is nothing; in the unit of scale and offset
    decay     between 0 and 1
    returns   float64[n], 0 … 1
    """
    past = np.maximum(0.0, apart - offset)
    with np.errstate(over="ignore", under="ignore"):
        found: F64
        if how == "linear":
            found = np.maximum(0.0, 1 - past * ((1 - decay) / scale))
        elif how == "gauss":
            found = np.exp(np.square(past / scale) * math.log(decay))
        else:
            found = np.exp(past / scale * math.log(decay))
    return found


def modified(values: F64, modifier: str, factor: float = 1.0) -> F64:
    """Make factors of numbers: float64[n], NaN where the modifier has no value (log of −1).

    What is below zero counts as zero; Elasticsearch refuses both.
    """
    with np.errstate(all="ignore"):
        found = MODIFIERS[modifier](values * factor)
    found = np.where(np.isfinite(found), found, np.nan)
    result: F64 = np.clip(found, 0.0, LARGEST)
    return result


def mixed(factors: F64, weights: Sequence[float], how: str) -> F64:
    """Make one factor of several functions: each times its weight, then `how`.

    factors   float64[functions, n]; NaN where a function says nothing: it takes no part there
    how       one of `MIXES`; "avg" is weighted: Σ w·f / Σ w. "first" is the first that takes part
    returns   float64[n], 0 … LARGEST; 1 where no function takes part
    """
    weight = np.array(weights)[:, None]
    takes = ~np.isnan(factors)
    worth = np.where(takes, factors * weight, np.nan)
    some = takes.any(axis=0)
    with np.errstate(all="ignore"):
        found: F64
        if how == "multiply":
            found = np.prod(np.where(takes, worth, 1.0), axis=0)
        elif how == "sum":
            found = np.sum(np.where(takes, worth, 0.0), axis=0)
        elif how == "avg":
            total = np.sum(np.where(takes, weight, 0.0), axis=0)
            found = np.sum(np.where(takes, worth, 0.0), axis=0) / np.where(total > 0, total, 1.0)
        elif how == "max":
            found = np.max(np.where(takes, worth, -np.inf), axis=0, initial=-np.inf)
        elif how == "min":
            found = np.min(np.where(takes, worth, np.inf), axis=0, initial=np.inf)
        else:
            found = worth[np.argmax(takes, axis=0), np.arange(worth.shape[1])]
    clipped: F64 = np.clip(np.where(some, found, 1.0), 0.0, LARGEST)
    return clipped


def boosted(scores: F64, factors: F64, mode: str) -> F64:
    """Make one of score and factor, float64[n] each.

    "multiply" must stay monotone where scores are negative, as distances under l2 and some cosines
    are: there a score is divided by its factor (of SMALLEST at least). So a factor above 1 is
    better and one below is worse for every score: twice the factor is half the distance.
    """
    if mode == "multiply":
        return np.where(scores < 0, scores / np.maximum(factors, SMALLEST), scores * factors)
    if mode == "sum":
        return scores + factors
    if mode == "avg":
        return (scores + factors) / 2
    if mode == "max":
        return np.maximum(scores, factors)
    if mode == "min":
        return np.minimum(scores, factors)
    return factors.copy()
