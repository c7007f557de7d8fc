"""What matchers take and give: two sets of tokens, and which belongs to which."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.types import F32, F64, I64

Fact = float | int | bool | str


@dataclass(frozen=True)
class Sides:
    """A query's tokens and a candidate's, perhaps with places.

    query, candidate        float32[m, d] and float32[n, d], rows of unit length
    query_places, candidate_places  float64[m, p] and float64[n, p], p 1 or 2: a time, or y and x;
                            both or neither
    """

    query: F32
    candidate: F32
    query_places: F64 | None = None
    candidate_places: F64 | None = None

    @cached_property
    def similarity(self) -> F64:
        """`S = query · candidateᵀ`, float64[m, n]: multiplied once, when first asked for."""
        return (self.query @ self.candidate.T).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a matcher found.

    pairs     int64[pairs, 2], token of the query, token of the candidate; by the query's
    weights   float64[pairs], 0 … 1, how sure each is
    worth     float64[pairs], what each is worth before it is weighted; usually its similarity
    size      what the sum of weight × worth is divided by; None: √(mn)
    backward  int64[n], where each of the candidate's tokens would go in the query; None: to the
              most similar token
    facts     what else there is to tell
    """

    pairs: I64
    weights: F64
    worth: F64
    size: float | None = None
    backward: I64 | None = None
    facts: dict[str, Fact] = field(default_factory=dict)


def nearest_spacing(places: F64) -> float:
    """Median distance from a place to the nearest other one; 1 if there is no other."""
    if len(places) < 2:
        return 1.0
    apart = distances(places)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1))) or 1.0


def distances(places: F64) -> F64:
    """Euclidean distances between all places, float64[n, n]."""
    squares = ((places[:, None, :] - places[None, :, :]) ** 2).sum(axis=-1)
    apart: F64 = np.sqrt(squares)
    return apart
