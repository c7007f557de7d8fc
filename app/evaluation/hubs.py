"""Hubness: whether a few items are near to nearly everything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.types import F64, I64


class Hubness(NamedTuple):
    """How often items are among the k nearest of queries.

    skew      third moment of the counts over their standard deviation cubed: about 0 … 1 without
              hubs, and much more with them
    most      count of the greatest hub
    orphans   share of items that are never found
    """

    skew: float
    most: int
    orphans: float


def hubness(counts: I64 | F64) -> Hubness:
    """Measure k-occurrences: int64[items], how many of all lists hold each item.

    Source: Radovanović, Nanopoulos & Ivanović 2010, JMLR 11.
    """
    if not counts.size:
        return Hubness(float("nan"), 0, float("nan"))
    away = counts - counts.mean()
    spread = float(np.sqrt((away**2).mean()))
    skew = float((away**3).mean()) / spread**3 if spread else 0.0
    return Hubness(skew, int(counts.max()), float((counts == 0).mean()))
