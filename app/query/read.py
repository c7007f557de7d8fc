"""From the members of a query to its plan.

What may stand beside `query` (or beside its short forms `text`, `vector`, …):

    using      the vector that is searched, or weights of several
    prefetch   sources whose candidates are fused (`fuse`), or else scored by the query
    hybrid     a text is looked for by vector and by words, and both are fused
    fuse       how lists become one, `normalise` what is done to their scores before
    correct    what is done about hubs
    and the stages of `STAGES`, which run in that order

Every part of a plan knows the pointer of the JSON it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from app.attributes.filter import Filter, both, parse_filter
from app.attributes.values import json_type, name_problem
from app.errors import InvalidQuery, LimitExceeded
from app.query.algebra import COMPOSITIONS
from app.query.boost import read_boost
from app.query.correcting import Correction, read_correction
from app.query.diversity import read_diversity
from app.query.expression import ENCODED, LEAVES, NODES, Expression, Leaf, Reading
from app.query.fusing import read_fusion
from app.query.grouping import GroupBy
from app.query.levels import Level, read_level
from app.query.limits import CANDIDATES, MOST_DEPTH, MOST_SOURCES, MOST_STAGES, MOST_WEIGHT
from app.query.ordering import OrderedSource, OrderStage, read_order
from app.query.plan import Fused, Joined, Lookup, Plan, Source, Stage
from app.query.reading import Members, items, refused
from app.query.rescore import Rescore
from app.query.weighted import Weighted
from app.ranking.fusion import Fusion

NODES.update(COMPOSITIONS)

MEMBERS = (
    "query",
    "prefetch",
    "fuse",
    "normalise",
    "hybrid",
    "rescore",
    "boost",
    "diversity",
    "order_by",
    "group_by",
    "correct",
)
"""Members of a query that are read here; whoever adds a stage adds its name."""


HYBRID_WEIGHT = 0.5
HYBRID_FUSE = "sum"
HYBRID_NORMALISE = "minmax"
HYBRID_CANDIDATES = 50
"""How `hybrid` fuses unless it is told: docs/decisions/0026-lexical.md has the figures."""


class Asked(NamedTuple):
    """A query as it came, at `at` in the body.

    leaf      its short form: (kind, value, encoder), or None
    using     a field's name, or name → weight, or None
    filter    raw
    members   those of `MEMBERS` that are there, raw
    """

    at: str
    leaf: tuple[str, object, str | None] | None
    using: object
    filter: object
    k: int
    offset: int
    members: Mapping[str, object]
    threshold: float | None = None
    ef: int | None = None
    exact: bool = False
    explain: bool = False


@dataclass(slots=True)
class PlanReader:
    """Reads one query. Raises InvalidQuery, InvalidFilter, LimitExceeded, with their place."""

    max_k: int
    max_filter_nodes: int
    asked: Asked
    reading: Reading = field(init=False)
    filter: Filter | None = None
    expression: Expression | None = None
    wanted: int = 0
    """Candidates that recalls give unless they say otherwise."""
    _sources: int = 0

    def __post_init__(self) -> None:
        self.reading = Reading(self.max_k, self.max_filter_nodes)

    def plan(self) -> Plan:
        """Read the plan."""
        asked = self.asked
        at = asked.at
        if asked.k + asked.offset > self.max_k:
            raise LimitExceeded(
                f"offset + k is at most {self.max_k}; use scroll to walk through all points",
                pointer=f"{at}/k",
                limit=self.max_k,
            )
        self.filter = self.parsed(asked.filter, f"{at}/filter")
        self.expression = self._asked_expression()
        stages = self._stages()
        grouping = self._grouping()
        page = asked.k + asked.offset
        if grouping is not None:
            page = min((asked.offset + grouping.groups) * grouping.size, self.max_k)
        several = isinstance(asked.using, Mapping)
        deep = several or stages or grouping or {"prefetch", "hybrid"} & asked.members.keys()
        wants = max([page, *(stage.wants for stage in stages)])
        self.wanted = min(max(wants, CANDIDATES), self.max_k) if deep else page
        source, more = self._source()
        if source is None:
            raise refused("there is nothing to search for: give a query, or order_by", at)
        return Plan(
            at,
            source,
            (*more, *stages),
            asked.k,
            asked.offset,
            self.filter,
            asked.threshold,
            asked.explain,
            grouping,
        )

    @property
    def is_searched(self) -> bool:
        """Whether anything gives candidates besides an order of all points."""
        return self.expression is not None or self.asked.members.get("prefetch") is not None

    def parsed(self, raw: object, at: str) -> Filter | None:
        """Read a filter."""
        if raw is None:
            return None
        return parse_filter(raw, max_nodes=self.max_filter_nodes, pointer=at)

    def candidates(self, members: Members, name: str = "candidates") -> int:
        """Read how many candidates a stage works on."""
        found: int = members.integer(
            name,
            min(max(CANDIDATES, self.asked.k + self.asked.offset), self.max_k),
            low=1,
            high=self.max_k,
        )
        return found

    # ── sources ──────────────────────────────────────────────────────────────────────────────

    def _asked_expression(self) -> Expression | None:
        asked = self.asked
        raw = asked.members.get("query")
        if asked.leaf is not None:
            if raw is not None:
                raise refused(f"expected either query or {asked.leaf[0]}, received both", asked.at)
            kind, value, encoder = asked.leaf
            return self.reading.leaf(kind, value, asked.at, encoder)
        return None if raw is None else self.reading.expression(raw, f"{asked.at}/query")

    def _source(self) -> tuple[Source | None, list[Stage]]:
        """Read what gives candidates, and the stages that must come first."""
        asked, members = self.asked, self.asked.members
        prefetch = members.get("prefetch")
        if members.get("hybrid") not in (None, False):
            if prefetch is not None:
                raise refused("expected either hybrid or prefetch, received both", asked.at)
            return self._hybrid(members["hybrid"]), []
        own = None if self.expression is None else self._own_lookup(self.expression)
        if own is None and members.get("correct") is not None:
            raise refused(
                "there is no query here whose scores are corrected: put it into a source",
                f"{asked.at}/correct",
            )
        fuse = members.get("fuse")
        if prefetch is None and fuse is not None:
            raise refused("there is nothing to fuse without prefetch", f"{asked.at}/fuse")
        ordered = prefetch is None and members.get("order_by") is not None
        fuses = fuse is not None or not (own or ordered)
        if not fuses and members.get("normalise") is not None:
            raise refused(
                "scores are normalised where lists are fused: by hybrid, or prefetch with fuse",
                f"{asked.at}/normalise",
            )
        if ordered and own is None:
            return self._ordered(members["order_by"]), []
        if prefetch is None:
            return own, []
        sources, weights = self._prefetched(prefetch, f"{asked.at}/prefetch", self.filter, 0)
        if own is not None and fuse is None:
            every = sum(source_k(one) for one in sources)
            if isinstance(own, Weighted):
                scored = replace(own.rescore(), wants=every)
            else:
                scored = Rescore(asked.at, (Level(asked.at, own, excludes=True),), every)
            return Joined(asked.at, tuple(sources)), [scored]
        if own is not None:
            sources, weights = [own, *sources], [1.0, *weights]
        fusion = self.fusion(
            fuse, f"{asked.at}/fuse", weights, members.get("normalise"), f"{asked.at}/normalise"
        )
        return Fused(asked.at, tuple(sources), fusion, self.wanted), []

    def _own_lookup(self, expression: Expression, k: int | None = None) -> Lookup | Weighted:
        asked = self.asked
        own = Lookup(
            asked.at,
            expression,
            self._one_name(asked.using, asked.at),
            self.filter,
            self.wanted if k is None else k,
            asked.ef,
            asked.exact,
            correct=self.correction(asked.members.get("correct"), f"{asked.at}/correct"),
        )
        return self._weighed(own, asked.using)

    def _one_name(self, using: object, at: str) -> str | None:
        """Read which vector is searched, unless weights name several."""
        return None if isinstance(using, Mapping) else self.field_name(using, f"{at}/using")

    def _weighed(self, lookup: Lookup, using: object) -> Lookup | Weighted:
        """Spread a lookup over several vectors, if it names weights of such."""
        if not isinstance(using, Mapping):
            self._count(lookup.at)
            return lookup
        at = f"{lookup.at}/using"
        members = Members(using, at, "using")
        if not using:
            raise refused("expected the weight of one vector at least", at)
        parts, weights = [], []
        for name in using:
            place = members.place(str(name))
            self._count(place)
            weights.append(members.number(name, low=0, open_low=True))
            part = replace(lookup, at=place, using=str(name), named_at=place)
            parts.append(replace(part, threshold=None, name=None))
        kept, name = lookup.threshold, lookup.name or "weighted"
        return Weighted(lookup.at, tuple(parts), tuple(weights), lookup.k, kept, name)

    def correction(self, raw: object, at: str) -> Correction | None:
        """Read what is done about hubs."""
        if raw is None:
            return None
        wants = min(max(CANDIDATES, self.wanted), self.max_k)
        return read_correction(raw, at, candidates=wants, max_k=self.max_k)

    def field_name(self, raw: object, at: str) -> str | None:
        """Read which vector is searched."""
        if raw is not None and not isinstance(raw, str):
            raise refused("expected the name of a vector", at)
        return raw

    def _count(self, at: str) -> None:
        self._sources += 1
        if self._sources > MOST_SOURCES:
            raise LimitExceeded(
                f"a query recalls from at most {MOST_SOURCES} sources",
                pointer=at,
                limit=MOST_SOURCES,
            )

    def _ordered(self, raw: object) -> Source:
        """Read `order_by` where nothing is searched for: it orders all that pass."""
        order, members = read_order(raw, f"{self.asked.at}/order_by")
        members.end()
        return OrderedSource(members.at, order, self.filter, self.wanted)

    def _hybrid(self, raw: object) -> Source:
        """Read `hybrid`: the query by vector and its text, or another one, by words."""
        asked = self.asked
        at = f"{asked.at}/hybrid"
        expression = self.expression
        if raw is not True and not isinstance(raw, Mapping):
            raise refused(f"expected true or an object, received {json_type(raw)}", at)
        members = Members({} if raw is True else raw, at, "hybrid")
        if expression is None:
            raise refused("hybrid needs a query that is looked for by vector", at)
        text = members.raw("text")
        if text is None:
            if not isinstance(expression, Leaf) or expression.kind != "text":
                raise refused("hybrid needs a text whose words are looked for: say it here", at)
            text = expression.value
        weight = members.number("weight", HYBRID_WEIGHT, low=0, high=1)
        fuse, fuse_at = members.raw("fuse"), f"{at}/fuse"
        if fuse is None:
            fuse, fuse_at = asked.members.get("fuse"), f"{asked.at}/fuse"
        normalise, normalise_at = members.raw("normalise"), f"{at}/normalise"
        if normalise is None:
            normalise, normalise_at = asked.members.get("normalise"), f"{asked.at}/normalise"
        if normalise is None and not (isinstance(fuse, dict) and "normalise" in fuse):
            normalise = HYBRID_NORMALISE
        # What one side ranks low, the other may rank high: both give more than the page. Since each
        # then scores what only the other found, that need not be many.
        page = asked.k + asked.offset
        enough = min(max(HYBRID_CANDIDATES, 2 * page), self.max_k)
        if self.wanted > max(page, CANDIDATES) or "group_by" in asked.members:
            enough = self.wanted
        k = members.integer("candidates", enough, low=1, high=self.max_k)
        words = {"text": text, "fields": members.raw("fields"), "every": members.raw("every")}
        members.end()
        leaf = replace(self.reading.leaf("lexical", words, at), stands=at)
        named = tuple(one for one in expression.leaves() if one.kind == "id")
        self._count(at)
        sources = (
            self._own_lookup(expression, k),
            Lookup(at, leaf, None, self.filter, k, without=named),
        )
        fusion = self.fusion(
            HYBRID_FUSE if fuse is None else fuse,
            fuse_at,
            [weight, 1 - weight],
            normalise,
            normalise_at,
        )
        # Ranks are of what a side found itself; scores can be had of the others as well.
        return Fused(asked.at, sources, fusion, self.wanted, complete=fusion.method != "rrf")

    def _prefetched(
        self, raw: object, at: str, filter: Filter | None, depth: int
    ) -> tuple[list[Source], list[float]]:
        if depth > MOST_DEPTH:
            raise LimitExceeded(
                f"prefetch nests at most {MOST_DEPTH} deep", pointer=at, limit=MOST_DEPTH
            )
        sources, weights = [], []
        for place, one in enumerate(items(raw, at, most=MOST_SOURCES)):
            source, weight = self._fetched(one, f"{at}/{place}", filter, depth)
            sources.append(source)
            weights.append(weight)
        return sources, weights

    def _fetched(
        self, raw: object, at: str, outer: Filter | None, depth: int
    ) -> tuple[Source, float]:
        """Read one entry of a prefetch: a lookup, or a fusion of several."""
        members = Members(raw, at, "a source")
        filter = both(outer, self.parsed(members.raw("filter"), members.place("filter")))
        k = members.integer("k", self.wanted, low=1, high=self.max_k)
        weight = members.number("weight", 1.0, low=0, high=MOST_WEIGHT)
        source: Source
        if "prefetch" in members:
            inner, weights = self._prefetched(
                members.raw("prefetch"), members.place("prefetch"), filter, depth + 1
            )
            fusion = self.fusion(
                members.raw("fuse"),
                members.place("fuse"),
                weights,
                members.raw("normalise"),
                members.place("normalise"),
            )
            source = Fused(at, tuple(inner), fusion, k)
        else:
            using = members.raw("using")
            source = Lookup(
                at,
                self._leaf_or_query(members),
                self._one_name(using, at),
                filter,
                k,
                members.integer("ef", None, low=1, high=self.max_k),
                members.flag("exact"),
                members.number("score_threshold", None),
                members.text("name", None, most=64),
                correct=self.correction(members.raw("correct"), members.place("correct")),
            )
            source = self._weighed(source, using)
        members.end()
        return source, weight

    def _leaf_or_query(self, members: Members) -> Expression:
        """Read what a source searches for: `query`, or a leaf beside its options."""
        kinds = [name for name in ("query", *LEAVES) if name in members]
        if len(kinds) != 1:
            raise InvalidQuery(
                f"expected exactly one of query, {', '.join(LEAVES)} in a source",
                pointer=members.at,
            )
        (kind,) = kinds
        value = members.raw(kind)
        if kind == "query":
            return self.reading.expression(value, members.place("query"))
        encoder = members.text("encoder", None) if kind in ENCODED else None
        return self.reading.leaf(kind, value, members.at, encoder)

    def lookup(self, members: Members) -> Lookup:
        """Read what a stage scores by: its own query, or else the one that is asked for."""
        expression = self.expression
        if any(name in members for name in ("query", *LEAVES)):
            expression = self._leaf_or_query(members)
        if expression is None:
            raise refused("there is no query to score by: give one here", members.at)
        using = self.field_name(members.raw("using"), members.place("using"))
        correct = self.correction(members.raw("correct"), members.place("correct"))
        return Lookup(members.at, expression, using, self.filter, self.wanted, correct=correct)

    # ── fusing ───────────────────────────────────────────────────────────────────────────────

    def fusion(
        self,
        raw: object,
        at: str,
        weights: list[float],
        normalise: object = None,
        normalise_at: str = "",
    ) -> Fusion:
        """Read how lists are fused; see `app.query.fusing`."""
        return read_fusion(raw, at, weights, normalise, normalise_at)

    # ── groups ───────────────────────────────────────────────────────────────────────────────

    def _grouping(self) -> GroupBy | None:
        asked = self.asked
        raw = asked.members.get("group_by")
        if raw is None:
            return None
        at = f"{asked.at}/group_by"
        if self.expression is None and not {"prefetch", "order_by"} & asked.members.keys():
            raise refused("groups are of something: give a query, a prefetch or order_by", at)
        members = Members.short(raw, "field", at, "group_by")
        field = members.required("field")
        problem = name_problem(field)
        if problem is not None:
            raise refused(problem, members.place("field"))
        groups = members.integer("groups", asked.k, low=1, high=self.max_k)
        size = members.integer("size", 3, low=1, high=self.max_k)
        members.end()
        if (asked.offset + groups) * size > self.max_k:
            raise LimitExceeded(
                f"(offset + groups) × size is at most {self.max_k}", pointer=at, limit=self.max_k
            )
        return GroupBy(at, field, groups, size, self.max_k)

    # ── stages ───────────────────────────────────────────────────────────────────────────────

    def _stages(self) -> list[Stage]:
        stages: list[Stage] = []
        for name, read in STAGES.items():
            raw = self.asked.members.get(name)
            if raw is not None:
                stages += read(self, raw, f"{self.asked.at}/{name}")
        return stages


def source_k(source: Source) -> int:
    """Tell how many candidates a source gives at most."""
    if isinstance(source, Lookup | Fused | Weighted):
        return source.k
    assert isinstance(source, Joined)
    return sum(map(source_k, source.sources))


ReadStages = Callable[[PlanReader, Any, str], list[Stage]]
"""(reader, the member, its pointer) → stages."""


def _rescores(reader: PlanReader, raw: Any, at: str) -> list[Stage]:
    members = Members(raw, at, "rescore")
    candidates = reader.candidates(members)
    weight = members.number("weight", 1.0, low=0, high=1, open_low=True)
    fusion = None
    if "levels" in members:
        levels, weights = _levels(reader, members)
        fusion = reader.fusion(
            members.raw("fuse", "sum"),
            members.place("fuse"),
            weights,
            members.raw("normalise"),
            members.place("normalise"),
        )
    else:
        members.raw("levels")
        levels = [read_level(members, reader.lookup(members))]
    members.end()
    return [Rescore(at, tuple(levels), candidates, weight, fusion)]


def _levels(reader: PlanReader, members: Members) -> tuple[list[Level], list[float]]:
    """Read several levels and their weights."""
    levels, weights = [], []
    for place, raw in enumerate(members.items("levels", most=MOST_STAGES)):
        one = Members(raw, f"{members.place('levels')}/{place}", "a level")
        weights.append(one.number("weight", 1.0, low=0, high=MOST_WEIGHT))
        levels.append(read_level(one, reader.lookup(one)))
        one.end()
    return levels, weights


def _boosts(reader: PlanReader, raw: Any, at: str) -> list[Stage]:
    if not reader.is_searched:
        raise refused("there are no scores to boost: give a query or a prefetch", at)
    return [read_boost(raw, at, filter=reader.parsed, candidates=reader.candidates)]


def _diversity(reader: PlanReader, raw: Any, at: str) -> list[Stage]:
    asked = reader.asked
    if not reader.is_searched:
        raise refused("there is nothing to choose from: give a query or a prefetch", at)
    if asked.members.get("order_by") is not None:
        raise refused("order_by puts all candidates in an order of its own: leave one out", at)
    chosen = read_diversity(
        raw,
        at,
        page=asked.k + asked.offset,
        max_k=reader.max_k,
        threshold=asked.threshold,
        whole=asked.members.get("group_by") is not None,
    )
    return [chosen]


def _orders(reader: PlanReader, raw: Any, at: str) -> list[Stage]:
    if not reader.is_searched:
        return []  # it is the source then
    order, members = read_order(raw, at)
    stage = OrderStage(at, order, reader.candidates(members))
    members.end()
    return [stage]


STAGES: dict[str, ReadStages] = {
    "rescore": _rescores,
    "boost": _boosts,
    "diversity": _diversity,
    "order_by": _orders,
}
"""Members that are stages, in the order in which the stages run."""
