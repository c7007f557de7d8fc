"""What a query is compiled to: recall → score* → normalise/fuse → cut → explain.

A *source* gives candidates: a `Lookup` recalls them from one field or the lexical index, `Fused`
makes one list of several sources. *Stages* score the candidates again, or thin them out. Each is
optional, knows nothing of the others, and can be run alone on a `Running`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from app.attributes.filter import Filter
from app.backends.base import Recall, Words
from app.errors import InvalidFilter, InvalidQuery, LikewiseError, LimitExceeded, PointNotFound
from app.query.correcting import Correction
from app.query.expression import Compiled, Expression, Leaf, Probe
from app.query.fusing import resolved
from app.query.late import token_scores
from app.query.limits import CANDIDATES, MOST_PROBES
from app.query.pool import Pool, union
from app.query.running import Running
from app.ranking.fusion import Fusion, fuse
from app.ranking.scores import scores as exact_scores
from app.ranking.tokens.aggregation import Aggregation
from app.types import F32, F64, I64, PointId, Projection, Sparse, VectorField, VectorKind
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
    without     leaves of another lookup that name points, which are not found here either
    named_at    where `using` stands; None is "using" beside the lookup
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
    without: tuple[Leaf, ...] = ()
    named_at: str | None = None
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
            recalls = [self._recalled(probe, compiled, running, name) for probe in compiled.probes]
            pools = [pool for pool, _ in recalls]
            late = field is not None and field.kind is VectorKind.TOKENS
            pool = pools[0] if compiled.rule is None or late else union(pools)[0]
            # Whatever orders candidates otherwise than they were recalled may miss the best ones.
            certain = not late and self.correct is None
            certain = certain and (compiled.rule is None or compiled.certain)
            everything = len(pool) >= max(matches for _, matches in recalls)
            running.exact = running.exact and (everything or certain)
            if field is not None and late:
                pool = self._late(pools, compiled, field, running, name, entry)
            elif compiled.rule is not None:
                assert field is not None
                vectors, _ = running.view.vectors(field.name, pool.rows)
                entry["scored"] = len(pool)
                pool = replace(pool, parts={}).scored(compiled.rule(vectors), name)
                pool = pool.first(self.depth)
            if self.correct is not None:
                corrected = f"{name} corrected"
                pool = self.correct.run(pool, field, running, corrected, entry).first(self.k)
            if self.threshold is not None:
                pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
            entry["out"] = len(pool)
        return pool

    def scores_of(self, rows: I64, running: Running, facts: dict[str, Any] | None = None) -> F64:
        """Score points that others found: float64[rows], as `run` would; NaN where it cannot.

        facts   of the account, to which those of a correction are added
        """
        field = running.fields[self.at]
        found = np.full(rows.size, np.nan)
        if self.threshold is not None:
            return found
        compiled = self.compiled(running)
        probe = compiled.probes[0]
        if isinstance(probe, Words):
            return found if probe.every else running.view.score_words(probe, rows)
        if field is None or field.kind is VectorKind.TOKENS:
            return found
        if rows.size and isinstance(probe, Sparse):
            found, has = running.view.products(field.name, probe, rows)
            found[~has] = np.nan
        elif rows.size:
            vectors, has = running.view.vectors(field.name, rows)
            if compiled.rule is not None:
                found = np.where(has, compiled.rule(vectors), np.nan)
            elif isinstance(probe, np.ndarray):
                found = exact_scores(field.metric, prepare(field.metric, probe), vectors)
                found[~has] = np.nan
        if self.correct is not None:
            found = self.correct.scores(rows, found, field, running, {} if facts is None else facts)
        return found

    def compiled(self, running: Running) -> Compiled:
        """Compile the expression in its field, once a run. Raises InvalidQuery or PointNotFound."""
        known = running.compiled.get(self.at)
        if known is not None:
            return known
        compiled = self.expression.compiled(_Meaning(running, self))
        if len(compiled.probes) > MOST_PROBES:
            raise LimitExceeded(
                f"this takes {len(compiled.probes)} searches; one expression may take "
                f"{MOST_PROBES}",
                pointer=self.at,
                limit=MOST_PROBES,
            )
        running.compiled[self.at] = compiled
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

    def _named(self, running: Running) -> list[PointId]:
        """List the points that the leaves of `without` name; in every field they are the same."""
        places = {leaf.at for leaf in self.without}
        return list(dict.fromkeys(v for (at, _), v in running.leaves.items() if at in places))

    def _recalled(
        self, probe: Probe, compiled: Compiled, running: Running, name: str
    ) -> tuple[Pool, int]:
        """Give what one probe finds, and how many points match."""
        field = running.fields[self.at]
        tokens = field is not None and field.kind is VectorKind.TOKENS
        wanted = Recall(
            probe,
            None if field is None else field.name,
            self.filter,
            # Pooled vectors only choose what is compared token by token.
            k=max(self.depth, CANDIDATES if tokens else compiled.depth),
            ef=self.ef,
            exact=self.exact,
            exclude=(*compiled.exclude, *self._named(running)),
            explain=running.explain,
        )
        begun_s = time.perf_counter()
        try:
            recalled = running.view.recall(wanted)
        except LikewiseError as error:
            if not isinstance(error, InvalidFilter):  # that one knows its place better
                error.pointer = self.at
            raise
        took_ms = round((time.perf_counter() - begun_s) * 1e3, 3)
        running.matches = max(running.matches, recalled.matches)
        running.exact = running.exact and recalled.exact
        running.plans.add(recalled.plan)
        if running.explain:
            entry = {"stage": "search", "at": self.at, "in": 0, "ms": took_ms}
            entry |= {"out": len(recalled.candidates.keys), "matches": recalled.matches}
            entry |= {"plan": recalled.plan, "exact": recalled.exact, **recalled.facts}
            running.account.append(entry)
        return Pool.of(recalled.candidates, name), recalled.matches


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
        (vector,) = self.vectors([leaf])
        found: F32 = vector
        return found

    def vectors(self, leaves: Sequence[Leaf]) -> F32:
        field = self.field
        if field is None or field.kind is not VectorKind.DENSE:
            at = leaves[0].at if leaves else None
            raise InvalidQuery("expected a dense vector here: name one in `using`", pointer=at)
        found = np.empty((len(leaves), field.dimension), dtype=np.float32)
        named: list[int] = []
        for number, leaf in enumerate(leaves):
            if leaf.kind == "id":
                named.append(number)
                continue
            probe = self._leaves[leaf.at, field.name]
            if not isinstance(probe, np.ndarray):
                raise InvalidQuery("expected something with a dense vector", pointer=leaf.place)
            found[number] = prepare(field.metric, probe)
        if named:
            found[named] = self._own_vectors([leaves[number] for number in named], field)
        return found

    def _own_vectors(self, leaves: Sequence[Leaf], field: VectorField) -> F32:
        """Look up the dense vectors of points that the query names."""
        ids = [self._leaves[leaf.at, field.name] for leaf in leaves]
        rows = self.view.find(ids)
        lacking = np.flatnonzero(rows < 0)
        if lacking.size:
            raise PointNotFound(
                "the collection has no point of that id", pointer=leaves[int(lacking[0])].place
            )
        unique, places = np.unique(rows, return_inverse=True)
        vectors, has = self.view.vectors(field.name, unique)
        lacking = np.flatnonzero(~has[places])
        if lacking.size:
            raise InvalidQuery(
                f"the point has no vector {field.name!r} to start from",
                pointer=leaves[int(lacking[0])].place,
            )
        found: F32 = vectors[places]
        return found

    def _own_vector(self, leaf: Leaf, id_: Any) -> Probe:
        """Look up the vector of a point that the query names."""
        field = self.field
        if field is None:
            raise InvalidQuery("the lexical index is searched by words", pointer=leaf.place)
        rows = self.view.find([id_])
        if rows[0] < 0:
            raise PointNotFound("the collection has no point of that id", pointer=leaf.place)
        if field.kind is VectorKind.SPARSE:
            return self._own_sparse(field, rows, leaf)
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

    def _own_sparse(self, field: VectorField, rows: I64, leaf: Leaf) -> Sparse:
        """Read a point's sparse vector from its record: an index has no rows."""
        stored = Projection(fields=frozenset(), with_text=False, with_vectors=True)
        (record,) = self.view.records(rows, stored)
        vector = (record.vectors or {}).get(field.name)
        if not isinstance(vector, Sparse):
            raise InvalidQuery(
                f"the point has no vector {field.name!r} to start from", pointer=leaf.place
            )
        return vector


@dataclass(frozen=True, slots=True)
class Fused:
    """One list of several sources.

    k          how many candidates are kept
    complete   whether what one source found is scored by the others too, where they are lookups
               of a dense or sparse field or of words; all sources then have one filter
    """

    at: str
    sources: tuple[Source, ...]
    fusion: Fusion
    k: int
    complete: bool = False

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
            names = _names(pools)
            if self.complete:
                for source, scores, name in zip(self.sources, lists, names, strict=True):
                    if isinstance(source, Lookup):
                        lacking = np.flatnonzero(np.isnan(scores))
                        scores[lacking] = source.scores_of(pool.rows[lacking], running)
                        pool = pool.parted(scores, name)
            if len(pool):
                fusion = resolved(self.fusion, running, self.at)
                pool = pool.scored(fuse(lists, fusion), "fused").first(self.k)
            if running.explain:
                pool = pool.noted(_ranked(pools, names, pool))
            entry["out"] = len(pool)
        return pool


def _names(pools: Sequence[Pool]) -> list[str]:
    """Call lists what their last scores are, the second one of a name with its number: `union`."""
    names: list[str] = []
    for number, pool in enumerate(pools):
        name = next(reversed(pool.parts), "")
        names.append(f"{name} {number + 1}" if name in names else name)
    return names


def _ranked(pools: Sequence[Pool], names: Sequence[str], fused: Pool) -> dict[int, dict[str, Any]]:
    """Tell of each candidate which place every list gave it, from 1 on: row → {"ranks": …}.

    Equal scores share the best of their places.
    """
    notes: dict[int, dict[str, Any]] = {row: {"ranks": {}} for row in fused.rows.tolist()}
    for name, pool in zip(names, pools, strict=True):
        places = np.searchsorted(np.sort(-pool.scores), -pool.scores) + 1
        for row, rank in zip(pool.rows.tolist(), places.tolist(), strict=True):
            if row in notes:
                notes[row]["ranks"][name] = rank
    return notes


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

    source      of candidates; `OrderedSource` where nothing is searched for
    stages      in the order in which they run
    grouping    takes the place of the cut by k and offset
    """

    at: str
    source: Source
    stages: tuple[Stage, ...]
    k: int
    offset: int
    filter: Filter | None = None
    threshold: float | None = None
    explain: bool = False
    grouping: Grouping | None = None

    def lookups(self) -> Iterator[Lookup]:
        """Give every lookup whose leaves and field are to be resolved."""
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
        pool = self.source.run(running)
        for stage in self.stages:
            pool = stage.run(pool, running)
        if self.threshold is not None:
            pool = pool.taken(np.flatnonzero(pool.scores >= self.threshold))
        running.ranked = len(pool)
        return pool
