"""Scoring candidates by another vector, or another query, than the one that found them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.query.fusing import resolved
from app.query.levels import Level
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.running import Running
from app.ranking.fusion import Fusion, fuse


@dataclass(frozen=True, slots=True)
class Rescore:
    """The best `wants` candidates get the score of one level, or the fused one of several.

    A candidate without the vector of a level is left out where there is one level and its score is
    all that counts; else it counts as the least of that level.

    weight   of the new score: 1 replaces the old one, less adds both after they were brought to
             0 … 1 by the least and the largest among the candidates
    fusion   of several levels
    """

    at: str
    levels: tuple[Level, ...]
    wants: int
    weight: float = 1.0
    fusion: Fusion | None = None

    def lookups(self) -> Iterator[Lookup]:
        """Give those whose scores are taken."""
        for level in self.levels:
            yield level.lookup

    def run(self, pool: Pool, running: Running) -> Pool:
        """Score candidates exactly."""
        with running.stage("rescore", self.at, taken=len(pool)) as entry:
            pool = self.scored(pool.first(self.wants), running, entry, "rescore")
            entry["out"] = len(pool)
        return pool

    def scored(self, pool: Pool, running: Running, entry: dict[str, Any], name: str) -> Pool:
        """Score all of a pool under a name, adding facts to an entry of the account."""
        found = []
        for number, level in enumerate(self.levels):
            facts = entry if len(self.levels) == 1 else {}
            own, pool = level.scores(pool, running, facts)
            found.append(own)
            if facts is not entry:
                part = level.name or f"level {number}"
                entry[part] = facts
                pool = pool.parted(own, part)
        if self.fusion is None:
            (scored,) = found
        else:
            scored = fuse(np.stack(found), resolved(self.fusion, running, self.at))
        if self.weight < 1 and len(pool):
            both = Fusion("sum", (self.weight, 1 - self.weight), "minmax")
            scored = fuse(np.stack([scored, pool.scores]), both)
        return pool.scored(scored, name)
