"""Pairs: are these two the same? And the thresholds that such answers are given by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.attributes.filter import Filter, Ids, Not, both
from app.backends.base import View
from app.errors import InvalidQuery
from app.query.expression import Expression, Reading
from app.query.labels import (
    Label,
    columns,
    holding,
    in_order,
    key_of,
    labelled,
    labels_in,
    read_field,
    read_label,
)
from app.query.limits import MOST_CACHED, MOST_INPUTS, MOST_LABELLED_PAIRS
from app.query.memory.classify import Everywhere
from app.query.memory.inputs import Bench, Thing, in_form, metric_of
from app.query.memory.threshold import Side
from app.query.plan import Lookup
from app.query.reading import Members, refused
from app.query.running import Leaves, Running
from app.ranking.memory.prototypes import similarities
from app.types import F64, I64, Metric, VectorField

Json = dict[str, Any]


class Asked(NamedTuple):
    """One pair: a thing, and another one or the label that it claims to have."""

    at: str
    a: Thing
    b: Thing | None
    claim: Label | None = None
    same: bool | None = None

    def things(self) -> list[Thing]:
        """Give what is to be made into vectors."""
        return [self.a] if self.b is None else [self.a, self.b]


@dataclass(frozen=True, slots=True)
class Claims:
    """Who is enrolled: points that hold the claimed label.

    best_of  "max": the likest of them; "mean": their mean
    """

    label: str
    filter: Filter | None
    best_of: str


def read_pairs(members: Members, *, labelled: bool = False) -> list[Asked]:
    """Read `pairs`, or the one of `a` and `b` (or `claim`).

    labelled   each says whether it is the `same`
    """
    reading = Reading()
    if "pairs" not in members:
        members.raw("pairs")
        return [_pair(members, reading)]
    most = MOST_LABELLED_PAIRS if labelled else MOST_INPUTS
    found = []
    for number, raw in enumerate(members.items("pairs", most=most)):
        own = Members(raw, f"{members.place('pairs')}/{number}", "a pair")
        pair = _pair(own, Reading() if labelled else reading, claims=not labelled)
        if labelled:
            own.required("same")
            pair = pair._replace(same=own.flag("same"))
        own.end()
        found.append(pair)
    return found


def _pair(members: Members, reading: Reading, *, claims: bool = True) -> Asked:
    a = _thing(members, "a", reading)
    if claims and "claim" in members:
        if "b" in members:
            raise refused("expected either b or claim, received both", members.at)
        members.raw("b")
        claim = read_label(members.raw("claim"), members.place("claim"))
        return Asked(members.at, a, None, claim)
    if claims:
        members.raw("claim")
    return Asked(members.at, a, _thing(members, "b", reading))


def _thing(members: Members, name: str, reading: Reading) -> Thing:
    at = members.place(name)
    expression: Expression = reading.expression(members.required(name), at)
    return Thing(at, expression)


def read_claims(members: Members, filter: Filter | None, pairs: Sequence[Asked]) -> Claims | None:
    """Read what claims need, if there are any."""
    best_of = members.choice("best_of", ("max", "mean"), "max")
    label = members.raw("label")
    if label is not None:
        label = read_field(label, members.place("label"))
    if all(pair.claim is None for pair in pairs):
        return None
    if label is None:
        raise refused("say in `label` which attribute a claim is about", members.at)
    return Claims(label, filter, best_of)


# ── scores ───────────────────────────────────────────────────────────────────────────────────


def scores_of(
    view: View, pairs: Sequence[Asked], field: VectorField, leaves: Leaves, claims: Claims | None
) -> tuple[F64, list[Json]]:
    """Compare each pair: float64[pairs], higher for better, NaN where nobody is enrolled; facts."""
    things = [thing for pair in pairs for thing in pair.things()]
    bench = Bench(Running(view, Everywhere(field), leaves), field, things)
    vectors = iter(zip(bench.vectors(), bench.excluded(), strict=True))
    scores = np.full(len(pairs), np.nan)
    facts: list[Json] = []
    for number, pair in enumerate(pairs):
        a, named = next(vectors)
        if pair.b is not None:
            b, _ = next(vectors)
            scores[number] = similarities(metric_of(field), a[None], b[None])[0, 0]
            facts.append({})
            continue
        assert claims is not None
        assert pair.claim is not None
        score, enrolled = _claimed(view, field, claims, pair.claim, a, named)
        scores[number] = score
        facts.append({"enrolled": enrolled})
    return scores, facts


def _claimed(
    view: View,
    field: VectorField,
    claims: Claims,
    claim: Label,
    a: F64,
    named: Sequence[Any],
) -> tuple[float, int]:
    """Compare with whoever is enrolled under a label, but for the thing itself."""
    among = both(claims.filter, holding(claims.label, claim))
    if named:
        among = both(among, Not(Ids(frozenset(named))))
    if claims.best_of == "mean":
        mean, count = view.mean(field.name, among)
        enrolled = in_form(field, mean.astype(np.float64)[None])
    else:
        rows = view.sample(field.name, among, MOST_CACHED, 0)
        vectors, _ = view.vectors(field.name, rows)
        enrolled, count = vectors.astype(np.float64), int(rows.size)
    if count == 0:
        return float("nan"), 0
    return float(similarities(metric_of(field), a[None], enrolled).max()), count


def distance_of(field: VectorField, score: float) -> float | None:
    """Say a score as a distance: squared between unit vectors, as in FaceNet; None for products."""
    metric = metric_of(field)
    if metric is Metric.COSINE:
        return max(2.0 - 2.0 * score, 0.0)
    return -score if metric is Metric.L2 else None


# ── pairs of points, by their labels ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pairs of a sample of points: the same label makes them genuine.

    sample   points
    halves   whether labels are halved: on one half a threshold is chosen, on the other measured
    """

    at: str
    label: str
    filter: Filter | None
    sample: int
    seed: int
    halves: bool

    def scores(self, view: View, field: VectorField) -> list[Side]:
        """Score them: of the first half of the labels and of the second, or of all."""
        remember = labelled(self.filter, self.label)
        rows = view.sample(field.name, remember, self.sample, self.seed)
        vectors, _ = view.vectors(field.name, rows)
        every = [labels_in(attributes, self.label) for attributes in view.attributes(rows)]
        kept = [number for number, held in enumerate(every) if len(held) == 1]
        held = [every[number][0] for number in kept]
        numbers = columns(in_order(held))
        who = np.array([numbers[key_of(label)] for label in held], dtype=np.int64)
        wide = vectors[kept].astype(np.float64)
        people = len(numbers)
        order = np.random.default_rng(self.seed).permutation(people)
        sides = [order[: people // 2], order[people // 2 :]] if self.halves else [order]
        return [self._of(field, wide, who, side) for side in sides]

    def _of(self, field: VectorField, vectors: F64, who: I64, side: I64) -> Side:
        chosen = np.flatnonzero(np.isin(who, side))
        scores = similarities(metric_of(field), vectors[chosen], vectors[chosen])
        _, labels = np.unique(who[chosen], return_inverse=True)
        a, b = np.triu_indices(chosen.size, 1)
        flat, of_a, of_b = scores[a, b], labels[a], labels[b]
        same = of_a == of_b
        return Side(
            flat[same], flat[~same], of_a[same], np.stack([of_a[~same], of_b[~same]], axis=1)
        )


def halved(scores: F64, same: Sequence[bool], seed: int, halves: bool) -> list[Side]:
    """Split given pairs at random."""
    truth = np.array(same, dtype=np.bool_)
    order = np.random.default_rng(seed).permutation(truth.size)
    sides = [order[: truth.size // 2], order[truth.size // 2 :]] if halves else [order]
    return [Side(scores[side][truth[side]], scores[side][~truth[side]]) for side in sides]


def lookups_of(pairs: Sequence[Asked], using: str) -> Iterator[Lookup]:
    """Give what is to be resolved."""
    for pair in pairs:
        for thing in pair.things():
            yield Lookup(thing.at, thing.expression, using, None, 1)


def check_sides(sides: Sequence[Side], target_far: float, at: str) -> None:
    """Refuse pairs that can say nothing about such a rate."""
    for side in sides:
        if not side.genuine.size or not side.impostors.size:
            where = " on each side" if len(sides) > 1 else ""
            raise InvalidQuery(
                f"a threshold needs pairs of both kinds{where}: there are {side.genuine.size} "
                f"genuine ones and {side.impostors.size} of impostors",
                pointer=at,
            )
    impostors = sides[0].impostors
    if impostors.size * target_far < 1:
        raise InvalidQuery(
            f"{impostors.size} pairs of impostors cannot tell a rate of {target_far:g}: at least "
            f"{int(np.ceil(1 / target_far))} are needed",
            pointer=at,
        )


def read_drawn(members: Members, filter: Filter | None) -> Drawn:
    """Read which points make pairs."""
    label = read_field(members.required("label"), members.place("label"))
    return Drawn(
        members.at,
        label,
        filter,
        members.integer("sample", 2000, low=2, high=4096),
        members.integer("seed", 0, low=0, high=2**32 - 1),
        members.flag("held_out", True),
    )
