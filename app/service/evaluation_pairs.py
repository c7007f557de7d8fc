"""Evaluations of pairs: are equal ones told from different ones, and do scores follow people's?

Pairs are given, or made of a sample of points by their labels. They are scored as `verify` does:
given ones some at a time, each batch in every way on one state of the collection; those of a
sample all on one state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.attributes.filter import parse_filter
from app.backends.base import View
from app.errors import InvalidField, InvalidQuery, LikewiseError
from app.evaluation.configurations import applied
from app.evaluation.results import Outcome
from app.query.expression import Reading
from app.query.labels import labelled, labels_in, read_field
from app.query.limits import (
    MOST_DRAWN_PAIRS,
    MOST_JUDGED,
    MOST_LABELLED_PAIRS,
)
from app.query.memory.inputs import Thing, metric_of
from app.query.memory.verifying import Asked, lookups_of, scores_of
from app.ranking.memory.prototypes import similarities
from app.service.checks import place
from app.service.evaluation_outcome import outcome_of
from app.service.evaluation_pair_runs import (
    Pair,
    Read,
    Scored,
    checked_rates,
    similarity,
    told,
    verification,
)
from app.service.evaluation_queries import place_of, traced
from app.service.evaluation_request import (
    Configuration,
    ToEvaluate,
    check_only,
    read_configurations,
    sampled_field,
    too_many,
)
from app.service.planned import encode_all
from app.service.remembering import Means, Resolved
from app.types import F64, I64

_TOGETHER = 64
"""Pairs that are scored at a time, in all ways together: others get a turn between."""

_OWN = ("using", "a", "b")
"""Members of a configuration."""


class PairEvaluating:
    """The use case of evaluations of pairs."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def evaluate(self, name: str, wanted: ToEvaluate) -> tuple[Outcome, int]:
        """Score pairs in every way, and measure: the outcome, and how many points there are."""
        means = self._means
        read = await means.search(partial(self._read, name, wanted))
        if wanted.sample is not None:
            draw = partial(self._drawn, read, wanted)
            scored = await means.viewed(name, read.definition.mark, draw)
        else:
            scored = await self._scored(name, read)
        at_rates = await means.search(partial(checked_rates, wanted, scored))
        measure = similarity if wanted.task == "similarity" else partial(verification, at_rates)
        runs = [
            await means.search(partial(measure, read, wanted, scored, number))
            for number in range(len(read.configurations))
        ]
        what, notes = told(wanted, scored)
        outcome = await means.search(
            partial(outcome_of, wanted, f"{name}: {what}, {read.points} points", runs, notes)
        )
        return outcome, read.points

    # ── reading; on the lane ─────────────────────────────────────────────────────────────────

    def _read(self, name: str, wanted: ToEvaluate) -> Read:
        definition = self._means.definition(name)
        check_only(wanted, "pairs", "sample")
        if (wanted.pairs is None) == (wanted.sample is None):
            raise InvalidField("expected either pairs or sample", pointer="")
        if wanted.task == "similarity" and wanted.sample is not None:
            raise InvalidQuery("points have no scores: give pairs", pointer="/sample")
        if wanted.rates is not None and wanted.task == "similarity":
            raise InvalidQuery('rates are for the task "verification"', pointer="/rates")
        configurations = read_configurations(wanted.configurations, ())
        fields = []
        for way, configuration in enumerate(configurations):
            at = place_of(wanted, way)
            own = configuration.members
            for member in own:
                if member not in _OWN or (wanted.sample is not None and member != "using"):
                    raise InvalidQuery(
                        "of pairs a configuration says `using`; and, where pairs are given, what "
                        "`a` and `b` are made of, by $a and $b",
                        pointer=place(at, member),
                    )
            using = own.get("using")
            if using is not None and not isinstance(using, str):
                raise InvalidQuery("expected the name of a vector", pointer=place(at, "using"))
            fields.append(self._means.field(definition, using, at, rows=True))
        points = self._means.backend.view(name, lambda view: view.subset(None).points)
        pairs = [] if wanted.pairs is None else _read_pairs(wanted.pairs, wanted.task)
        return Read(definition, points, configurations, fields, pairs)

    # ── given pairs ──────────────────────────────────────────────────────────────────────────

    async def _scored(self, name: str, read: Read) -> Scored:
        means, ways = self._means, len(read.configurations)
        size = max(1, _TOGETHER // ways)
        found = np.empty((ways, len(read.pairs)))
        for start in range(0, len(read.pairs), size):
            chosen = range(start, min(start + size, len(read.pairs)))
            try:
                asked, resolved = await means.search(partial(self._asked, read, chosen))
                await encode_all([resolved], means.encode, means.describe)
                scores = await means.viewed(
                    name, read.definition.mark, partial(_scores, read, asked, resolved)
                )
            except LikewiseError as error:
                error.pointer = _pointed(error.pointer, read)
                raise
            found[:, chosen.start : chosen.stop] = scores
        said = np.array([pair.said for pair in read.pairs])
        return Scored(found, said, [pair.name for pair in read.pairs])

    def _asked(self, read: Read, chosen: range) -> tuple[list[list[Asked]], Resolved]:
        """Make the pairs of every way, each at a place of its own."""
        resolved = Resolved()
        asked = []
        for way, (configuration, field) in enumerate(
            zip(read.configurations, read.fields, strict=True)
        ):
            pairs = [_pair(read.pairs[number], configuration, way, number) for number in chosen]
            self._means.resolve(list(lookups_of(pairs, field.name)), read.definition, resolved)
            asked.append(pairs)
        return asked, resolved

    # ── pairs of points ──────────────────────────────────────────────────────────────────────

    def _drawn(self, read: Read, wanted: ToEvaluate, view: View) -> Scored:
        sample = wanted.sample
        assert sample is not None
        for member in ("match", "unknown"):
            if getattr(sample, member) is not None:
                raise InvalidQuery("it is for other tasks", pointer=f"/sample/{member}")
        if sample.points > MOST_JUDGED:
            raise too_many(f"a sample has at most {MOST_JUDGED}", "/sample/points", MOST_JUDGED)
        label = read_field(sample.label, "/sample/label")
        filter = None
        if sample.filter is not None:
            most = self._means.planning.max_filter_nodes
            filter = parse_filter(sample.filter, max_nodes=most, pointer="/sample/filter")
        using = read.fields[0].name
        if sample.using is not None:
            using = sampled_field(sample, read.definition)
        rows = view.sample(using, labelled(filter, label), sample.points, sample.seed)
        every = [labels_in(attributes, label) for attributes in view.attributes(rows)]
        kept = np.array([len(held) == 1 for held in every], np.bool_)
        of_ways = []
        for field in read.fields:
            vectors, there = view.vectors(field.name, rows)
            of_ways.append(vectors)
            kept &= there
        _, who = np.unique(
            [repr(held[0]) for held, one in zip(every, kept, strict=True) if one],
            return_inverse=True,
        )
        a, b = _some_pairs(who, sample.seed)
        scores = np.stack(
            [
                similarities(metric_of(field), wide, wide)[a, b]
                for field, wide in zip(
                    read.fields,
                    (vectors[kept].astype(np.float64) for vectors in of_ways),
                    strict=True,
                )
            ]
        )
        same = (who[a] == who[b]).astype(np.float64)
        return Scored(scores, same, [], (who[a], who[b]))


def _read_pairs(given: Sequence[Mapping[str, Any]], task: str) -> list[Pair]:
    if not given:
        raise InvalidQuery("expected at least one pair", pointer="/pairs")
    if len(given) > MOST_LABELLED_PAIRS:
        raise too_many(f"at most {MOST_LABELLED_PAIRS} pairs", "/pairs", MOST_LABELLED_PAIRS)
    truth, other = ("score", "same") if task == "similarity" else ("same", "score")
    found = []
    names: set[str] = set()
    for number, raw in enumerate(given):
        at = place("/pairs", number)
        said = raw.get(truth)
        if said is None or not math.isfinite(said):
            what = "the score that it was given" if truth == "score" else "whether it is the same"
            raise InvalidQuery(f"a pair says {what}", pointer=f"{at}/{truth}")
        if raw.get(other) is not None:
            raise InvalidQuery("it is for another task", pointer=f"{at}/{other}")
        name = raw.get("name") or str(number + 1)
        if name in names:
            raise InvalidField("another pair has this name", pointer=f"{at}/name")
        names.add(name)
        found.append(Pair(name, raw["a"], raw["b"], float(said)))
    return found


def _pair(pair: Pair, configuration: Configuration, way: int, number: int) -> Asked:
    at = f"/{way}/{number}"
    own = configuration.members
    sides = {"a": own.get("a", "$a"), "b": own.get("b", "$b")}
    try:
        made = applied(sides, {"a": pair.a, "b": pair.b})
    except InvalidQuery as error:
        raise error.under(place("/configurations", way, "query")) from None
    reading = Reading()
    a, b = (Thing(f"{at}/{side}", reading.expression(made[side], f"{at}/{side}")) for side in "ab")
    return Asked(at, a, b)


def _pointed(pointer: str | None, read: Read) -> str | None:
    """Say where in the request a member of a made pair came from."""
    parts = (pointer or "").split("/")
    if len(parts) < 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return pointer
    way, number, rest = int(parts[1]), int(parts[2]), parts[3:]
    own = read.configurations[way].members
    name, rest = traced({"a": own.get("a", "$a"), "b": own.get("b", "$b")}, rest)
    if name is None:
        return "/".join([place("/configurations", way, "query"), *rest])
    return "/".join([place("/pairs", number, name), *rest])


def _scores(read: Read, asked: list[list[Asked]], resolved: Resolved, view: View) -> F64:
    return np.stack(
        [
            scores_of(view, pairs, field, resolved.leaves, None)[0]
            for pairs, field in zip(asked, read.fields, strict=True)
        ]
    )


def _some_pairs(who: I64, seed: int) -> tuple[I64, I64]:
    """Pair everybody with everybody; of too many, keep equal ones up to a half, others at random.

    Raises InvalidQuery where one kind is missing.
    """
    a, b = np.triu_indices(who.size, 1)
    same = who[a] == who[b]
    equal, different = np.flatnonzero(same), np.flatnonzero(~same)
    if not equal.size or not different.size:
        raise InvalidQuery(
            f"pairs of both kinds are needed: of {who.size} points with one label and every vector "
            f"there are {equal.size} equal ones and {different.size} different ones",
            pointer="/sample",
        )
    rng = np.random.default_rng(seed)
    half = MOST_DRAWN_PAIRS // 2
    if equal.size > max(half, MOST_DRAWN_PAIRS - different.size):
        equal = rng.permutation(equal)[: max(half, MOST_DRAWN_PAIRS - different.size)]
    if different.size > MOST_DRAWN_PAIRS - equal.size:
        different = rng.permutation(different)[: MOST_DRAWN_PAIRS - equal.size]
    chosen = np.concatenate((equal, different))
    return a[chosen].astype(np.int64), b[chosen].astype(np.int64)
