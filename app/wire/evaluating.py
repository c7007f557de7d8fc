"""Evaluations: judged queries, ways to ask them, and how good the answers were."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from app.wire.base import Filter, Image, Named, Names, PointId, Vector, WireModel
from app.wire.language import Expression
from app.wire.memory import MaybeLabel, Thing

Members = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "description": "Members of a query, less what is searched for and what its answer "
            "carries; of `classify` with the task recognition; `using`, `a` and `b` of pairs. "
            'A string "$text" stands for the text of the judged query, and likewise '
            "$vector, $id, …: then nothing else of it is searched for.",
            "type": "object",
            "additionalProperties": True,
        }
    ),
]

Relevant = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Ids of relevant points, or {id, grade} with a grade of 0 or more.",
            "type": ["array", "null"],
            "items": {},
        }
    ),
]

Label = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "The attribute whose value is the label, or several of them.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "null"},
            ],
        }
    ),
]


Gallery = Annotated[
    Any,
    WithJsonSchema(
        {"description": "Ids of the points that are looked at.", "type": ["array", "null"]}
    ),
]


class JudgedQuery(WireModel):
    """What is searched for, as in a query, and which points are right.

    name      what it is called in the answer; its number, from 1 on, without it
    relevant  not needed where the task is "ann" or "recognition"
    label     with the task "recognition": what it is; a stranger without it
    reference, condition, gallery   with the task "conditional": what is looked for, how it is to
              be otherwise, and among which points
    """

    name: str | None = Field(None, min_length=1, max_length=512)
    text: str | None = None
    image: Image = None
    record: Named = None
    encoder: str | None = None
    vector: Vector = None
    id: PointId = None
    query: Expression = None
    filter: Filter = None
    relevant: Relevant = None
    label: MaybeLabel = None
    reference: Expression = None
    condition: Expression = None
    gallery: Gallery = None


class JudgedPair(WireModel):
    """Two things, and whether they are the `same`, or the `score` that people gave them."""

    a: Thing
    b: Thing
    name: str | None = Field(None, min_length=1, max_length=512)
    same: bool | None = None
    score: float | None = None


class Sample(WireModel):
    """Points that are asked for their own neighbours; each is left out of its answer.

    label   points with the same value are relevant
    match   with the task "ann": each looks among the points that share its value of this attribute
    unknown with the task "recognition": points that nothing is remembered of; half of the sample is
            drawn of them
    using   the vector that sampled points have
    """

    points: int = Field(100, ge=2)
    seed: int = Field(0, ge=0, lt=2**63)
    filter: Filter = None
    label: Label = None
    match: str | None = None
    unknown: Filter = None
    using: str | None = None


class EvaluatedQuery(WireModel):
    """A way to ask."""

    name: str | None = Field(None, min_length=1, max_length=200)
    query: Members = {}  # noqa: RUF012  # pydantic copies it


class Evaluate(WireModel):
    """Ask judged queries, or those of a sample, in one or more ways, and measure the answers.

    task            "retrieval": against what is relevant; "ann": against exact search;
                    "recognition": labels that `classify` tells, strangers among what is asked;
                    "verification": equal pairs against different ones; "similarity": pairs against
                    people's scores; "conditional": small galleries, under a condition
    pairs           of verification and similarity
    rates           of false accepts, at which verification tells the true ones
    configurations  ways to ask; all others are compared with the first
    measures        recall, precision, hit, mrr, map, ndcg and a depth, as in "ndcg@10"; of labels
                    also accuracy, of the vote of the nearest; of "ann" recall alone
    per_query       whether the answer tells each query's values
    resamples       draws for intervals and p
    """

    task: Literal[
        "retrieval", "ann", "recognition", "verification", "similarity", "conditional"
    ] = "retrieval"
    queries: list[JudgedQuery] | None = Field(None, fail_fast=True)
    sample: Sample | None = None
    pairs: list[JudgedPair] | None = Field(None, fail_fast=True)
    rates: list[Annotated[float, Field(gt=0, le=0.5)]] | None = Field(None, fail_fast=True)
    configurations: list[EvaluatedQuery] | None = Field(None, fail_fast=True)
    measures: Names | None = None
    per_query: bool = False
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)


class Estimated(WireModel):
    """A mean over queries, with its 95 % bootstrap interval; null if no query had a value."""

    value: float | None
    low: float | None
    high: float | None
    queries: int


class EvaluatedCurve(WireModel):
    """A line: "recall" over depth, or "precision" over recall."""

    name: str
    x: list[float]
    y: list[float]


class EvaluatedDecade(WireModel):
    """Means over the queries that concern a share of the collection: low < share ≤ high."""

    low: float
    high: float
    queries: int
    values: dict[str, float]


class PerQuery(WireModel):
    """Each query's values, in the order of `queries`; null where it has none."""

    queries: list[str]
    values: dict[str, list[float | None]]


class EvaluatedConfiguration(WireModel):
    """How good the answers were when asked in one way."""

    name: str
    query: Members
    measures: dict[str, Estimated]
    curves: list[EvaluatedCurve]
    decades: list[EvaluatedDecade]
    facts: dict[str, float | None]
    per_query: PerQuery | None = None


class Compared(WireModel):
    """A measure of one configuration less the same of another, on the same queries.

    p       two-sided: how often tossed signs give as large a difference
    wins    queries on which `of` is better
    """

    measure: str
    of: str
    against: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    wins: int
    losses: int
    ties: int


class Evaluation(WireModel):
    """How good each configuration is, and how the others compare with the first.

    format   of this object, as `likewise eval report` reads it from a file
    points   of the collection
    """

    format: str
    task: str
    data: str
    at: str
    notes: list[str]
    points: int
    configurations: list[EvaluatedConfiguration]
    comparisons: list[Compared]
    took_ms: float
