"""What `collection.evaluate` answers, as frozen values; read as those of `_results` are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Json = Mapping[str, Any]

EvaluationTask: TypeAlias = Literal[
    "retrieval", "ann", "recognition", "verification", "similarity", "conditional"
]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a measure over queries, with its 95 % interval; None if no query has a value."""

    value: float | None
    low: float | None
    high: float | None
    queries: int


@dataclass(frozen=True, slots=True)
class EvaluatedConfiguration:
    """How good the answers were when asked in one way.

    measures    by name, such as "ndcg@10"
    query       the members of its queries
    curves      lines to draw: {"name", "x", "y"}
    decades     means by the share of the collection that a query concerns
    facts       what else there is to tell
    per_query   {"queries": names, "values": {measure: values}}, where that was asked for
    """

    name: str
    measures: dict[str, Estimate]
    query: dict[str, Any]
    curves: tuple[dict[str, Any], ...]
    decades: tuple[dict[str, Any], ...]
    facts: dict[str, float | None]
    per_query: dict[str, Any] | None = None

    def __getitem__(self, measure: str) -> float | None:
        return self.measures[measure].value


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measure of one configuration, `of`, less that of another, `against`, query by query.

    low, high   95 % interval of the difference
    p           two-sided: how often tossed signs give as large a difference
    wins        queries on which `of` is better; `losses` and `ties` likewise
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


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good each configuration is, and how the others compare with the first.

    points    of the collection
    took_ms   milliseconds inside the service
    json      the answer as it came: `save` writes it for `likewise eval report`
    """

    task: str
    data: str
    points: int
    configurations: dict[str, EvaluatedConfiguration]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    took_ms: float
    json: dict[str, Any]

    def __getitem__(self, configuration: str) -> EvaluatedConfiguration:
        return self.configurations[configuration]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file that `likewise eval report` and `likewise eval compare` read."""
        Path(path).write_text(json.dumps(self.json), encoding="utf-8")


def evaluation_from_json(body: Json) -> Evaluation:
    return Evaluation(
        task=body["task"],
        data=body["data"],
        points=body["points"],
        configurations={one["name"]: _configuration(one) for one in body["configurations"]},
        comparisons=tuple(
            Comparison(
                one["measure"],
                one["of"],
                one["against"],
                one["difference"],
                one["low"],
                one["high"],
                one["p"],
                one["wins"],
                one["losses"],
                one["ties"],
            )
            for one in body["comparisons"]
        ),
        notes=tuple(body["notes"]),
        took_ms=body["took_ms"],
        json=dict(body),
    )


def _configuration(body: Json) -> EvaluatedConfiguration:
    return EvaluatedConfiguration(
        name=body["name"],
        measures={
            name: Estimate(one["value"], one["low"], one["high"], one["queries"])
            for name, one in body["measures"].items()
        },
        query=dict(body["query"]),
        curves=tuple(dict(one) for one in body["curves"]),
        decades=tuple(dict(one) for one in body["decades"]),
        facts=dict(body["facts"]),
        per_query=body.get("per_query"),
    )
