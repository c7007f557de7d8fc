"""Tasks that search: judged queries, filtered neighbours, galleries under a condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from app.cli.asking import refused
from app.cli.evaluation.asker import times, wire_vector
from app.cli.evaluation.job import Configuration, Job
from app.evaluation.blocks import nearest
from app.evaluation.loaders.beir import SearchSet, read_beir
from app.evaluation.loaders.fanns import FannsSet, read_fanns
from app.evaluation.loaders.sets import read_galleries
from app.evaluation.ranked import DEFAULT, Ranking, judged, values_of
from app.evaluation.results import Decade, Run, curves_of
from app.types import F32, F64

_SHOWN = 100  # characters of a query in reports


def retrieval(job: Job) -> list[Run]:
    """Search the judged queries of a folder in BEIR's layout."""
    found = read_beir(job.data, job.split)
    measures = job.wanted(DEFAULT)
    depth = max(measure.k for measure in measures)
    queries = list(found.queries)[: job.most]
    names = [f"{query}: {found.queries[query][:_SHOWN]}" for query in queries]
    with job.place({}) as collection:
        if job.collection is None:
            job.asker.fill(collection, _documents(found, job), None)
        points = job.asker.count(collection)
        job.notes.append(f"{points} documents, {len(queries)} judged queries")
        runs = []
        for configuration in job.configurations:
            rankings, took_ms = [], []
            for query in job.asker.shown(queries, configuration.name, len(queries)):
                answer = job.query(
                    collection, configuration, {"text": found.queries[query]}, depth, fields=[]
                )
                took_ms.append(answer.took_ms)
                rankings.append(judged([str(one) for one in answer.ids], found.gains[query]))
            values = values_of(rankings, measures)
            columns = {m.name: values[:, n].tolist() for n, m in enumerate(measures)}
            runs.append(
                job.run(
                    configuration,
                    names,
                    columns,
                    curves=curves_of(rankings, depth),
                    facts=times(took_ms),
                )
            )
    return runs


def _documents(found: SearchSet, job: Job) -> Iterator[dict[str, Any]]:
    """Make points of the documents; those without a word cannot be encoded, and are left out."""
    empty = 0
    for document in found.documents():
        if not document.whole:
            empty += 1
            continue
        yield {
            "id": document.id,
            "text": document.whole,
            "attributes": {"title": document.title} if document.title else {},
        }
    if empty:
        job.notes.append(f"{empty} documents without text are left out")


def neighbours(job: Job) -> list[Run]:
    """Search the queries of the benchmark of filters, and hold answers against its truth."""
    found = read_fanns(job.data)
    kinds = list(job.filters) or found.kinds
    for kind in kinds:
        if kind not in ("none", *found.kinds):
            raise refused(f"--filters {kind}: {job.data} has {', '.join(found.kinds)}")
    measures = job.wanted([f"recall@{job.k}"], ("recall",))
    depth = max(measure.k for measure in measures)
    own = {"dimension": found.vectors.shape[1], "metric": "l2"}
    with job.place(own) as collection:
        if job.collection is None:
            job.asker.fill(collection, _points(found), len(found.vectors))
        points = job.asker.count(collection)
        questions = _filtered(job, found, kinds, collection, depth)
        job.notes.append(f"{points} points, {len(questions)} queries: {', '.join(kinds)}")
        runs = []
        for configuration in job.configurations:
            rankings, shares, took_ms = [], [], []
            for _, question, near in job.asker.shown(questions, configuration.name, len(questions)):
                answer = job.query(collection, configuration, question, depth, fields=[])
                took_ms.append(answer.took_ms)
                shares.append(answer.matches / max(1, points))
                rankings.append((answer.ids, near))
            columns = {
                measure.name: [_recall(ids, near, measure.k) for ids, near in rankings]
                for measure in measures
            }
            names = [name for name, _, _ in questions]
            run = job.run(configuration, names, columns, shares=shares, facts=times(took_ms))
            run.decades[:] = _with_times(run.decades, shares, took_ms)
            runs.append(run)
    return runs


def _points(found: FannsSet) -> Iterator[dict[str, Any]]:
    for number, attributes in enumerate(found.attributes()):
        yield {
            "id": number,
            "vector": wire_vector(found.vectors[number]),
            "attributes": attributes,
        }


def _filtered(
    job: Job, found: FannsSet, kinds: Sequence[str], collection: str, depth: int
) -> list[tuple[str, dict[str, Any], list[int]]]:
    """Make the questions of every kind of filter: name, members, ids of the nearest."""
    most = job.most or len(found.queries)
    questions = []
    for kind in kinds:
        truth = found.truth(kind, most)
        if truth is None and kind == "none":
            job.notes.append("none: no truth is given; all vectors were compared here")
            near, _ = nearest(np.asarray(found.queries[:most]), found.vectors, depth, metric="l2")
            truth = list(near)
        elif truth is None:
            job.notes.append(f"{kind}: no truth is given; exact search of the service is it")
        for number, filter in enumerate(found.filters(kind, most)):
            question: dict[str, Any] = {"vector": wire_vector(found.queries[number])}
            if filter is not None:
                question["filter"] = filter
            if truth is not None:
                ids = truth[number].tolist()
            else:
                exact = {**question, "params": {"exact": True}, "k": depth, "fields": []}
                ids = job.asker.query(collection, exact).ids
            questions.append((f"{kind} {number + 1}", question, ids))
    return questions


def _recall(ids: Sequence[Any], near: Sequence[int], k: int) -> float:
    """Share of the k nearest that is among the first k ids; nan where nothing passes."""
    due = set(near[:k])
    return len(due & set(ids[:k])) / len(due) if due else float("nan")


def _with_times(
    decades: Sequence[Decade], shares: Sequence[float], took_ms: Sequence[float]
) -> list[Decade]:
    every: F64 = np.array(took_ms, np.float64)
    share: F64 = np.array(shares, np.float64)
    told = []
    for one in decades:
        own = (share > one.low * (1 + 1e-9)) & (share <= one.high * (1 + 1e-9))
        if one.high == 0:
            own = share == 0
        told.append(one._replace(values={**one.values, **times(every[own].tolist())}))
    return told


def conditional(job: Job) -> list[Run]:
    """Search small galleries for what is like a reference under a condition.

    Three baselines come first, so that a set that can be solved without its condition shows:
    the sum of both, the reference alone, the condition alone.
    """
    found = read_galleries(job.data)
    measures = job.wanted(["recall@1", "recall@2", "recall@3"])
    depth = max(measure.k for measure in measures)
    questions = found.questions[: job.most]
    model = job.encoder
    references = job.asker.vectors([one.reference for one in questions], model, "references")
    conditions = job.asker.vectors([one.condition for one in questions], model, "conditions")
    baselines = {"sum": references + conditions, "reference only": references}
    baselines["condition only"] = conditions
    every = job.asker.vectors(list(found.items.values()), model, "items")
    names = [str(number + 1) for number in range(len(questions))]
    with job.place({"dimension": every.shape[1]}) as collection:
        if job.collection is None:
            points = (
                {"id": id_, "vector": wire_vector(vector)}
                for id_, vector in zip(found.items, every, strict=True)
            )
            job.asker.fill(collection, points, len(every))
        job.notes.append(
            f"{len(questions)} galleries of {_mean([len(q.gallery) for q in questions]):.1f} items"
        )
        runs = []
        asked = [Configuration(name, {}) for name in baselines] + [
            one for one in job.configurations if one.members
        ]
        for configuration in asked:
            rankings, took_ms = [], []
            for number in job.asker.shown(range(len(names)), configuration.name, len(names)):
                question = questions[number]
                given = _given(
                    baselines.get(configuration.name), references, conditions, number
                ) | {"filter": {"$id": {"$in": question.gallery}}}
                answer = job.query(collection, configuration, given, depth, fields=[])
                took_ms.append(answer.took_ms)
                gains = dict.fromkeys(question.targets, 1.0)
                rankings.append(judged([str(one) for one in answer.ids], gains))
            runs.append(_ranked(job, configuration, names, rankings, measures, took_ms))
    return runs


def _given(baseline: F32 | None, references: F32, conditions: F32, number: int) -> dict[str, Any]:
    if baseline is not None:
        return {"vector": wire_vector(baseline[number])}
    return {
        "reference": wire_vector(references[number]),
        "condition": wire_vector(conditions[number]),
    }


def _ranked(
    job: Job,
    configuration: Configuration,
    names: Sequence[str],
    rankings: Sequence[Ranking],
    measures: Sequence[Any],
    took_ms: Sequence[float],
) -> Run:
    values = values_of(rankings, measures)
    columns: Mapping[str, Sequence[float]] = {
        measure.name: values[:, column].tolist() for column, measure in enumerate(measures)
    }
    return job.run(configuration, names, columns, facts=times(took_ms))


def _mean(numbers: Sequence[float]) -> float:
    return float(np.mean(numbers))
