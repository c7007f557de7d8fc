"""What a query is compiled to: recall → score* → normalise/fuse → cut → explain.

A *source* gives candidates: a `Lookup` recalls them from one field or the lexical index, `Fused`
makes one list of several sources. *Stages* score the candidates again, or thin them out. Each is
optional, knows nothing of the others, and can be run alone on a `Running`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from app.attributes.filter import And, Filter
from app.backends.base import Recall
from app.errors import InvalidQuery, LikewiseError, LimitExceeded, PointNotFound
from app.query.correcting import Correction
from app.query.expression import Compiled, Expression, Leaf, Probe
from app.query.fusing import resolved
from app.query.late import token_scores
from app.query.limits import CANDIDATES, MOST_PROBES
from app.query.pool import EMPTY, Pool, union
from app.query.running import Running
from app.ranking.fusion import Fusion, fuse
from app.ranking.tokens.aggregation import Aggregation
from app.types import F32, VectorField, VectorKind
from app.vectors.metric import prepare


class Source(Protocol):
    """Gives candidates."""

    @property
    def at(self) -> str: ...

    def lookups(self) -> Iterator[Lookup]:
        """Every lookup below, itself included, whose leaves and field are to be resolved."""
        ...

    def run(self, running: Running) -> Pool: ...


class Stage(Protocol):
    """Scores candidates again, or thins them out.

    wants   how many candidates it wants to work on, however few results are asked for
    """

    @property
    def at(self) -> str: ...

    @property
    def wants(self) -> int: ...

    def lookups(self) -> Iterator[Lookup]:
        """Lookups whose leaves and field are to be resolved for it; they are not run."""
        ...

    def run(self, pool: Pool, running: Running) -> Pool: ...


@dataclass(frozen=True, slots=True)
class Lookup:
    """Candidates from one field, or from the lexical index.

    using       the field; None lets the service choose by what is searched for
    k           how many
    threshold   least score
    name        what its scores are called in answers; None: the field's name, or "lexical"
    correct     what is done about hubs
    """

    at: str
    expression: Expression
    using: str | None
    filter: Filter | None
    k: int
    ef: int | None = None
    exact: bool = False
    threshold: float | None = None
    name: str | None = None
    correct: Correction | None = None

    @property
    def depth(self) -> int:
        """Candidates that are recalled: a correction may want more than are kept."""
        return self.k if self.correct is None else max(self.k, self.correct.wants)

    def lookups(self) -> Iterator[Lookup]:
        """Give itself."""
        yield self

    def run(self, running: Running) -> Pool:
        """Recall, and score by the expression's rule if it has one."""
        field = running.fields[self.at]
        name = self.name or ("lexical" if field is None else field.name)
        with running.stage("recall", self.at, taken=0) as entry:
            entry["using"] = "lexical" if field is None else field.name
            compiled = self.compiled(running)
            entry |= compiled.facts
            pools = [self._recalled(probe, compiled, running, name) for probe in compiled.probes]
            if field is not None and field.kind is VectorKind.TOKENS:
                pool = self._late(pools, compiled, field, running, name, entry)
            elif compiled.rule is None:
                (pool,) = pools
            else:
                assert field is not None
                pool, _ = union(pools)
                vectors, _ = running.view.vectors(field.name, pool.rows)
                pool = replace(pool, parts={}).scored(compiled.rule(vectors), name)
                pool = pool.first(self.depth)
            if self.correct is not None:
                corrected = f"{name} corrected"
                pool = self.correct.run(pool, field, running, corrected, entry).first(self.k)
            if self.threshold is not None:
                pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
            entry["out"] = len(pool)
        return pool

    def compiled(self, running: Running) -> Compiled:
        """Compile the expression in its field. Raises InvalidQuery or PointNotFound."""
        compiled = self.expression.compiled(_Meaning(running, self))
        if len(compiled.probes) > MOST_PROBES:
            raise LimitExceeded(
                f"this takes {len(compiled.probes)} searches; one expression may take "
                f"{MOST_PROBES}",
                pointer=self.at,
                limit=MOST_PROBES,
            )
        return compiled

    def _late(
        self,
        pools: list[Pool],
        compiled: Compiled,
        field: VectorField,
        running: Running,
        name: str,
        entry: dict[str, Any],
    ) -> Pool:
        """Score what the pooled vectors found token by token, by MaxSim."""
        if compiled.rule is not None:
            raise InvalidQuery(
                f"vector {field.name!r} is compared token by token with one thing, no composition",
                pointer=self.at,
            )
        (pool,), (probe,) = pools, compiled.probes
        assert isinstance(probe, np.ndarray)
        pool = replace(pool, parts={f"{name} pooled": pool.scores})
        how = Aggregation()
        found, pool = token_scores(probe, field, pool, running, how, self.at, facts=entry)
        return pool.scored(found, name).first(self.depth)

    def _recalled(self, probe: Probe, compiled: Compiled, running: Running, name: str) -> Pool:
        field = running.fields[self.at]
        tokens = field is not None and field.kind is VectorKind.TOKENS
        wanted = Recall(
            probe,
            None if field is None else field.name,
            self.filter,
            # Pooled vectors only choose what is compared token by token.
            k=max(self.depth, CANDIDATES) if tokens else self.depth,
            ef=self.ef,
            exact=self.exact,
            exclude=compiled.exclude,
            explain=running.explain,
        )
        try:
            recalled = running.view.recall(wanted)
        except LikewiseError as error:
            error.pointer = self.at
            raise
        running.matches = max(running.matches, recalled.matches)
        running.exact = running.exact and recalled.exact
        running.plans.add(recalled.plan)
        if running.explain:
            entry = {"stage": "search", "at": self.at, "matches": recalled.matches}
            entry |= {"plan": recalled.plan, "exact": recalled.exact, **recalled.facts}
            running.account.append(entry)
        return Pool.of(recalled.candidates, name)


class _Meaning:
    """The leaves of one lookup, in its field."""

    def __init__(self, running: Running, lookup: Lookup) -> None:
        self.view = running.view
        self.field: VectorField | None = running.fields[lookup.at]
        self.filter = lookup.filter
        self._leaves = running.leaves

    def probe(self, leaf: Leaf) -> Probe:
        value = self._leaves[leaf.at, "" if self.field is None else self.field.name]
        if leaf.kind != "id":
            probe: Probe = value
            return probe
        return self._own_vector(leaf, value)

    def vector(self, leaf: Leaf) -> F32:
        field, probe = self.field, self.probe(leaf)
        if field is None or field.kind is not VectorKind.DENSE or not isinstance(probe, np.ndarray):
            raise InvalidQuery(
                "expected a dense vector here: name such a field in `using`", pointer=leaf.at
            )
        return prepare(field.metric, probe)

    def _own_vector(self, leaf: Leaf, id_: Any) -> Probe:
        """Look up the vector of a point that the query names."""
        field = self.field
        if field is None:
            raise InvalidQuery("the lexical index is searched by words", pointer=leaf.place)
        rows = self.view.find([id_])
        if rows[0] < 0:
            raise PointNotFound("the collection has no point of that id", pointer=leaf.place)
        if field.kind is VectorKind.TOKENS:
            vectors, starts = self.view.tokens(field.name, rows)
            has, vectors = np.diff(starts) > 0, vectors[None]
        else:
            vectors, has = self.view.vectors(field.name, rows)
        if not has[0]:
            raise InvalidQuery(
                f"the point has no vector {field.name!r} to start from", pointer=leaf.place
            )
        vector: F32 = vectors[0]
        return vector


@dataclass(frozen=True, slots=True)
class Fused:
    """One list of several sources.

    k   how many candidates are kept
    """

    at: str
    sources: tuple[Source, ...]
    fusion: Fusion
    k: int

    def lookups(self) -> Iterator[Lookup]:
        """Give those of all sources."""
        for source in self.sources:
            yield from source.lookups()

    def run(self, running: Running) -> Pool:
        """Run every source, and fuse what they found."""
        pools = [source.run(running) for source in self.sources]
        with running.stage("fuse", self.at, taken=sum(map(len, pools))) as entry:
            pool, lists = union(pools)
            entry["method"] = self.fusion.method
            entry["lists"] = [len(one) for one in pools]
            if len(pool):
                fusion = resolved(self.fusion, running, self.at)
                pool = pool.scored(fuse(lists, fusion), "fused").first(self.k)
            entry["out"] = len(pool)
        return pool


@dataclass(frozen=True, slots=True)
class Joined:
    """Everything that several sources found, to be scored by what comes next."""

    at: str
    sources: tuple[Source, ...]

    def lookups(self) -> Iterator[Lookup]:
        """Give those of all sources."""
        for source in self.sources:
            yield from source.lookups()

    def run(self, running: Running) -> Pool:
        """Run every source, and put together what they found, in the order of ids."""
        return union([source.run(running) for source in self.sources])[0]


class Grouping(Protocol):
    """Makes groups of what a plan ranks; it may have it rank more."""

    def run(self, plan: Plan, running: Running) -> Pool:
        """Give the page: the points of groups (`Pool.groups`)."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A query, ready to be run.

    source      None where nothing is searched for: then points are only ordered and grouped
    stages      in the order in which they run
    grouping    takes the place of the cut by k and offset
    """

    at: str
    source: Source | None
    stages: tuple[Stage, ...]
    k: int
    offset: int
    filter: Filter | None = None
    threshold: float | None = None
    explain: bool = False
    grouping: Grouping | None = None

    def lookups(self) -> Iterator[Lookup]:
        """Give every lookup whose leaves and field are to be resolved."""
        if self.source is not None:
            yield from self.source.lookups()
        for stage in self.stages:
            yield from stage.lookups()

    def run(self, running: Running) -> Pool:
        """Give the page: at most k candidates, past the first `offset`, or groups."""
        if self.grouping is not None:
            return self.grouping.run(self, running)
        pool = self.ranked(running)
        return pool.taken(
            np.arange(self.offset, max(self.offset, min(len(pool), self.offset + self.k)))
        )

    def ranked(self, running: Running) -> Pool:
        """Give all candidates, as every stage left them."""
        pool = EMPTY if self.source is None else self.source.run(running)
        for stage in self.stages:
            pool = stage.run(pool, running)
        if self.threshold is not None:
            pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
        return pool


def both(outer: Filter | None, inner: Filter | None) -> Filter | None:
    """Join two filters that must both hold."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    return And((outer, inner))
