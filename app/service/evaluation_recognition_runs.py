"""Measuring what was recognised: what each way comes to. On a lane."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.evaluation.classes import calibration_error, scores
from app.evaluation.recognition import gap, rejection_curve
from app.evaluation.results import Curve, Run, run_of, thinned, with_wholes
from app.service.evaluation_request import Configuration, ToEvaluate
from app.types import F64, I64, Definition

Key = tuple[int, Any]


class Asked(NamedTuple):
    """A thing to be recognised.

    labels   keys of what it is; none of a stranger
    share    of the collection that holds its label
    """

    name: str
    given: object
    labels: frozenset[Key]
    share: float


@dataclass(frozen=True, slots=True)
class Read:
    """What is to be recognised, read and checked.

    memory   narrows what is remembered
    sure     by way, what of an answer is its confidence
    """

    definition: Definition
    points: int
    asked: list[Asked]
    ways: list[Configuration]
    members: list[dict[str, Any]]
    sure: list[str]
    memory: Filter | None


@dataclass(slots=True)
class Told:
    """What was said in one way, thing by thing; None is no answer."""

    labels: list[Key | None] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)


def run_of_told(read: Read, wanted: ToEvaluate, told: Told, number: int) -> Run:
    known = np.array([bool(one.labels) for one in read.asked])
    answered = np.array([label is not None for label in told.labels])
    right = np.array(
        [label in one.labels for label, one in zip(told.labels, read.asked, strict=True)]
    )
    sure = np.array(told.sure)
    columns = [np.where(known, right, np.nan), np.where(known, answered, np.nan)]
    names = ["accuracy", "answered"]
    if not known.all():
        names.append("strangers refused")
        columns.append(np.where(known, np.nan, ~answered))
    facts = {"strangers": float((~known).sum())}
    run = run_of(
        read.ways[number].name,
        read.ways[number].members,
        [one.name for one in read.asked],
        names,
        np.stack(columns, axis=1).astype(np.float64),
        shares=None if wanted.sample is None else [one.share for one in read.asked],
        facts=facts,
        curves=[_rejection(sure, right, known)],
        samples=wanted.resamples,
        seed=wanted.seed,
    )
    truth, said = _numbered(read, told)
    wholes = {
        "gap": partial(_gap, sure, right, known, answered),
        "macro f1": partial(_macro_f1, truth, said, known),
        "ece": partial(_ece, np.array(told.probabilities), right, known & answered),
    }
    return with_wholes(run, wholes, known.size, samples=wanted.of_all, seed=wanted.seed)


def _rejection(sure: F64, right: NDArray[np.bool_], known: NDArray[np.bool_]) -> Curve:
    thresholds, strangers, accepted = rejection_curve(sure, right, known)
    kept = np.flatnonzero(np.isfinite(thresholds))
    if not kept.size or known.all():
        return Curve("rejection", [], [])
    some = kept[thinned(kept.size)]
    return Curve("rejection", strangers[some].tolist(), accepted[some].tolist())


def _numbered(read: Read, told: Told) -> tuple[I64, I64]:
    """Number labels: what is true of each thing, which is what was told if that is right."""
    true = [
        label if label in one.labels else min(one.labels, default=None)
        for label, one in zip(told.labels, read.asked, strict=True)
    ]
    every = {key for key in (*true, *told.labels) if key is not None}
    numbers = {key: number for number, key in enumerate(sorted(every))}
    truth = np.array([0 if key is None else numbers[key] for key in true], np.int64)
    said = np.array([-1 if key is None else numbers[key] for key in told.labels], np.int64)
    return truth, said


def _gap(
    sure: F64,
    right: NDArray[np.bool_],
    known: NDArray[np.bool_],
    answered: NDArray[np.bool_],
    at: I64,
) -> float:
    own = at[answered[at]]
    return gap(sure[own], right[own], int(known[at].sum()))


def _macro_f1(truth: I64, said: I64, known: NDArray[np.bool_], at: I64) -> float:
    own = at[known[at]]
    return scores(truth[own], said[own]).macro_f1 if own.size else math.nan


def _ece(probabilities: F64, right: NDArray[np.bool_], judged: NDArray[np.bool_], at: I64) -> float:
    own = at[judged[at]]
    return calibration_error(probabilities[own], right[own]) if own.size else math.nan
