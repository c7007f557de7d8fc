"""Evaluations of a collection: judged queries, asked in several ways, measured and compared.

    read      the request to questions and configurations; a sample is drawn
    ask       a few questions at a time, each in every way, by the use case of queries: every batch
              is one request among others, so that nobody waits for a whole evaluation
    judge     each batch on the lane, as soon as it is answered; no hit is kept
    measure   at the end, on the lane

Pairs and recognition do not ask queries: `evaluation_pairs` and `evaluation_recognition`.

All ways to ask one question are asked on one state of the collection. Different questions may see
different ones, if points are written meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from app.backends.base import Answer, Backend
from app.errors import CollectionNotFound, InvalidField, LikewiseError
from app.evaluation.classes import vote
from app.evaluation.hubs import hubness
from app.evaluation.ranked import MEASURES, Ranking, judged, values_of
from app.evaluation.results import Outcome, Run, curves_of, run_of
from app.query.limits import MOST_EVALUATED
from app.service.checks import check_name
from app.service.evaluation_outcome import outcome_of
from app.service.evaluation_pairs import PairEvaluating
from app.service.evaluation_queries import pointed, queries_of
from app.service.evaluation_recognition import RecognitionEvaluating
from app.service.evaluation_request import (
    BASELINES,
    Configuration,
    Question,
    Read,
    ToEvaluate,
    check_only,
    label_values,
    read_configurations,
    read_labels,
    read_measures,
    read_questions,
    read_sample,
    sampled_field,
    too_many,
    with_baselines,
)
from app.service.lanes import Lane
from app.service.requests import Query
from app.service.self_check import recall
from app.types import F64, PointId

AT_ONCE = 16
"""Queries of one batch: tens of milliseconds of searching at most."""


@dataclass(slots=True)
class Judged:
    """What is kept of the answers in one way: of each question, in order.

    rankings   by label; under "" where there are judgements
    votes      by label: of each question whether the vote of the nearest is right, by depth
    recalls    float of each measure, where exact search is the truth
    """

    rankings: dict[str, list[Ranking]] = field(default_factory=dict)
    votes: dict[str, list[list[float]]] = field(default_factory=dict)
    recalls: list[list[float]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    found: Counter[PointId] = field(default_factory=Counter)


Ask = Callable[[str, Sequence[Query]], Awaitable[list[Answer]]]


class Evaluating:
    """The use case of evaluations."""

    def __init__(
        self,
        backend: Backend,
        ask: Ask,
        lane: Lane,
        *,
        pairs: PairEvaluating,
        recognition: RecognitionEvaluating,
        max_k: int,
        max_filter_nodes: int,
    ) -> None:
        self._pairs = pairs
        self._recognition = recognition
        self._backend = backend
        self._ask = ask
        self._lane = lane
        self._max_k = max_k
        self._max_filter_nodes = max_filter_nodes

    async def evaluate(self, name: str, wanted: ToEvaluate) -> tuple[Outcome, int]:
        """Ask, judge and measure: the outcome, and how many points there are.

        Raises InvalidQuery, InvalidField and LimitExceeded with their place, before anything is
        asked where that can be known.
        """
        if wanted.task in ("verification", "similarity"):
            return await self._pairs.evaluate(name, wanted)
        if wanted.task == "recognition":
            return await self._recognition.evaluate(name, wanted)
        read = await self._lane.run(partial(self._read, name, wanted))
        ways = [Judged() for _ in read.configurations]
        for places in self._batches(read, wanted.task == "ann"):
            queries = await self._lane.run(partial(queries_of, read, places, wanted))
            try:
                answers = await self._ask(name, queries)
            except LikewiseError as error:
                error.pointer = pointed(error.pointer, read, wanted)
                raise
            await self._lane.run(partial(_judge, read, places, wanted.task, answers, ways))
        runs = await self._lane.run(partial(self._measured, name, read, wanted, ways))
        return runs, read.points

    # ── reading; on the lane ─────────────────────────────────────────────────────────────────

    def _read(self, name: str, wanted: ToEvaluate) -> Read:
        definition = self._backend.definition(check_name(name, "collection"))
        conditional = wanted.task == "conditional"
        check_only(wanted, "queries", "measures", *(() if conditional else ("sample",)))
        if (wanted.questions is None) == (wanted.sample is None):
            raise InvalidField("expected either queries or sample", pointer="")
        configurations = []
        if wanted.configurations or not conditional:
            configurations = read_configurations(wanted.configurations)
        if conditional:
            configurations = with_baselines(configurations)
        labels: list[str] = []
        if wanted.sample is None:
            assert wanted.questions is not None
            questions = read_questions(wanted.questions, wanted.task)
            points = self._backend.view(name, lambda view: view.subset(None).points)
        else:
            labels = read_labels(wanted.sample, wanted.task)
            draw = partial(
                read_sample,
                sample=wanted.sample,
                labels=labels,
                using=sampled_field(wanted.sample, definition),
                max_filter_nodes=self._max_filter_nodes,
            )
            questions, points = self._backend.view(name, draw, definition.mark)
        measures = read_measures(wanted, labels=bool(labels))
        depth = max(measure.k for measure in measures)
        if depth > self._max_k:
            raise too_many(f"a depth is at most {self._max_k}", "/measures", self._max_k)
        asked = len(questions) * len(configurations) * depth
        if asked > MOST_EVALUATED:
            raise too_many(
                f"queries × configurations × depth is {asked}; at most {MOST_EVALUATED}",
                "",
                MOST_EVALUATED,
            )
        read = Read(
            definition.mark,
            points,
            questions,
            configurations,
            measures,
            labels,
            depth,
            len(BASELINES) if conditional else 0,
        )
        # Faults of a configuration are known by its first query, before anything is asked.
        queries_of(read, range(min(1, len(questions))), wanted)
        return read

    # ── asking ───────────────────────────────────────────────────────────────────────────────

    def _batches(self, read: Read, exact: bool) -> Iterator[range]:
        ways = len(read.configurations) * (2 if exact else 1)
        # A batch has a bound of its own: ten pages of `max_k`, and of documents to rerank.
        most = 10 * self._max_k // (read.depth * ways)
        reranked = any(one.members.get("rerank") for one in read.configurations)
        size = 1 if reranked else max(1, min(AT_ONCE // ways, most))
        for start in range(0, len(read.questions), size):
            yield range(start, min(start + size, len(read.questions)))

    # ── measuring; on the lane ───────────────────────────────────────────────────────────────

    def _measured(
        self, name: str, read: Read, wanted: ToEvaluate, ways: Sequence[Judged]
    ) -> Outcome:
        if self._backend.definition(name).mark != read.mark:  # dropped and made anew meanwhile
            raise CollectionNotFound(name)
        runs = [
            _run(read, wanted, configuration, one)
            for configuration, one in zip(read.configurations, ways, strict=True)
        ]
        sampled = wanted.sample is not None
        what = f"{len(read.questions)} {'sampled points' if sampled else 'queries'}"
        notes = []
        if sampled and read.labels:
            notes.append("relevant are other points with the same label; each leaves itself out")
        if wanted.task == "ann":
            notes.append("recall against exact search of the same query on the same state")
        if wanted.task == "conditional":
            sizes = [len(question.members["filter"]["$id"]) for question in read.questions]
            what = f"{len(sizes)} galleries of {np.mean(sizes):.1f} points"
        return outcome_of(wanted, f"{name}: {what}, {read.points} points", runs, notes)


def _run(read: Read, wanted: ToEvaluate, configuration: Configuration, one: Judged) -> Run:
    names: list[str] = []
    columns: list[F64] = []
    rankings: list[Ranking] = []
    if wanted.task == "ann":
        names = [measure.name for measure in read.measures]
        columns = [np.array(one.recalls, np.float64).reshape(-1, len(names))]
    for label, found in one.rankings.items():
        suffix = f" {label}" if len(read.labels) > 1 else ""
        ranked = [measure for measure in read.measures if measure.kind in MEASURES]
        voted = [measure for measure in read.measures if measure.kind == "accuracy"]
        names += [measure.name + suffix for measure in (*ranked, *voted)]
        columns.append(values_of(found, ranked))
        if voted:
            columns.append(np.array(one.votes[label], np.float64))
        rankings = rankings or found
    facts = {}
    if wanted.sample is not None and wanted.task != "ann":
        counts = np.zeros(max(read.points, len(one.found)))
        counts[: len(one.found)] = list(one.found.values())
        facts["hub skew"] = hubness(counts).skew
        facts["most found"] = float(hubness(counts).most)
    return run_of(
        configuration.name,
        configuration.members,
        [question.name for question in read.questions],
        names,
        np.concatenate(columns, axis=1),
        shares=one.shares or None,
        facts=facts,
        curves=curves_of(rankings, read.depth) if rankings else (),
        samples=wanted.resamples,
        seed=wanted.seed,
    )


# ── judging; on the lane ────────────────────────────────────────────────────────────────────────


def _judge(
    read: Read, places: range, task: str, answers: Sequence[Answer], ways: Sequence[Judged]
) -> None:
    """Hold the answers of some questions against the truth."""
    every = iter(answers)
    for number in places:
        question = read.questions[number]
        for way in ways:
            answer = next(every)
            if task == "ann":
                exact = next(every)
                way.recalls.append(
                    [
                        recall(answer.hits[: one.k], exact.hits[: one.k])
                        if exact.hits
                        else float("nan")
                        for one in read.measures
                    ]
                )
                way.shares.append(exact.matches / max(1, read.points))
                continue
            if question.share is not None:
                way.shares.append(question.share)
                way.found.update(hit.record.id for hit in answer.hits[: min(10, read.depth)])
            elif read.filtered and task != "conditional":
                way.shares.append(answer.matches / max(1, read.points))
            if read.labels:
                _judge_labels(read, question, answer, way)
            else:
                ids = [hit.record.id for hit in answer.hits]
                way.rankings.setdefault("", []).append(judged(ids, question.gains))


def _judge_labels(read: Read, question: Question, answer: Answer, way: Judged) -> None:
    depths = [measure.k for measure in read.measures if measure.kind == "accuracy"]
    for label in read.labels:
        own, others = question.labels.get(label, (frozenset(), 0))
        told = [label_values(hit, label) for hit in answer.hits]
        gains = np.array([bool(own & one) for one in told], np.float64)
        way.rankings.setdefault(label, []).append(Ranking(gains, np.ones(max(0, others))))
        votes = []
        for k in depths:
            if not own:
                votes.append(float("nan"))
                continue
            cast = [value for one in told[:k] for value in sorted(one, key=repr)]
            votes.append(float(vote(cast, [1.0] * len(cast))[0] in own))
        way.votes.setdefault(label, []).append(votes)
