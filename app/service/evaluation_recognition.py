"""Evaluations of recognition: what `classify` says of things with a label, and of strangers.

Things are given with their labels, or points are sampled, each judged by the others. A thing whose
label nothing in memory holds is a stranger: whatever is said of it is wrong, and the surer, the
worse. Things are judged some at a time, each batch in every way on one state of the collection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.attributes.filter import Filter, Not, both, parse_filter
from app.backends.base import View
from app.errors import InvalidField, InvalidQuery, LikewiseError
from app.evaluation.results import Outcome
from app.query.labels import holding, key_of, labelled, labels_in, read_field
from app.query.limits import MOST_JUDGED
from app.service.checks import place
from app.service.classifying import Classifying
from app.service.evaluation_outcome import outcome_of
from app.service.evaluation_queries import place_of
from app.service.evaluation_recognition_runs import Asked, Key, Read, Told, run_of_told
from app.service.evaluation_request import (
    Sampling,
    ToEvaluate,
    check_only,
    read_configurations,
    read_questions,
    sampled_field,
    too_many,
)
from app.service.remembering import Means
from app.types import Definition, Projection

_TOGETHER = 64
"""Things that are judged at a time, in all ways together: others get a turn between."""

_NOT_THEIRS = ("inputs", "top", "explain", "multi_label", "compose")

_LEAVES = ("text", "image", "record", "encoder", "vector", "id", "query")

_SURE = ("score", "probability", "margin", "nearest")
"""What of an answer may be its confidence."""


class RecognitionEvaluating:
    """The use case of evaluations of recognition."""

    def __init__(self, means: Means, classifying: Classifying) -> None:
        self._means = means
        self._classifying = classifying

    async def evaluate(self, name: str, wanted: ToEvaluate) -> tuple[Outcome, int]:
        """Judge things in every way, and measure: the outcome, and how many points there are."""
        means = self._means
        read = await means.search(partial(self._read, name, wanted))
        told = [Told() for _ in read.ways]
        size = max(1, _TOGETHER // len(read.ways))
        sampled = wanted.sample is not None
        for start in range(0, len(read.asked), size):
            inputs = [one.given for one in read.asked[start : start + size]]
            try:
                answers = await self._classifying.compare(
                    name, read.definition.mark, read.members, inputs, read.memory, sampled
                )
            except LikewiseError as error:
                error.pointer = _pointed(error.pointer, start, wanted)
                raise
            for way, own in enumerate(answers):
                _note(told[way], own, read.sure[way])
        runs = [
            await means.search(partial(run_of_told, read, wanted, told[number], number))
            for number in range(len(read.ways))
        ]
        strangers = sum(not one.labels for one in read.asked)
        what = f"{len(read.asked) - strangers} things to recognise, {strangers} strangers"
        notes = []
        if wanted.sample is not None:
            notes = [
                "sampled points, each judged by the others; of a stranger's label there are none"
            ]
        outcome = await means.search(
            partial(outcome_of, wanted, f"{name}: {what}, {read.points} points", runs, notes)
        )
        return outcome, read.points

    # ── reading; on the lane ─────────────────────────────────────────────────────────────────

    def _read(self, name: str, wanted: ToEvaluate) -> Read:
        definition = self._means.definition(name)
        check_only(wanted, "queries", "sample")
        if (wanted.questions is None) == (wanted.sample is None):
            raise InvalidField("expected either queries or sample", pointer="")
        ways = read_configurations(wanted.configurations, _NOT_THEIRS)
        memory = None
        backend = self._means.backend
        if wanted.sample is not None:
            label = read_field(wanted.sample.label, "/sample/label")
            memory = self._memory(wanted.sample)
            draw = partial(self._sampled, wanted.sample, label, definition)
            asked, points = backend.view(name, draw, definition.mark)
        else:
            label = None
            assert wanted.questions is not None
            asked = _given(wanted)
            points = backend.view(name, lambda view: view.subset(None).points)
        if all(not one.labels for one in asked):
            at = "/queries" if wanted.sample is None else "/sample"
            raise InvalidQuery("there is nothing to recognise: all are strangers", pointer=at)
        members, sure = [], []
        for way, one in enumerate(ways):
            own = dict(one.members)
            sure.append(own.pop("confidence", "score"))
            if sure[-1] not in _SURE:
                raise InvalidQuery(
                    f"expected one of {', '.join(_SURE)}",
                    pointer=place("/configurations", way, "query", "confidence"),
                )
            if label is not None and "classifier" not in own:
                own.setdefault("label", label)
            members.append({**own, "top": 1})
        return Read(definition, points, asked, ways, members, sure, memory)

    def _parsed(self, sample: Sampling, member: str) -> Filter | None:
        raw = getattr(sample, member)
        if raw is None:
            return None
        most = self._means.planning.max_filter_nodes
        return parse_filter(raw, max_nodes=most, pointer=f"/sample/{member}")

    def _memory(self, sample: Sampling) -> Filter | None:
        filter, unknown = self._parsed(sample, "filter"), self._parsed(sample, "unknown")
        return filter if unknown is None else both(filter, Not(unknown))

    def _sampled(
        self, sample: Sampling, label: str, definition: Definition, view: View
    ) -> tuple[list[Asked], int]:
        """Draw points, and count who else in memory holds their labels."""
        if sample.match is not None:
            raise InvalidQuery('it is for the task "ann"', pointer="/sample/match")
        if sample.points > MOST_JUDGED:
            raise too_many(f"a sample has at most {MOST_JUDGED}", "/sample/points", MOST_JUDGED)
        memory, unknown = self._memory(sample), self._parsed(sample, "unknown")
        using, most = sampled_field(sample, definition), sample.points
        drawn = []
        if unknown is not None:
            others = labelled(both(self._parsed(sample, "filter"), unknown), label)
            drawn.append(view.sample(using, others, most // 2, sample.seed))
            most -= drawn[0].size
        drawn.insert(0, view.sample(using, labelled(memory, label), most, sample.seed))
        rows = np.concatenate(drawn)
        points = view.subset(None).points
        sizes: dict[Key, int] = {}
        found = []
        remembered = rows.size - (drawn[1].size if len(drawn) > 1 else 0)
        for number, record in enumerate(view.records(rows, Projection(frozenset((label,)), False))):
            own = labels_in(record.attributes, label)
            shared = {}
            for one in own:
                key = key_of(one)
                if key not in sizes:
                    sizes[key] = view.subset(both(memory, holding(label, one))).points
                shared[key] = sizes[key] - (number < remembered)
            known = {key: others for key, others in shared.items() if others > 0}
            share = max(known.values(), default=0) / max(1, points)
            found.append(Asked(str(record.id), {"id": record.id}, frozenset(known), share))
        if len(found) < 2:
            raise InvalidQuery("fewer than two points can be sampled", pointer="/sample")
        return found, points


def _given(wanted: ToEvaluate) -> list[Asked]:
    assert wanted.questions is not None
    asked = []
    for number, question in enumerate(read_questions(wanted.questions, wanted.task)):
        at = place("/queries", number)
        members = dict(question.members)
        label = members.pop("label", None)
        for member in members:
            if member not in _LEAVES:
                raise InvalidQuery(
                    "what is recognised has no such member", pointer=f"{at}/{member}"
                )
        composed = members.pop("query", None)
        if composed is not None and members:
            raise InvalidQuery("expected one thing to recognise", pointer=at)
        keys = frozenset(() if label is None else (key_of(label),))
        asked.append(Asked(question.name, members if composed is None else composed, keys, 0.0))
    return asked


def _pointed(pointer: str | None, start: int, wanted: ToEvaluate) -> str | None:
    """Say where in the request a fault is that one way found."""
    parts = (pointer or "").split("/")
    if len(parts) < 2 or not parts[1].isdigit():
        return pointer
    way, rest = int(parts[1]), parts[2:]
    if rest[:1] != ["inputs"]:
        return "/".join([place_of(wanted, way), *rest])
    if wanted.sample is not None or len(rest) < 2:
        return "/sample" if wanted.sample is not None else "/queries"
    assert wanted.questions is not None
    number = start + int(rest[1])
    within = ["query"] if wanted.questions[number].get("query") is not None else []
    return "/".join([place("/queries", number), *within, *rest[2:]])


def _note(told: Told, answers: Sequence[Mapping[str, Any]], sure: str) -> None:
    for answer in answers:
        label = answer["label"]
        told.labels.append(None if label is None else key_of(label))
        best = answer["scores"][0]["score"] if answer["scores"] else None
        value = best if sure == "score" else answer[sure]
        told.sure.append(-math.inf if label is None or value is None else float(value))
        told.probabilities.append(float(answer["probability"]))
