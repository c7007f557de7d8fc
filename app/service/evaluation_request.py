"""Reading an evaluation: judged questions, a sample of points, and ways to ask.

Everything is checked here that can be known before anything is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from app.attributes.filter import And, parse_filter
from app.backends.base import View
from app.errors import InvalidField, InvalidQuery, LimitExceeded
from app.evaluation.bootstrap import OF_ALL
from app.evaluation.configurations import names_members
from app.evaluation.ranked import MEASURES, Measure, measure_from
from app.query.labels import key_of, labels_in
from app.query.limits import (
    MOST_CONFIGURATIONS,
    MOST_JUDGED,
    MOST_LABEL_FIELDS,
    MOST_MEASURES,
    MOST_RELEVANT,
    MOST_RESAMPLES,
)
from app.service.checks import check_id, place
from app.service.requests import Query
from app.types import Definition, Hit, PointId, Projection, Record, VectorKind

_OURS = (
    "k", "offset", "fields", "with_text", "with_vectors", "explain", "group_by", "encoding_format",
)  # fmt: skip
"""Members of a query that an evaluation sets, or that leave no list to measure."""

Task = Literal[
    "retrieval", "ann", "recognition", "verification", "similarity", "conditional"
]  # fmt: skip

_DEFAULT = {
    "retrieval": ("ndcg@10", "recall@10", "map@10", "precision@10", "mrr@10"),
    "ann": ("recall@10",),
    "conditional": ("recall@1", "recall@2", "recall@3"),
}

QueryOf = Callable[[dict[str, Any], str], Query]
"""Reads the members of a query that stands at a place. Raises InvalidField errors with it."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Points that ask for their own neighbours; members as in `app.wire.evaluating.Sample`."""

    points: int
    seed: int
    filter: object
    label: object
    match: str | None
    using: str | None
    unknown: object = None


@dataclass(frozen=True, slots=True)
class ToEvaluate:
    """An evaluation; members as in `app.wire.evaluating.Evaluate`.

    questions   members of a query, with `name` and `relevant`; of other tasks, with their own
    """

    task: Task
    questions: Sequence[Mapping[str, Any]] | None
    sample: Sampling | None
    configurations: Sequence[tuple[str | None, Mapping[str, Any]]]
    measures: Sequence[str] | None
    resamples: int
    seed: int
    query_of: QueryOf
    pairs: Sequence[Mapping[str, Any]] | None = None
    rates: Sequence[float] | None = None

    @property
    def of_all(self) -> int:
        """Draws for measures of all things together."""
        return min(self.resamples, OF_ALL)


class Question(NamedTuple):
    """What is asked.

    members    of a query
    gains      of what is relevant, by id
    labels     the labels of a sampled point, by attribute, and how many other points share them
    share      of the collection, for sampled points with a label
    """

    name: str
    members: Mapping[str, Any]
    gains: Mapping[PointId, float] = {}
    labels: Mapping[str, tuple[frozenset[Any], int]] = {}
    share: float | None = None


class Configuration(NamedTuple):
    """A way to ask."""

    name: str
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """An evaluation, read and checked.

    depth      results that every query asks for
    baselines  configurations at the beginning that were not asked for
    filtered   whether some question has a filter of its own
    """

    mark: str
    points: int
    questions: list[Question]
    configurations: list[Configuration]
    measures: list[Measure]
    labels: list[str]
    depth: int
    baselines: int = 0

    @property
    def filtered(self) -> bool:
        return any("filter" in question.members for question in self.questions)


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def read_sample(
    view: View,
    sample: Sampling,
    labels: Sequence[str],
    using: str,
    max_filter_nodes: int,
) -> tuple[list[Question], int]:
    """Draw points of a view, with what shares their labels: the questions, and all points there.

    Raises LimitExceeded, InvalidQuery and InvalidFilter with their place.
    """
    if sample.points > MOST_JUDGED:
        raise too_many(f"a sample has at most {MOST_JUDGED}", "/sample/points", MOST_JUDGED)
    filter = None
    if sample.filter is not None:
        filter = parse_filter(sample.filter, max_nodes=max_filter_nodes, pointer="/sample/filter")
    shown = frozenset([*labels, *([sample.match] if sample.match else [])])
    rows = view.sample(using, filter, sample.points, sample.seed)
    records = view.records(rows, Projection(shown, with_text=False))
    if len(records) < 2:
        raise InvalidQuery("fewer than two points can be sampled", pointer="/sample")
    universe = view.subset(filter).points
    sizes: dict[tuple[str, frozenset[Any]], int] = {}
    rng = np.random.default_rng(sample.seed)
    questions = []
    for record in records:
        members: dict[str, Any] = {"id": record.id}
        own_filter = sample.filter
        if sample.match:
            own_filter = _matching(record, sample.match, rng, own_filter)
        if own_filter is not None:
            members["filter"] = own_filter
        shared = {}
        for label in labels:
            own = label_values(record, label)
            if not own:
                continue
            if (label, own) not in sizes:
                alike = parse_filter({label: {"$in": [value for _, value in own]}})
                both = alike if filter is None else And((filter, alike))
                sizes[label, own] = view.subset(both).points
            shared[label] = (own, sizes[label, own] - 1)
        share = None
        if labels:
            share = max((others for _, others in shared.values()), default=0) / (universe - 1)
        questions.append(Question(str(record.id), members, labels=shared, share=share))
    return questions, view.subset(None).points


def too_many(detail: str, at: str, limit: int) -> LimitExceeded:
    return LimitExceeded(detail, pointer=at, limit=limit)


def read_configurations(
    given: Sequence[tuple[str | None, Mapping[str, Any]]], not_theirs: Sequence[str] = _OURS
) -> list[Configuration]:
    if len(given) > MOST_CONFIGURATIONS:
        raise too_many(
            f"at most {MOST_CONFIGURATIONS} configurations are compared",
            "/configurations",
            MOST_CONFIGURATIONS,
        )
    found: list[Configuration] = []
    for number, (name, members) in enumerate(given or [(None, {})]):
        for member in not_theirs:
            if member in members:
                raise InvalidQuery(
                    "an evaluation sets it itself, or cannot measure what it gives: leave it out",
                    pointer=place("/configurations", number, "query", member),
                )
        called = name or (f"configuration {number + 1}" if len(given) > 1 else "query")
        if any(one.name == called for one in found):
            raise InvalidField(
                "another configuration has this name",
                pointer=place("/configurations", number, "name"),
            )
        found.append(Configuration(called, members))
    return found


BASELINES = (
    Configuration("sum", {"query": {"sum": ["$reference", "$condition"]}}),
    Configuration("reference only", {"query": "$reference"}),
    Configuration("condition only", {"query": "$condition"}),
)
"""What is always asked of galleries, so that a set which needs no condition shows."""


def with_baselines(given: Sequence[Configuration]) -> list[Configuration]:
    """Put the baselines of galleries before the configurations that were given."""
    taken = [one.name for one in BASELINES]
    for number, one in enumerate(given):
        at = place("/configurations", number)
        if one.name in taken:
            raise InvalidField("a baseline has this name", pointer=f"{at}/name")
        if not names_members(one.members):
            raise InvalidQuery(
                "say in `query` what is made of $reference and $condition", pointer=f"{at}/query"
            )
    return [*BASELINES, *given]


def check_only(wanted: ToEvaluate, *known: str) -> None:
    """Refuse what the task does not read."""
    parts = {
        "queries": wanted.questions,
        "sample": wanted.sample,
        "pairs": wanted.pairs,
        "rates": wanted.rates,
        "measures": wanted.measures,
    }
    for name, value in parts.items():
        if name in known or value is None or (name == "rates" and "pairs" in known):
            continue
        raise InvalidQuery(f"the task {wanted.task!r} does not read it", pointer=f"/{name}")
    if wanted.resamples > MOST_RESAMPLES:
        raise too_many(f"resamples is at most {MOST_RESAMPLES}", "/resamples", MOST_RESAMPLES)


def read_measures(wanted: ToEvaluate, *, labels: bool) -> list[Measure]:
    known = ("recall",) if wanted.task == "ann" else tuple(MEASURES)
    if labels:
        known = (*known, "accuracy")
    given = wanted.measures
    if given is None:
        given = list(_DEFAULT[wanted.task])
        given = [*given, "accuracy@10"] if labels else given
    if not 1 <= len(given) <= MOST_MEASURES:
        raise too_many(f"expected 1-{MOST_MEASURES} measures", "/measures", MOST_MEASURES)
    found: list[Measure] = []
    for number, name in enumerate(given):
        try:
            measure = measure_from(name, known)
        except ValueError as error:
            raise InvalidQuery(str(error), pointer=place("/measures", number)) from None
        if measure not in found:
            found.append(measure)
    return found


def read_questions(given: Sequence[Mapping[str, Any]], task: Task) -> list[Question]:
    if not given:
        raise InvalidQuery("expected at least one query", pointer="/queries")
    if len(given) > MOST_JUDGED:
        raise too_many(f"at most {MOST_JUDGED} queries", "/queries", MOST_JUDGED)
    found = []
    names: set[str] = set()
    judgements = 0
    for number, raw in enumerate(given):
        at = place("/queries", number)
        name = raw.get("name") or str(number + 1)
        if name in names:
            raise InvalidField("another query has this name", pointer=f"{at}/name")
        names.add(name)
        relevant = raw.get("relevant")
        judgements += len(relevant) if isinstance(relevant, list) else 0
        if judgements > MOST_RELEVANT:
            raise too_many(f"at most {MOST_RELEVANT} judgements", f"{at}/relevant", MOST_RELEVANT)
        unjudged = task == "recognition" or (task == "ann" and relevant is None)
        gains = {} if unjudged else _gains(relevant, f"{at}/relevant")
        members = {
            member: value
            for member, value in raw.items()
            if value is not None and (unjudged or member != "relevant") and member != "name"
        }
        if task == "conditional":
            members = _within_gallery(members, at)
            judgements += len(members["filter"]["$id"])
        found.append(Question(name, members, gains))
    return found


def _within_gallery(members: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Make a query's gallery its filter."""
    for member in ("reference", "condition", "gallery"):
        if member not in members:
            raise InvalidQuery("the task needs it", pointer=f"{at}/{member}")
    for member in members:
        if member not in ("reference", "condition", "gallery", "relevant"):
            raise InvalidQuery(
                "a query of a gallery has reference, condition, gallery and relevant",
                pointer=f"{at}/{member}",
            )
    gallery = members["gallery"]
    if not isinstance(gallery, list) or not gallery:
        raise InvalidQuery("expected a list of ids", pointer=f"{at}/gallery")
    ids = [check_id(one, place(at, "gallery", number)) for number, one in enumerate(gallery)]
    given = {name: members[name] for name in ("reference", "condition")}
    return {**given, "filter": {"$id": ids}}


def _gains(relevant: object, at: str) -> dict[PointId, float]:
    if not isinstance(relevant, list):
        raise InvalidQuery("expected a list of ids, or of {id, grade}", pointer=at)
    gains: dict[PointId, float] = {}
    for number, one in enumerate(relevant):
        here = place(at, number)
        grade: object = 1.0
        if isinstance(one, dict):
            if not set(one) <= {"id", "grade"} or "id" not in one:
                raise InvalidQuery("expected an id, or {id, grade}", pointer=here)
            grade, one, here = one.get("grade", 1.0), one["id"], place(here, "id")
        if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 <= grade < 1e9:
            raise InvalidQuery("expected a grade of 0 or more", pointer=place(at, number, "grade"))
        gains[check_id(one, here)] = float(grade)
    return gains


def read_labels(sample: Sampling, task: str) -> list[str]:
    if task == "ann":
        if sample.label is not None:
            raise InvalidQuery(
                "exact search is the truth here: leave it out", pointer="/sample/label"
            )
        return []
    if sample.match is not None:
        raise InvalidQuery('it is for the task "ann"', pointer="/sample/match")
    label = sample.label
    labels = [label] if isinstance(label, str) else label
    if not isinstance(labels, list) or not labels or not all(isinstance(x, str) for x in labels):
        raise InvalidQuery(
            "expected the attribute that is the label, or a list of some", pointer="/sample/label"
        )
    if len(labels) > MOST_LABEL_FIELDS:
        raise too_many(f"at most {MOST_LABEL_FIELDS} labels", "/sample/label", MOST_LABEL_FIELDS)
    return list(dict.fromkeys(labels))


def sampled_field(sample: Sampling, definition: Definition) -> str:
    dense = [n for n, f in definition.vectors.items() if f.kind is not VectorKind.SPARSE]
    if sample.using is None and dense:
        return dense[0]
    if sample.using not in dense:
        raise InvalidQuery("expected a vector of the collection", pointer="/sample/using")
    assert sample.using is not None
    return sample.using


def label_values(record: Record | Hit, name: str) -> frozenset[Any]:
    """Give the values of an attribute, so that 1 and true differ; none of null or places."""
    attributes = record.record.attributes if isinstance(record, Hit) else record.attributes
    return frozenset(map(key_of, labels_in(attributes, name)))


def _matching(record: Record, name: str, rng: np.random.Generator, outer: object) -> object:
    """Make the filter of points that share a value with a point; those without any share that."""
    own = sorted(label_values(record, name), key=repr)
    alike: dict[str, Any] = {name: {"$exists": False}}
    if own:
        alike = {name: own[int(rng.integers(len(own)))][1]}
    return alike if outer is None else {"$and": [outer, alike]}
