"""Tasks that compare things: likeness of pairs, the same or not, labels of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.cli.asking import refused
from app.cli.evaluation.asker import Found, times, wire_value
from app.cli.evaluation.job import Configuration, Job
from app.evaluation.classes import calibration_error, scores, vote
from app.evaluation.loaders.lines import Item
from app.evaluation.loaders.sets import (
    JudgedPairs,
    Labelled,
    read_labelled,
    read_pairs,
    read_recognition,
    read_sts,
)
from app.evaluation.measures import pearson, spearman
from app.evaluation.pairs import RATES, PairMeasures, rank_agreement
from app.evaluation.recognition import gap, rejection_curve
from app.evaluation.results import Curve, Run, roc_curve, thinned
from app.evaluation.verification import ten_fold
from app.types import F64, I64

_BINS = 10


def similarity(job: Job) -> list[Run]:
    """Correlate cosines of pairs with what people said of them."""
    found = read_sts(job.data)
    said = np.array(found.said)
    names = _pair_names(found)
    job.notes.append(f"{len(said)} pairs")
    runs = []
    for configuration in job.configurations:
        cosines = _cosines(job, configuration, found)
        wholes = {
            "spearman": partial(_correlation, spearman, cosines, said),
            "pearson": partial(_correlation, pearson, cosines, said),
        }
        columns = {"rank agreement": rank_agreement(cosines, said).tolist()}
        runs.append(job.run(configuration, names, columns, wholes=wholes))
    return runs


def verification(job: Job) -> list[Run]:
    """Tell equal pairs from different ones by a threshold on their cosine."""
    found = read_pairs(job.data, job.input)
    same = np.array(found.said) == 1
    names = _pair_names(found)
    job.notes.append(f"{int(same.sum())} equal pairs, {int((~same).sum())} different ones")
    runs = []
    for configuration in job.configurations:
        cosines = _cosines(job, configuration, found)
        rates = [far for far in RATES if far * int((~same).sum()) >= 1]
        measures = PairMeasures(cosines, same, rates)
        threshold = measures.threshold()
        right = ((cosines >= threshold) == same).astype(float)
        if min(int(same.sum()), int((~same).sum())) >= 10:
            accuracy, error = ten_fold(cosines, same)
            facts = {"10-fold accuracy": accuracy, "its standard error": error}
        else:
            facts = {}
        facts["threshold at eer"] = threshold
        runs.append(
            job.run(
                configuration,
                names,
                {"right at eer": right.tolist()},
                wholes=measures.wholes(),
                curves=[roc_curve(measures.curve())],
                facts=facts,
            )
        )
    return runs


def classification(job: Job) -> list[Run]:
    """Tell each thing's label by the vote of its nearest, itself left out."""
    things = read_labelled(job.data)
    measures = job.wanted([f"accuracy@{job.k}"], ("accuracy",))
    k = measures[0].k
    asked = things[: job.most]
    names = [one.id for one in asked]
    numbers = _numbered([one.label for one in things])
    truth = np.array([numbers[str(one.label)] for one in asked], np.int64)
    with job.place(_definition(things)) as collection:
        if job.collection is None:
            job.asker.fill(collection, _things(things), len(things))
        job.notes.append(f"{len(things)} things of {len(numbers)} labels, {len(asked)} asked for")
        runs = []
        for configuration in job.configurations:
            told, shares, took_ms = [], [], []
            for one in job.asker.shown(asked, configuration.name, len(asked)):
                answer = job.query(collection, configuration, {"id": one.id}, k, fields=["label"])
                label, share = _voted(answer)
                told.append(numbers.get(str(label), -1))
                shares.append(share)
                took_ms.append(answer.took_ms)
            guessed, sure = np.array(told, np.int64), np.array(shares)
            right = guessed == truth
            wholes = {
                **{
                    name.replace("_", " "): partial(_score, name, truth, guessed)
                    for name in ("macro_f1", "micro_f1", "mean_recall")
                },
                "ece": partial(_calibration, sure, right),
            }
            columns = {f"accuracy@{k}": right.astype(float).tolist()}
            runs.append(
                job.run(
                    configuration,
                    names,
                    columns,
                    wholes=wholes,
                    curves=[_reliability(sure, right)],
                    facts=times(took_ms),
                    leading=False,
                )
            )
    return runs


def recognition(job: Job) -> list[Run]:
    """Name queries by the vote of their nearest, and be sure of it only where that is right."""
    index, queries = read_recognition(job.data)
    queries = queries[: job.most]
    known = np.array([one.label is not None for one in queries])
    if not known.any():
        raise refused(f"{job.data}: no query has a label")
    names = [one.id for one in queries]
    with job.place(_definition(index)) as collection:
        if job.collection is None:
            job.asker.fill(collection, _things(index), len(index))
        job.notes.append(
            f"{len(index)} things, {int(known.sum())} queries that have a label, "
            f"{int((~known).sum())} strangers"
        )
        runs = []
        for configuration in job.configurations:
            correct, sure, took_ms = [], [], []
            for one in job.asker.shown(queries, configuration.name, len(queries)):
                given = {one.item.kind: wire_value(one.item)}
                answer = job.query(collection, configuration, given, job.k, fields=["label"])
                label, _ = _voted(answer)
                # What all queries share is the likeness itself: the mean of the label's votes.
                votes = [h.score for h in answer.hits if h.attributes.get("label") == label]
                sure.append(sum(votes) / max(1, len(answer.hits)))
                correct.append(one.label is not None and label == one.label)
                took_ms.append(answer.took_ms)
            right, confidence = np.array(correct), np.array(sure)

            def whole(at: I64, r: Any = right, c: Any = confidence) -> float:
                return gap(c[at], r[at], int(known[at].sum()))

            thresholds, strangers, answered = rejection_curve(confidence, right, known)
            some = thinned(len(thresholds))
            told = np.where(known, right.astype(float), np.nan)
            runs.append(
                job.run(
                    configuration,
                    names,
                    {f"accuracy@{job.k}": told.tolist()},
                    wholes={"gap": whole},
                    curves=[Curve("rejection", strangers[some].tolist(), answered[some].tolist())],
                    facts=times(took_ms),
                )
            )
    return runs


def _pair_names(pairs: JudgedPairs) -> list[str]:
    sides = zip(pairs.first, pairs.second, strict=True)
    return [f"{n}: {_shown(one)} – {_shown(other)}" for n, (one, other) in enumerate(sides, 1)]


def _shown(item: Item) -> str:
    if item.kind == "vector":
        return "a vector"
    if item.kind == "image":
        return "/".join(item.value.parts[-2:])
    return str(item.value)[:60]


def _cosines(job: Job, configuration: Configuration, pairs: JudgedPairs) -> F64:
    unknown = set(configuration.members) - {"model"}
    if unknown:
        raise refused(
            f"{configuration.name}: of pairs a configuration says the model, as in "
            '{"model": "all-MiniLM-L6-v2"}, and nothing else'
        )
    model = configuration.members.get("model", job.encoder)
    vectors = job.asker.vectors([*pairs.first, *pairs.second], model, configuration.name)
    half = len(pairs.said)
    found: F64 = np.einsum("nd,nd->n", vectors[:half], vectors[half:]).astype(np.float64)
    return found


def _correlation(of: Any, cosines: F64, said: F64, at: I64) -> float:
    return float(of(cosines[at], said[at]))


def _score(name: str, truth: I64, guessed: I64, at: I64) -> float:
    return float(getattr(scores(truth[at], guessed[at]), name))


def _calibration(sure: F64, right: Any, at: I64) -> float:
    return calibration_error(sure[at], right[at])


def _voted(answer: Found) -> tuple[Any, float]:
    labels = [hit.attributes.get("label") for hit in answer.hits]
    return vote(labels, [hit.score for hit in answer.hits])


def _definition(things: Sequence[Labelled]) -> dict[str, Any]:
    """Things that are vectors say how long these are; others are read by an encoder."""
    first = things[0].item
    return {"dimension": len(first.value)} if first.kind == "vector" else {}


def _things(things: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
    for one in things:
        point: dict[str, Any] = {"id": one.id, one.item.kind: wire_value(one.item)}
        yield point | {"attributes": {"label": one.label}}


def _numbered(labels: Sequence[str | None]) -> Mapping[str, int]:
    return {label: number for number, label in enumerate(sorted({str(one) for one in labels}))}


def _reliability(sure: F64, right: Any) -> Curve:
    """Accuracy of what was said with a confidence, by tenths of it."""
    place = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    own = [number for number in range(_BINS) if (place == number).any()]
    said = [float(sure[place == number].mean()) for number in own]
    held = [float(right[place == number].mean()) for number in own]
    return Curve("reliability", said, held)
