"""Vectors added, subtracted, and taken out of each other: `sum`, `add`, `reject`, `compose`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from app.query.algebra.composing import LINEAR, Composer
from app.query.algebra.reading import COLLECTION, Place, every_leaf
from app.query.expression import ENCODED, LEAVES, Compiled, Expression, Leaf, Meaning, Reading
from app.query.limits import MOST_LEAVES, MOST_WEIGHT, RULED
from app.query.reading import Members, items, refused
from app.ranking.algebra.vectors import combined, rejected
from app.types import F32, F64, Metric


@dataclass(frozen=True, slots=True)
class Sum:
    """Σ wᵢ tᵢ; where a term scores by a rule, the weighted sum of scores.

    centred   whether the mean of the collection is taken off each term first
    keep      whether points that are named may be found
    """

    at: str
    terms: tuple[Expression, ...]
    weights: tuple[float, ...]
    centred: bool
    keep: bool
    node: str = "sum"

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all terms."""
        return every_leaf(self.terms)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Add vectors, or scores."""
        composer = Composer(meaning, self.at, self.node)
        weights = np.array(self.weights)
        scored = composer.scored(self.terms)
        vectors = [one.vector for one in scored if one.vector is not None]
        if len(vectors) == len(scored):
            return self._added(composer, np.stack(vectors), weights)
        if self.centred:
            raise refused("only vectors can be centred, and a term scores by a rule", self.at)
        rules = [one.rule for one in scored]
        wanted = [one for one, weight in zip(scored, self.weights, strict=True) if weight > 0]
        probes = [probe for one in wanted for probe in one.probes]
        if not probes:
            raise refused("a sum looks for something: at least one weight is above 0", self.at)

        def rule(rows: F32) -> F64:
            found: F64 = weights @ np.stack([one(rows) for one in rules])
            return found

        depth = max(RULED, *(one.depth for one in scored))
        return composer.ruled(probes, rule, keep=self.keep, depth=depth, by="scores")

    def _added(self, composer: Composer, vectors: F32, weights: F64) -> Compiled:
        total = float(weights.sum())
        found = combined(vectors, weights)
        if self.centred:
            composer.only(*LINEAR, why="it is a direction from a mean")
            found = found - total * composer.centre(COLLECTION)
        if composer.metric is Metric.L2:
            if total <= 0:
                raise refused(
                    "under l2 a sum is a weighted mean: weights add up to more than 0", self.at
                )
            found = found / total
        return composer.one(found, keep=self.keep)


@dataclass(frozen=True, slots=True)
class Reject:
    """The first term less its projection on the span of the others."""

    at: str
    terms: tuple[Expression, ...]
    centred: bool
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all terms."""
        return every_leaf(self.terms)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Project."""
        composer = Composer(meaning, self.at, "reject")
        composer.only(*LINEAR, why="a projection needs an origin")
        vectors = composer.vectors(self.terms).astype(np.float64)
        if self.centred:
            vectors = vectors - composer.centre(COLLECTION)
        found = rejected(vectors[0], vectors[1:])
        kept = float(np.linalg.norm(found)) / max(float(np.linalg.norm(vectors[0])), 1e-12)
        return composer.one(found, keep=self.keep, kept=round(kept, 6))


def read_sum(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"sum": [term, {"of": term, "weight": w}, …]}."""
    place, members = Place(reading, depth), Members(raw, at, "sum")
    terms, weights = [], []
    within = members.place("sum")
    for number, one in enumerate(items(members.required("sum"), within, most=MOST_LEAVES)):
        here = f"{within}/{number}"
        if isinstance(one, Mapping) and "of" in one:
            weighted = Members(one, here, "a term of a sum")
            terms.append(place.term(weighted.required("of"), weighted.place("of")))
            weights.append(weighted.number("weight", 1.0, low=-MOST_WEIGHT, high=MOST_WEIGHT))
            weighted.end()
        else:
            terms.append(place.term(one, here))
            weights.append(1.0)
    node = Sum(at, tuple(terms), tuple(weights), members.flag("center"), members.flag("keep"))
    members.end()
    return node


def read_add(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"add": [a, b, …], "weight": λ}: a + λ (b + …)."""
    place, members = Place(reading, depth), Members(raw, at, "add")
    terms = place.terms(members.required("add"), members.place("add"), least=2)
    node = added(at, terms, members.number("weight", 1.0, low=0, high=MOST_WEIGHT), members, "add")
    members.end()
    return node


def added(
    at: str, terms: tuple[Expression, ...], weight: float, members: Members, node: str
) -> Sum:
    """Make a sum of the first term and the others, these by one weight."""
    weights = (1.0, *(weight for _ in terms[1:]))
    return Sum(at, terms, weights, members.flag("center"), members.flag("keep"), node)


def read_reject(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"reject": [a, b, …]}: what of a is not in the span of the others."""
    place, members = Place(reading, depth), Members(raw, at, "reject")
    terms = place.terms(members.required("reject"), members.place("reject"), least=2)
    node = Reject(at, terms, members.flag("center"), members.flag("keep"))
    members.end()
    return node


def read_compose(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"compose": [a, b], "mix": m}: (1 − m) a + m b; or an object of two leaves, the one
    that comes first in `LEAVES` after all others taken as b: {"image": …, "text": …}."""
    place, members = Place(reading, depth), Members(raw, at, "compose")
    given, within = members.required("compose"), members.place("compose")
    if isinstance(given, Mapping):
        terms = _pair(reading, given, within)
    else:
        terms = place.terms(given, within, least=2)
        if len(terms) != 2:
            raise refused("expected two things to compose", within)
    mix = members.number("mix", 0.5, low=0, high=1)
    node = Sum(at, terms, (1 - mix, mix), members.flag("center"), members.flag("keep"), "compose")
    members.end()
    return node


def _pair(reading: Reading, given: Mapping[str, object], at: str) -> tuple[Expression, ...]:
    """Read two leaves that stand side by side; a text says what is to be different, so it is b."""
    members = Members(given, at, "compose")
    kinds = [kind for kind in reversed(LEAVES) if kind in members]
    if len(kinds) != 2:
        raise refused("expected two things to compose, as image and text", at)
    encoder = members.text("encoder", None)
    leaves = tuple(
        # Pointers of leaves tell them apart; each stands under its own name here.
        reading.leaf(
            kind,
            members.raw(kind),
            members.place(kind),
            encoder if kind in ENCODED else None,
            bare=True,
        )
        for kind in kinds
    )
    members.end()
    return leaves
