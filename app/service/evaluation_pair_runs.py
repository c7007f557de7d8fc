"""Measuring scored pairs: what each way comes to. On a lane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidQuery
from app.evaluation.measures import pearson, spearman
from app.evaluation.pairs import RATES, PairMeasures, rank_agreement
from app.evaluation.results import Run, roc_curve, run_of, with_wholes
from app.evaluation.verification import ten_fold
from app.query.limits import MOST_MEASURES
from app.service.checks import place
from app.service.evaluation_request import Configuration, ToEvaluate, too_many
from app.types import F64, I64, Definition, VectorField


class Pair(NamedTuple):
    """A pair as it was given; `said` is what is true of it: 0 or 1, or a score."""

    name: str
    a: object
    b: object
    said: float


@dataclass(frozen=True, slots=True)
class Read:
    """What is to be compared, read and checked: pairs, or none where points are drawn."""

    definition: Definition
    points: int
    configurations: list[Configuration]
    fields: list[VectorField]
    pairs: list[Pair]


class Scored(NamedTuple):
    """Pairs with their scores in each way.

    scores   float64[ways, pairs]
    said     float64[pairs]
    labels   int64[pairs] of either side, where points were drawn
    """

    scores: F64
    said: F64
    names: list[str]
    labels: tuple[I64, I64] | None = None


def checked_rates(wanted: ToEvaluate, scored: Scored) -> list[float]:
    """Check that both kinds of pairs are there, and which rates they can tell."""
    if wanted.task == "similarity":
        return []
    different = int((scored.said == 0).sum())
    if not 0 < different < scored.said.size:
        raise InvalidQuery("equal and different pairs are needed", pointer="/pairs")
    if wanted.rates is None:
        return [rate for rate in RATES if rate * different >= 1]
    if not 1 <= len(wanted.rates) <= MOST_MEASURES:
        raise too_many(f"expected 1-{MOST_MEASURES} rates", "/rates", MOST_MEASURES)
    for number, rate in enumerate(wanted.rates):
        if rate * different < 1:
            raise InvalidQuery(
                f"{different} different pairs cannot tell a rate of {rate:g}: at least "
                f"{math.ceil(1 / rate)} are needed",
                pointer=place("/rates", number),
            )
    return list(dict.fromkeys(wanted.rates))


def verification(
    rates: Sequence[float], read: Read, wanted: ToEvaluate, scored: Scored, number: int
) -> Run:
    scores, same = scored.scores[number], scored.said == 1
    measures = PairMeasures(scores, same, rates, scored.labels)
    threshold = measures.threshold()
    facts = {"threshold at eer": threshold}
    columns: dict[str, F64] = {}
    if scored.labels is None:
        columns["right at eer"] = ((scores >= threshold) == same).astype(np.float64)
        accuracy, error = ten_fold(scores, same)
        if not math.isnan(accuracy):
            facts |= {"10-fold accuracy": accuracy, "its standard error": error}
    run = run_of(
        read.configurations[number].name,
        read.configurations[number].members,
        scored.names,
        list(columns),
        _columns(columns, len(scored.names)),
        facts=facts,
        curves=[roc_curve(measures.curve())],
        samples=wanted.resamples,
        seed=wanted.seed,
    )
    return with_wholes(
        run,
        measures.wholes(),
        same.size,
        things=measures.things,
        samples=wanted.of_all,
        seed=wanted.seed,
    )


def similarity(read: Read, wanted: ToEvaluate, scored: Scored, number: int) -> Run:
    scores, said = scored.scores[number], scored.said
    run = run_of(
        read.configurations[number].name,
        read.configurations[number].members,
        scored.names,
        ["rank agreement"],
        rank_agreement(scores, said)[:, None],
        samples=wanted.resamples,
        seed=wanted.seed,
    )
    wholes = {
        "spearman": partial(_correlation, spearman, scores, said),
        "pearson": partial(_correlation, pearson, scores, said),
    }
    return with_wholes(run, wholes, said.size, samples=wanted.of_all, seed=wanted.seed)


def _correlation(of: Any, scores: F64, said: F64, at: I64) -> float:
    return float(of(scores[at], said[at]))


def _columns(columns: Mapping[str, NDArray[Any]], rows: int) -> F64:
    found: F64 = np.zeros((rows, len(columns)))
    for number, column in enumerate(columns.values()):
        found[:, number] = column
    return found


def told(wanted: ToEvaluate, scored: Scored) -> tuple[str, list[str]]:
    if wanted.task == "similarity":
        return f"{scored.said.size} pairs", []
    equal = int(scored.said.sum())
    what = f"{equal} equal pairs, {scored.said.size - equal} different ones"
    if scored.labels is None:
        return what, []
    labels = int(max(scored.labels[0].max(), scored.labels[1].max())) + 1
    return what, [f"pairs of sampled points; intervals are over their {labels} labels"]
