"""Queries: what to search for, and what was found."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import FailFast, Field

from app.wire.base import (
    NOT_EMPTY,
    EncodingFormat,
    Filter,
    Image,
    Named,
    Names,
    PointId,
    Vector,
    WireModel,
)
from app.wire.language import (
    Boost,
    Correct,
    Diversity,
    Expression,
    Fuse,
    GroupBy,
    Hybrid,
    Normalise,
    OrderBy,
    Prefetch,
    Rescore,
    Using,
)
from app.wire.points import Record


class Params(WireModel):
    """How hard to search: `ef` is the width of a graph search, `exact` forbids approximation."""

    ef: int | None = Field(None, ge=1)
    exact: bool = False


class Rerank(WireModel):
    """Recall more points than are asked for, and order them by a reranker.

    field       a string attribute that it reads; the points' own texts without it
    template    attributes in braces, instead of one: "{title}. {abstract}"
    query       what the points are compared with; the query's own text without it
    candidates  how many points are recalled, `offset + k` at least; 100 without it
    """

    model: str | None = None
    field: str | None = None
    template: str | None = None
    query: str | None = None
    candidates: int | None = Field(None, ge=1)


class Query(WireModel):
    """The nearest points to `text`, `image`, `record`, `vector`, the point `id`, or a composition.

    encoder   reads the text, image or record instead of the vector's own; one of the same space
    query     a composition in the place of a single thing
    prefetch  sources whose candidates are fused, or scored by the query
    hybrid    the text is looked for by vector and by words
    correct   what is done about hubs
    """

    text: str | None = None
    image: Image = None
    record: Named = None
    encoder: str | None = None
    vector: Vector = None
    id: PointId = None
    using: Using = None
    filter: Filter = None
    query: Expression = None
    prefetch: Prefetch = None
    fuse: Fuse = None
    normalise: Normalise = None
    hybrid: Hybrid = None
    rescore: Rescore = None
    boost: Boost = None
    diversity: Diversity = None
    order_by: OrderBy = None
    group_by: GroupBy = None
    correct: Correct = None
    k: int = Field(10, ge=1)
    offset: int = Field(0, ge=0)
    score_threshold: float | None = None
    fields_: Names | None = Field(None, alias="fields")
    with_text: bool = True
    with_vectors: bool = False
    params: Params | None = None
    explain: bool = False
    rerank: Rerank | None = None
    encoding_format: EncodingFormat = "float"


class QueryBatch(WireModel):
    """Several queries, answered on one state of the collection."""

    queries: Annotated[list[Query], FailFast(), Field(json_schema_extra=NOT_EMPTY)]


class ScoredRecord(Record):
    """A point that was found; a higher score is better in every metric.

    rerank_score  orders the answer where a reranker was asked for; missing if there was nothing to
                  read, and such points come last
    group         the value that its group shares, where points are grouped
    scores        what each stage made of it; only where a plan is explained
    notes         what else stages have to tell of it; likewise
    """

    score: float
    rerank_score: float | None = None
    group: str | int | float | bool | None = None
    scores: dict[str, float] | None = None
    notes: dict[str, Any] | None = None


class QueryAnswer(WireModel):
    """What a query found, and how.

    matches  points that pass the filter and carry the searched vector
    plan     "exact" compared every match, "graph" walked a graph for some of them
    exact    whether the answer is certain to be the true one
    """

    points: list[ScoredRecord]
    matches: int
    plan: Literal["empty", "exact", "graph"]
    exact: bool
    took_ms: float
    explain: dict[str, Any] | None = None


class QueryBatchAnswer(WireModel):
    """One answer for each query, in order."""

    results: list[QueryAnswer]
