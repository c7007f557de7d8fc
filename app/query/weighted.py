"""Several vectors at once: the weighted sum of what a query scores by each of them, exactly.

Theory of operation
-------------------
Each vector recalls candidates of its own. Whatever any of them found is then scored by all of them,
by the vectors themselves and not by the lists: so the sum of a candidate that only one recall met
is exact too. That is the search by one long vector, the parts at unit length scaled by the roots of
their weights, without having to store it: (√w₁x₁, √w₂x₂)·(√w₁q₁, √w₂q₂) = w₁ x₁·q₁ + w₂ x₂·q₂.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.query.levels import Level
from app.query.plan import Lookup
from app.query.pool import Pool, union
from app.query.rescore import Rescore
from app.query.running import Running
from app.ranking.fusion import Fusion


@dataclass(frozen=True, slots=True)
class Weighted:
    """Candidates of several vectors by the weighted sum of their scores.

    A candidate without one of the vectors counts there as the least of the candidates.

    k          how many candidates are kept, and how many each vector recalls
    threshold  least sum
    name       what the sum is called in answers
    """

    at: str
    parts: tuple[Lookup, ...]
    weights: tuple[float, ...]
    k: int
    threshold: float | None = None
    name: str = "weighted"

    def lookups(self) -> Iterator[Lookup]:
        """Give those of all vectors."""
        yield from self.parts

    def run(self, running: Running) -> Pool:
        """Recall by each vector, and score what was found by all of them."""
        pools = [part.run(running) for part in self.parts]
        with running.stage("weigh", self.at, taken=sum(map(len, pools))) as entry:
            pool, _ = union(pools)
            entry["union"] = len(pool)
            # A point that no list got to may have the largest sum, unless the lists have all.
            whole = all(len(one) < part.k for one, part in zip(pools, self.parts, strict=True))
            running.exact = running.exact and whole
            # A name for each vector's own score; what the lists said of it is no more than that.
            pool = Pool(pool.rows, pool.keys, pool.scores, notes=pool.notes)
            pool = self.rescore().scored(pool, running, entry, self.name).first(self.k)
            if self.threshold is not None:
                pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
            entry["out"] = len(pool)
        return pool

    def rescore(self) -> Rescore:
        """Make the stage that scores any candidates so."""
        levels = tuple(Level(part.at, part, name=part.using) for part in self.parts)
        return Rescore(self.at, levels, self.k, fusion=Fusion("sum", self.weights))
