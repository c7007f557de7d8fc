"""One way to score candidates: by their dense or sparse vectors, or token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import InvalidQuery
from app.query.late import Places, token_scores
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.reading import Members, refused
from app.query.running import Running
from app.ranking.tokens.aggregation import Aggregation
from app.ranking.tokens.dense import grid_places
from app.ranking.tokens.matching import Matching
from app.ranking.tokens.reading import aggregation_from, matching_from
from app.types import F64, VectorField, VectorKind


@dataclass(frozen=True, slots=True)
class Level:
    """One way to score candidates.

    lookup   whose field and expression are taken; it is not run
    how      of a field of tokens: how products become a score; MaxSim without it
    places   where tokens stand, for matchings that look at that
    excludes whether points that the expression names are left out
    name     what its scores are called in answers; None is "level" and its number
    """

    at: str
    lookup: Lookup
    how: Aggregation | Matching | None = None
    places: Places | None = None
    excludes: bool = False
    name: str | None = None

    def scores(self, pool: Pool, running: Running, facts: dict[str, Any]) -> tuple[F64, Pool]:
        """Score candidates: float64[n], NaN where one has no such vector; the pool with notes.

        facts   of the account, to which its own are added

        Raises InvalidQuery or LimitExceeded.
        """
        field = running.fields[self.lookup.at]
        if field is None:
            raise InvalidQuery("expected a vector to score by, not words", pointer=self.at)
        if field.kind is VectorKind.TOKENS:
            found, pool = self._by_tokens(field, pool, running, facts)
            if self.lookup.correct is not None:
                found = self.lookup.correct.scores(pool.rows, found, field, running, facts)
            return found, pool
        if self.how is not None:
            raise InvalidQuery(
                f"vector {field.name!r} has no tokens to compare: name one of tokens in `using`",
                pointer=self.at,
            )
        compiled = self.lookup.compiled(running)
        facts |= compiled.facts
        found = self.lookup.scores_of(pool.rows, running, facts)
        if self.excludes and compiled.exclude:
            found[np.isin(pool.rows, running.view.find(compiled.exclude))] = np.nan
        return found, pool

    def _by_tokens(
        self, field: VectorField, pool: Pool, running: Running, facts: dict[str, Any]
    ) -> tuple[F64, Pool]:
        compiled = self.lookup.compiled(running)
        if compiled.rule is not None or len(compiled.probes) != 1:
            raise InvalidQuery(
                f"vector {field.name!r} is compared token by token with one thing, no composition",
                pointer=self.at,
            )
        (probe,) = compiled.probes
        assert isinstance(probe, np.ndarray)
        how = self.how or Aggregation()
        return token_scores(
            probe, field, pool, running, how, self.at, places=self.places, facts=facts
        )


def read_level(members: Members, lookup: Lookup) -> Level:
    """Read how a level scores: `aggregate` or `match`, and `places`."""
    how: Aggregation | Matching | None = None
    if "aggregate" in members and "match" in members:
        raise refused("expected either aggregate or match, received both", members.at)
    if "aggregate" in members:
        how = aggregation_from(members.raw("aggregate"), members.place("aggregate"))
    elif "match" in members:
        how = matching_from(members.raw("match"), members.place("match"))
    for name in ("aggregate", "match"):
        members.raw(name)  # known, though left out
    places = members.raw("places")
    at = members.place("places")
    if places is None:
        if isinstance(how, Matching) and how.needs_places:
            raise refused('this matching needs `places`: "order" or {"columns": n}', members.at)
        return Level(members.at, lookup, how)
    return Level(members.at, lookup, how, _places(places, at))


def _places(raw: object, at: str) -> Places:
    if raw == "order":
        return lambda count: np.arange(count, dtype=np.float64)[:, None]
    members = Members(raw, at, "places")
    columns = members.integer("columns", low=1, high=1024)
    members.end()

    def on_grid(count: int) -> F64:
        if count % columns:
            raise refused(f"{count} tokens do not fill rows of {columns}", at)
        return grid_places(count // columns, columns)

    return on_grid
