"""Scoring candidates by another vector, or another query, than the one that found them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidQuery
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.running import Running
from app.ranking.fusion import Fusion, fuse
from app.ranking.scores import scores
from app.types import F64, VectorKind
from app.vectors.metric import prepare


@dataclass(frozen=True, slots=True)
class Rescore:
    """The best `wants` candidates get the score of `lookup`; the rest is left out.

    weight   of the new score: 1 replaces the old one, less adds both after they were brought to
             0 … 1 by the least and the largest among the candidates
    """

    at: str
    lookup: Lookup
    wants: int
    weight: float = 1.0

    def lookups(self) -> Iterator[Lookup]:
        """Give the one whose scores are taken."""
        yield self.lookup

    def run(self, pool: Pool, running: Running) -> Pool:
        """Score candidates exactly; those without the vector come last, if the old score counts."""
        with running.stage("rescore", self.at, taken=len(pool)) as entry:
            pool = pool.first(self.wants)
            found = self._scores(pool, running)
            if self.weight < 1:
                both = Fusion("sum", (self.weight, 1 - self.weight), "minmax")
                found = fuse(np.stack([found, pool.scores]), both)
            pool = pool.scored(found, "rescore")
            entry["out"] = len(pool)
        return pool

    def _scores(self, pool: Pool, running: Running) -> F64:
        """Score candidates: float64[n], NaN where there is no vector."""
        field = running.fields[self.lookup.at]
        if field is None or field.kind is not VectorKind.DENSE:
            raise InvalidQuery("expected a dense vector to score by", pointer=self.at)
        compiled = self.lookup.compiled(running)
        vectors, has = running.view.vectors(field.name, pool.rows)
        if compiled.rule is not None:
            found = compiled.rule(vectors)
        else:
            (probe,) = compiled.probes
            assert isinstance(probe, np.ndarray)
            found = scores(field.metric, prepare(field.metric, probe), vectors)
        return np.where(has, found, np.nan)
