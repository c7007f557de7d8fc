"""Mutual nearest neighbours: the plain matcher that the others have to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.ranking.tokens.sides import Assignment, Sides
from app.types import F64


@dataclass(frozen=True, slots=True)
class MutualNearest:
    """Two tokens belong together if each is the other's most similar one.

    ratio  0 … 1: the distance to the best must be at most this times that to the second best
           (Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94, section 7.1); 1 takes all
    """

    ratio: float = 1.0


def match_mutual(sides: Sides, how: MutualNearest) -> Assignment:
    """Pair what chooses each other; of equal similarities the first token wins."""
    similarity = sides.similarity
    there = similarity.argmax(axis=1)
    back = similarity.argmax(axis=0)
    rows = np.flatnonzero(back[there] == np.arange(len(there)))
    if how.ratio < 1:
        rows = rows[clearness(similarity[rows]) <= how.ratio]
    pairs = np.stack([rows, there[rows]], axis=1)
    worth = similarity[rows, there[rows]]
    return Assignment(pairs, np.ones(len(rows)), worth)


def clearness(similarity: F64) -> F64:
    """Distance to the best over distance to the second best of each row; 0 if there is no second.

    similarity  float64[rows, n], cosines: the distance is √(2 − 2s)
    """
    if similarity.shape[1] < 2:
        return np.zeros(len(similarity))
    two = np.partition(similarity, -2, axis=1)[:, -2:]
    apart = np.sqrt(np.maximum(2 - 2 * two, 0))
    ratio: F64 = np.divide(apart[:, 1], apart[:, 0], out=np.ones(len(two)), where=apart[:, 0] > 0)
    return ratio
