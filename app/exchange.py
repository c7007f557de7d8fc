"""What the service and a backend hand each other: questions, selections, answers.

These sit below both, so that the engine can speak them without knowing who asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson

from app.attributes.filter import Filter
from app.attributes.places import Place
from app.tally import Histogram
from app.types import (
    F32,
    F64,
    I64,
    AttributeScalar,
    Definition,
    Hit,
    PointId,
    Projection,
    Record,
    Sparse,
)

_WHOLE = Projection()


class StoredAttributes(Mapping[str, Any]):
    """Attributes as a backend stores them, JSON, which is decoded when somebody looks inside.

    Nobody does in an answer that shows them whole: then `json` is copied as it is.
    """

    __slots__ = ("_decoded", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._decoded: dict[str, Any] | None = None

    def _inside(self) -> dict[str, Any]:
        if self._decoded is None:
            self._decoded = orjson.loads(self.json)
        return self._decoded

    def __getitem__(self, name: str) -> Any:
        return self._inside()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inside())

    def __len__(self) -> int:
        return len(self._inside())

    def __repr__(self) -> str:
        return repr(self._inside())


class Search(NamedTuple):
    """One nearest-neighbour question.

    vector           float32[dimension] of the field `using`; finite, not zero under cosine; or the
                     id of the point to start from, whose vector it is, and which never appears
    ef               search width; None lets the planner choose
    exact            True forbids approximation
    score_threshold  hits below it are left out; k and offset count the rest
    exclude          points that never appear (the one that a query by id starts from)
    explain          True fills `Answer.explanation`
    """

    vector: F32 | PointId
    using: str
    filter: Filter | None = None
    k: int = 10
    offset: int = 0
    score_threshold: float | None = None
    ef: int | None = None
    exact: bool = False
    exclude: tuple[PointId, ...] = ()
    projection: Projection = _WHOLE
    explain: bool = False


class Answer(NamedTuple):
    """What a search found.

    matches      points that passed the filter and carry the searched vector, counted exactly
    plan         "empty", "exact" (every match was compared), or "graph" (some segment's graph was
                 walked; its other parts were scanned)
    exact        whether the answer is certain to be the true one
    explanation  plan, reasons, visited nodes, distances, timings; None unless asked for
    parts        searchable pieces with live points, each of which was searched
    """

    hits: list[Hit]
    matches: int
    plan: str
    exact: bool
    explanation: dict[str, Any] | None = None
    parts: int = 1


class Words(NamedTuple):
    """What to look for in the lexical index.

    fields     those of the definition to look in, by weight; None takes the definition's
    every      whether a point must hold every word, and not just any
    """

    text: str
    fields: Mapping[str, float] | None = None
    every: bool = False


class Recall(NamedTuple):
    """Candidates that a query plan asks a view for.

    query    float32[dimension] for a dense field, float32[tokens, dimension] for a field of tokens,
             `Sparse` for a sparse one, `Words` for the lexical index; finite, not zero under cosine
    using    the field; None for the lexical index
    k        how many
    exclude  points that never appear
    explain  True fills `Recalled.facts` with more than a word
    """

    query: F32 | Sparse | Words
    using: str | None
    filter: Filter | None = None
    k: int = 100
    ef: int | None = None
    exact: bool = False
    exclude: tuple[PointId, ...] = ()
    explain: bool = False


class Candidates(NamedTuple):
    """Points on their way through a plan, best first, ties by id.

    rows     int64[n]: what a view knows them by; all different
    keys     their ids as `app.keys.key_from_id` writes them, which sort as ids do
    scores   float64[n], higher for better
    """

    rows: I64
    keys: list[bytes]
    scores: F64


class Recalled(NamedTuple):
    """What a recall found; `matches`, `plan` and `exact` as in `Answer`."""

    candidates: Candidates
    matches: int
    plan: str
    exact: bool
    facts: dict[str, Any]


class Facet(NamedTuple):
    """The values of one attribute among some points.

    values    the most frequent ones and how many points hold each; ties in the order null, false,
              true, numbers, strings. Places are no values
    distinct  how many different values there are
    missing   points that hold none
    """

    values: list[tuple[AttributeScalar, int]]
    distinct: int
    missing: int


class Numbers(NamedTuple):
    """The different numbers of one attribute among some points, ascending, none in both arrays.

    ints, floats              int64 and float64; instants are `ints`: microseconds since 1970 UTC
    int_counts, float_counts  int64, how many points hold each
    missing                   points that hold none
    """

    ints: I64
    int_counts: I64
    floats: F64
    float_counts: I64
    missing: int


class Order(NamedTuple):
    """An order of points by an attribute. Points without it come last, ties by id.

    over        "values": numbers before strings, these by code point; "instants": strings that are
                RFC 3339 by time; "distance": places by the metres from `origin`
    descending  the other way round. Of several elements the one that comes first counts
    """

    field: str
    over: Literal["values", "instants", "distance"] = "values"
    descending: bool = False
    origin: Place | None = None


class Ordered(NamedTuple):
    """Points in an order.

    rows     int64[n], as in `Candidates`
    keys     their ids, as there
    values   what each was ordered by: instants as microseconds since 1970 UTC, distances as
             metres, None where there is nothing
    """

    rows: I64
    keys: list[bytes]
    values: list[int | float | str | None]


@dataclass(frozen=True, slots=True)
class Selection:
    """Points named by id or by filter; exactly one of the two is set."""

    ids: tuple[PointId, ...] | None = None
    filter: Filter | None = None


class Lifetime(NamedTuple):
    """A new lifetime of points: until `expires_at`, milliseconds since 1970; None is for ever."""

    expires_at: int | None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's definition and state.

    points    live points
    segments  one entry a searchable piece: {"kind": "head"|"graph", "points": int, "deleted": int}
    building  whether a background build is running or waiting
    """

    name: str
    definition: Definition
    points: int
    segments: list[dict[str, Any]]
    building: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot that is kept.

    collection  what it was taken of
    size        bytes of the file
    sha256      of the file, hexadecimal
    version     of the service that took it
    created_at  when it was taken
    """

    name: str
    collection: str
    points: int
    size: int
    sha256: str
    version: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scroll; `next_after` continues it, None ends it."""

    records: list[Record]
    next_after: PointId | None


@dataclass(frozen=True, slots=True)
class Storage:
    """The disk that a backend keeps its collections on.

    writable   False where the system refuses writes: a read-only mount, missing permission
    """

    size_bytes: int
    free_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True)
class CollectionStatistics:
    """How large one collection is.

    points         live points
    dead_slots     deleted and replaced versions that stand in searchable pieces still
    head_points    live points outside of graphs, which are searched exactly
    segments       pieces with a graph
    segment_bytes  files of those, without their covers
    cover_bytes    files of the covers
    store_bytes    the database with its log
    """

    name: str
    points: int
    dead_slots: int
    head_points: int
    segments: int
    segment_bytes: int
    cover_bytes: int
    store_bytes: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a backend did since it was opened, and how large it is now.

    broken           collections that cannot be used, or take no writes since damage was found
    building         builds that run now
    commit_seconds   of each commit, until readers see it
    commit_writes    writes that shared one commit
    build_seconds    by kind, of the builds that ended well
    build_failures   by kind
    """

    collections: list[CollectionStatistics]
    broken: int
    building: int
    commit_seconds: Histogram
    commit_writes: Histogram
    build_seconds: Mapping[str, Histogram]
    build_failures: Mapping[str, int]
