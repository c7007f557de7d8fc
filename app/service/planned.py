"""Queries that take a plan: read, their leaves resolved, encoded, and run on one state.

    read      the members of a query to a plan (`app.query.read`)
    resolve   which field each lookup searches, and what its leaves are: checked vectors and ids,
              or something for an encoder to read
    encode    everything that one encoder is to read, of all queries, at once
    run       all plans of a request on one view

What the engine answers by itself, the nearest points to one dense vector, does not come here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.backends.base import Answer, View, Words
from app.encoders.base import Encoded, EncoderInfo, OutputKind
from app.errors import InvalidQuery, InvalidText, LikewiseError
from app.query.diversity import Diversity
from app.query.expression import ENCODED, Leaf
from app.query.ordering import OrderedSource, OrderStage
from app.query.plan import Lookup, Plan
from app.query.pool import Pool
from app.query.read import Asked, PlanReader
from app.query.running import Running
from app.service.checks import check_id, check_text, place
from app.service.images import Given, ImageInputs
from app.service.readers import RECORD, Reader
from app.service.requests import Query
from app.service.reranking import Order
from app.service.structured import record_of
from app.service.vectors import check_value
from app.service.words import words_from
from app.service.writing import OUTPUTS, fitted, fitted_other, known_field
from app.types import I64, Definition, Hit, Projection, VectorField, VectorKind

_KINDS: Mapping[str, VectorKind] = {
    "vector": VectorKind.DENSE,
    "tokens": VectorKind.TOKENS,
    "sparse": VectorKind.SPARSE,
}
"""Leaf that holds a vector → kind of the field that it is held against."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A leaf that an encoder is to read."""

    key: tuple[str, str]
    encoder: str
    given: Given
    field: VectorField
    place: str


class Resolving(Protocol):
    """Something with lookups, whose fields and leaves are found one by one."""

    fields: dict[str, VectorField | None]
    leaves: dict[tuple[str, str], Any]
    unread: list[Unread]


@dataclass(slots=True)
class PlannedQuery:
    """A query with its plan; `leaves` is complete once everything of `unread` was filled in."""

    query: Query
    plan: Plan
    projection: Projection
    order: Order | None = None
    fields: dict[str, VectorField | None] = field(default_factory=dict)
    leaves: dict[tuple[str, str], Any] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)

    def found(self, view: View) -> I64:
        """Run the plan for the rows of its page alone."""
        running = Running(view, self.fields, self.leaves, self.plan.filter)
        return self.plan.run(running).rows

    def answer(self, view: View) -> Answer:
        """Run the plan. Raises InvalidQuery and PointNotFound with their place."""
        begun_s = time.perf_counter()
        running = Running(view, self.fields, self.leaves, self.plan.filter, self.plan.explain)
        pool = self.plan.run(running)
        ranked_s = time.perf_counter()
        hits = self._hits(pool, view)
        plan = "graph" if "graph" in running.plans else "exact" if running.matches else "empty"
        explanation: dict[str, Any] | None = None
        if self.plan.explain:
            ended_s = time.perf_counter()
            explanation = {
                "stages": running.account,
                "cut": {"in": running.ranked, "out": len(hits)},
                "read_ms": round((ended_s - ranked_s) * 1e3, 3),
                "total_ms": round((ended_s - begun_s) * 1e3, 3),
            }
        return Answer(hits, running.matches, plan, running.exact, explanation)

    def _hits(self, pool: Pool, view: View) -> list[Hit]:
        records = view.records(pool.rows, self.projection, pool.keys)
        scores = pool.scores.tolist()
        if not self.plan.explain:
            hits = [Hit(score, record) for score, record in zip(scores, records, strict=True)]
            return _grouped(hits, pool)
        hits = []
        for number, (score, record) in enumerate(zip(scores, records, strict=True)):
            parts = {name: float(part[number]) for name, part in pool.parts.items()}
            seen = {name: value for name, value in parts.items() if value == value}  # no NaN
            notes = pool.notes.get(int(pool.rows[number]))
            hits.append(Hit(score, record, scores=seen, notes=notes))
        return _grouped(hits, pool)


def _grouped(hits: list[Hit], pool: Pool) -> list[Hit]:
    """Show hits group after group, if there are groups."""
    if pool.groups is None:
        return hits
    by_row = dict(zip(pool.rows.tolist(), hits, strict=True))
    return [by_row[row]._replace(group=group.value) for group in pool.groups for row in group.rows]


class Encode(Protocol):
    """Encodes what queries give; errors point to the places."""

    def __call__(
        self,
        encoder: str,
        given: Sequence[Given],
        places: Sequence[str],
        kind: Any,
        *,
        output: OutputKind = "dense",
    ) -> Awaitable[Encoded]: ...


@dataclass(frozen=True, slots=True)
class Planning:
    """What reading and resolving need to know of a service."""

    max_k: int
    max_text_chars: int
    max_filter_nodes: int
    images: ImageInputs
    reader: Reader
    describe: Callable[[str], EncoderInfo]

    def planned(self, definition: Definition, query: Query, order: Order | None) -> PlannedQuery:
        """Read a query and resolve what can be resolved without encoding or reading points.

        order   how its candidates are to be reranked: then all of them are the page

        Raises InvalidRequest errors with their place.
        """
        reader = PlanReader(self.max_k, self.max_filter_nodes, _asked(query, order))
        plan = reader.plan()
        if order is not None:
            _check_reranked(plan, query)
        projection = query.projection
        if order is not None:
            projection = order.text.widened(projection)
        planned = PlannedQuery(query, plan, projection, order)
        for lookup in plan.lookups():
            self.resolve(lookup, definition, planned)
        return planned

    def resolve(self, lookup: Lookup, definition: Definition, planned: Resolving) -> None:
        """Find a lookup's field and what its leaves mean, as far as nobody has to encode them."""
        leaves = list(lookup.expression.leaves())
        found = _field(lookup, leaves, definition)
        planned.fields[lookup.at] = found
        for leaf in leaves:
            key = (leaf.at, "" if found is None else found.name)
            if key in planned.leaves:
                continue
            if found is not None and leaf.kind in ENCODED:
                planned.leaves[key] = None
                planned.unread.append(self._unread(key, leaf, found))
            else:
                planned.leaves[key] = self._meaning(leaf, found, definition)

    def _meaning(self, leaf: Leaf, found: VectorField | None, definition: Definition) -> Any:
        """Check a leaf that nobody has to encode."""
        if found is None:
            return self._words(leaf, definition)
        if leaf.kind == "id":
            return check_id(leaf.value, leaf.place)
        if _KINDS.get(leaf.kind) is found.kind:
            return check_value(leaf.value, found, leaf.place)
        raise InvalidQuery(
            f"vector {found.name!r} holds {found.kind.value} vectors: not searched by {leaf.kind}",
            pointer=leaf.place,
        )

    def _words(self, leaf: Leaf, definition: Definition) -> Words:
        if definition.lexical is None:
            raise InvalidQuery(
                "the collection has no lexical index: define one to search by words",
                pointer=leaf.place,
            )
        return words_from(leaf.value, leaf.place, definition.lexical, self.max_text_chars)

    def _unread(self, key: tuple[str, str], leaf: Leaf, found: VectorField) -> Unread:
        if found.encoder is None:
            raise InvalidText(
                f"vector {found.name!r} has no encoder to read a {leaf.kind} with; search by "
                "vector",
                pointer=leaf.place,
            )
        given: Given
        if leaf.kind == "text":
            given = check_text(leaf.value, limit=self.max_text_chars, pointer=leaf.place)
        elif leaf.kind == "image":
            given = self.images.check(leaf.value, leaf.place)
        else:
            given = record_of(leaf.value, leaf.place, self.max_text_chars)
        try:
            encoder = self.reader(found.encoder, leaf.kind, leaf.encoder, leaf.at, found.kind)
        except LikewiseError as error:
            if error.pointer == place(leaf.at, leaf.kind):
                error.pointer = leaf.place  # it may stand elsewhere, as a text of a list does
            raise
        # Errors about a record say themselves that it is one.
        return Unread(key, encoder, given, found, leaf.at if leaf.kind == RECORD else leaf.place)


async def encode_all(
    queries: Sequence[Resolving],
    encode: Encode,
    describe: Callable[[str], EncoderInfo],
) -> None:
    """Encode what the leaves of all queries give, each encoder once for each kind of output."""
    wanted: dict[tuple[str, OutputKind], list[tuple[Resolving, Unread]]] = defaultdict(list)
    for planned in queries:
        for unread in planned.unread:
            wanted[unread.encoder, OUTPUTS[unread.field.kind]].append((planned, unread))
    for (encoder, output), asking in wanted.items():
        given = [unread.given for _, unread in asking]
        places = [unread.place for _, unread in asking]
        encoded = await encode(encoder, given, places, "query", output=output)
        info = describe(encoder)
        for (planned, unread), made in zip(asking, encoded.outputs, strict=True):
            if output == "dense":
                (planned.leaves[unread.key],) = fitted(made[None], unread.field, info)
                continue
            value = fitted_other(made, unread.field)
            if value is None:
                raise InvalidText(
                    f"encoder {encoder!r} finds no token here to search by", pointer=unread.place
                )
            planned.leaves[unread.key] = value


def _check_reranked(plan: Plan, query: Query) -> None:
    """Refuse stages that a reranker, which orders all candidates itself, would undo."""
    if plan.grouping is not None:
        raise InvalidQuery(
            "a reranker orders hits, not groups: leave rerank or group_by out",
            pointer=place(query.at, "group_by"),
        )
    for stage in plan.stages:
        if isinstance(stage, OrderStage):
            raise InvalidQuery(
                "a reranker orders the hits itself: leave rerank or order_by out", pointer=stage.at
            )
        if isinstance(stage, Diversity) and stage.method is not None and stage.wants <= plan.k:
            raise InvalidQuery(
                f"a reranker orders all of its {plan.k} candidates: have diversity choose them "
                "among more (`candidates`), or leave one of the two out",
                pointer=stage.at,
            )
    if isinstance(plan.source, OrderedSource):
        raise InvalidQuery(
            "a reranker orders the hits itself: leave rerank or order_by out",
            pointer=plan.source.at,
        )


def needs_plan(query: Query, definition: Definition) -> bool:
    """Tell whether a query is more than the nearest points to one dense vector."""
    if query.members or not (query.using is None or isinstance(query.using, str)):
        return True
    if query.using is None:
        kinds = (field.kind for field in definition.vectors.values())
        return all(kind is not VectorKind.DENSE for kind in kinds)
    found = definition.vectors.get(query.using)
    return found is not None and found.kind is not VectorKind.DENSE


def _asked(query: Query, order: Order | None) -> Asked:
    leaf = None
    for kind in ("text", "image", "record", "vector", "id"):
        value = getattr(query, kind)
        if value is not None:
            if leaf is not None:
                raise InvalidQuery(
                    f"expected exactly one of text, image, record, vector and id, received "
                    f"{leaf[0]} and {kind}",
                    pointer=query.at,
                )
            leaf = (kind, value, query.encoder if kind in ENCODED else None)
    asked = Asked(
        query.at,
        leaf,
        query.using,
        query.filter,
        query.k,
        query.offset,
        query.members or {},
        query.score_threshold,
        query.ef,
        query.exact,
        query.explain,
    )
    return asked if order is None else asked._replace(k=order.candidates, offset=0)


def _field(lookup: Lookup, leaves: Sequence[Leaf], definition: Definition) -> VectorField | None:
    """Find the field that a lookup searches; None is the lexical index."""
    kinds = {leaf.kind for leaf in leaves}
    if "lexical" in kinds:
        if kinds != {"lexical"} or lookup.using is not None:
            raise InvalidQuery(
                "words are looked for alone, in the lexical index: fuse that with other sources",
                pointer=lookup.at,
            )
        return None
    fields = definition.vectors
    if lookup.using is not None:
        return known_field(fields, lookup.using, lookup.named_at or place(lookup.at, "using"))
    fitting = [one for one in fields.values() if _fits(one, kinds)]
    if len(fitting) > 1:  # one dense vector among others is what is meant
        dense = [one for one in fitting if one.kind is VectorKind.DENSE]
        fitting = dense or fitting
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InvalidQuery(
            f"no vector of the collection is searched by {' and '.join(sorted(kinds))}",
            pointer=lookup.at,
        )
    raise InvalidQuery(
        f"say in `using` which vector to search: {', '.join(sorted(one.name for one in fitting))}",
        pointer=lookup.at,
    )


def _fits(one: VectorField, kinds: set[str]) -> bool:
    """Tell whether leaves of these kinds can be searched for in a field."""
    if kinds & set(ENCODED) and one.encoder is None:
        return False
    if "sparse" in kinds:
        return one.kind is VectorKind.SPARSE
    if "tokens" in kinds:
        return one.kind is VectorKind.TOKENS
    return "vector" not in kinds or one.kind is VectorKind.DENSE
