"""More like these and less like those: `recommend`, `discover`, `context`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from app.query.algebra.composing import Composer
from app.query.algebra.reading import Place, every_leaf
from app.query.expression import Compiled, Expression, Leaf, Meaning, Reading
from app.query.limits import MOST_LEAVES
from app.query.reading import Members, items, refused
from app.ranking.algebra import rules
from app.ranking.algebra.vectors import combined, mean
from app.types import F32, F64, Metric

STRATEGIES = ("average_vector", "best_score", "sum_scores")


@dataclass(frozen=True, slots=True)
class Recommend:
    """Positive and negative examples.

    average_vector   p̄ + (p̄ − n̄), p̄ and n̄ the means
    best_score       by the nearest example, positive or negative
    sum_scores       Σ positive − Σ negative
    """

    at: str
    positive: tuple[Expression, ...]
    negative: tuple[Expression, ...]
    strategy: str
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all examples."""
        return every_leaf(self.positive, self.negative)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Average, or score by every example."""
        composer = Composer(meaning, self.at, "recommend")
        vectors = composer.vectors((*self.positive, *self.negative))
        positive, negative = vectors[: len(self.positive)], vectors[len(self.positive) :]
        if self.strategy == "average_vector":
            found = mean(positive)
            if len(negative):
                found = 2 * found - mean(negative)
            return composer.one(found, keep=self.keep, strategy=self.strategy)
        similar, unlike = composer.lists(positive), composer.lists(negative)
        if self.strategy == "sum_scores" and composer.metric is not Metric.L2:
            # A sum of products is one product: no rule, and every candidate counts.
            weights = np.repeat([1.0, -1.0], [len(positive), len(negative)])
            found = combined(vectors, weights)
            return composer.one(found, keep=self.keep, strategy=self.strategy)
        combine = rules.best_score if self.strategy == "best_score" else rules.sum_scores

        def rule(rows: F32) -> F64:
            return combine(similar(rows), unlike(rows))

        if len(positive):
            probes = list(positive)
        elif composer.metric is Metric.L2:
            raise refused("under l2 what is far from examples is not searched for", self.at)
        else:
            probes = list(-negative)
        return composer.ruled(
            probes, rule, keep=self.keep, depth=self.depth, strategy=self.strategy
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs whose positive side is to be the nearer one, with a target or without.

    target   None ranks by the loss of the pairs alone
    """

    at: str
    target: Expression | None
    positive: tuple[Expression, ...]
    negative: tuple[Expression, ...]
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of the target and of all pairs."""
        if self.target is not None:
            yield from self.target.leaves()
        yield from every_leaf(self.positive, self.negative)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Recall by the target, the positive sides, and both moved away from the negative ones."""
        node = "context" if self.target is None else "discover"
        composer = Composer(meaning, self.at, node)
        vectors = composer.vectors((*self.positive, *self.negative))
        positive, negative = np.split(vectors, 2)
        similar, unlike = composer.lists(positive), composer.lists(negative)
        away = (positive - negative).mean(axis=0, dtype=np.float64)
        if self.target is None:
            start, probes = positive.mean(axis=0, dtype=np.float64), []

            def rule(rows: F32) -> F64:
                return rules.context(similar(rows), unlike(rows))
        else:
            target = composer.vector(self.target)
            start, probes = target.astype(np.float64), [target]
            near = composer.lists(target[None])

            def rule(rows: F32) -> F64:
                return rules.discover(near(rows)[0], similar(rows), unlike(rows))

        for step in (0.5, 1.0, 2.0):
            moved = start + step * away
            length = float(np.linalg.norm(moved))
            if composer.metric is not Metric.COSINE:
                probes.append(moved.astype(np.float32))
            elif length > 1e-6:
                probes.append((moved / length).astype(np.float32))
        return composer.ruled(
            [*probes, *positive], rule, keep=self.keep, depth=self.depth, pairs=len(positive)
        )


def read_recommend(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"recommend": {"positive": […], "negative": […], "strategy": …}}."""
    place, outer = Place(reading, depth), Members(raw, at, "recommend")
    members = Members(outer.required("recommend"), outer.place("recommend"), "recommend")
    sides = [
        place.terms(members.raw(side), members.place(side), "id") if side in members else ()
        for side in ("positive", "negative")
    ]
    for side in ("positive", "negative"):
        members.raw(side)  # known, though left out
    strategy = members.choice("strategy", STRATEGIES, "average_vector")
    node = Recommend(
        at, sides[0], sides[1], strategy, place.depth_of(members), members.flag("keep")
    )
    members.end()
    outer.end()
    if not sides[0] and (not sides[1] or strategy == "average_vector"):
        raise refused(f"{strategy} needs positive examples", members.at)
    return node


def read_discover(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"discover": {"target": …, "context": [{"positive": …, "negative": …}, …]}}."""
    place, outer = Place(reading, depth), Members(raw, at, "discover")
    members = Members(outer.required("discover"), outer.place("discover"), "discover")
    target = place.term(members.required("target"), members.place("target"), "id")
    positive, negative = _pairs(place, members.required("context"), members.place("context"))
    node = Pairs(at, target, positive, negative, place.depth_of(members), members.flag("keep"))
    members.end()
    outer.end()
    return node


def read_context(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"context": [{"positive": …, "negative": …}, …]}."""
    place, members = Place(reading, depth), Members(raw, at, "context")
    positive, negative = _pairs(place, members.required("context"), members.place("context"))
    node = Pairs(at, None, positive, negative, place.depth_of(members), members.flag("keep"))
    members.end()
    return node


def _pairs(
    place: Place, raw: object, at: str
) -> tuple[tuple[Expression, ...], tuple[Expression, ...]]:
    positive, negative = [], []
    for number, one in enumerate(items(raw, at, most=MOST_LEAVES // 2)):
        pair = Members(one, f"{at}/{number}", "a pair")
        positive.append(place.term(pair.required("positive"), pair.place("positive"), "id"))
        negative.append(place.term(pair.required("negative"), pair.place("negative"), "id"))
        pair.end()
    return tuple(positive), tuple(negative)
