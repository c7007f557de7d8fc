"""Between the wire's evaluations and the service's: pure functions, no rules."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from app.api.convert import query_from_wire
from app.api.problems import error_from_validation
from app.errors import InvalidField
from app.evaluation.results import Outcome, json_from_outcome
from app.service.evaluation_request import Sampling, ToEvaluate
from app.service.requests import Query
from app.wire.evaluating import Evaluate
from app.wire.queries import Query as WireQuery


def evaluation_from_wire(body: Evaluate) -> ToEvaluate:
    """An evaluation, whose queries the service makes with `query_of`."""
    sample = body.sample
    return ToEvaluate(
        body.task,
        None if body.queries is None else [dict(question) for question in body.queries],
        None
        if sample is None
        else Sampling(
            sample.points,
            sample.seed,
            sample.filter,
            sample.label,
            sample.match,
            sample.using,
            sample.unknown,
        ),
        [(one.name, one.query) for one in body.configurations or ()],
        body.measures,
        body.resamples,
        body.seed,
        query_of,
        None if body.pairs is None else [dict(pair) for pair in body.pairs],
        body.rates,
    )


def query_of(members: dict[str, Any], at: str) -> Query:
    """Read a query that stands at `at`. Raises InvalidField with its place."""
    try:
        query = WireQuery.model_validate(members)
    except ValidationError as error:
        found = error_from_validation(error, WireQuery)
        raise InvalidField(found.detail, pointer=found.pointer).under(at) from None
    return query_from_wire(query, at, query.vector)


def json_from_evaluation(
    outcome: Outcome, points: int, took_ms: float, *, per_query: bool
) -> dict[str, Any]:
    """`app.wire.evaluating.Evaluation`"""
    found = json_from_outcome(outcome, per_query=per_query)
    return {**found, "points": points, "took_ms": took_ms}
