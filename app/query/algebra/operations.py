"""What things share, have together, or have beyond others: `union`, `intersect`, `subtract`.

By `scores` candidates are held against each thing; by `concepts` the things are taken apart into
concepts of a dictionary, the operation is done on the coefficients, and the outcome is a vector.
`subtract` may also be done by `vectors`, which is plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidQuery
from app.query.algebra.composing import Composer
from app.query.algebra.dictionary import Concepts, read_concepts
from app.query.algebra.reading import Place, every_leaf
from app.query.algebra.sums import added
from app.query.expression import Compiled, Expression, Leaf, Meaning, Reading, ReadNode
from app.query.limits import MOST_WEIGHT, RULED
from app.query.reading import Members, refused
from app.ranking.algebra import concepts as mixtures
from app.ranking.algebra import rules
from app.ranking.algebra.vectors import unit
from app.types import F32, F64, Metric


@dataclass(frozen=True, slots=True)
class ByScores:
    """Scores by the similarities to each thing.

    weight   of what is subtracted
    """

    node: str
    at: str
    terms: tuple[Expression, ...]
    weight: float
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all terms."""
        return every_leaf(self.terms)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Recall by each term, of a difference by the first only, and score by all."""
        composer = Composer(meaning, self.at, self.node)
        if self.node == "subtract" and composer.metric is Metric.L2:
            raise InvalidQuery(
                "under l2 no score is above zero, so that nothing would be taken off: subtract by "
                "vectors",
                pointer=self.at,
            )
        scored = composer.scored(self.terms)
        single = [one.rule for one in scored]
        combine = _BY_SCORES[self.node]
        weight = self.weight

        def rule(rows: F32) -> F64:
            return combine(np.stack([one(rows) for one in single]), weight)

        first = scored[:1] if self.node == "subtract" else scored
        probes = [probe for one in first for probe in one.probes]
        depth = max(self.depth, *(one.depth for one in scored))
        certain = False
        if self.node == "union" or len(scored) == 1:
            # The best of a maximum are among the best of its parts.
            certain = all(one.certain for one in scored)
            depth = max(one.depth for one in scored)
        return composer.ruled(
            probes, rule, keep=self.keep, depth=depth, certain=certain, by="scores"
        )


_BY_SCORES: dict[str, Callable[[F64, float], F64]] = {
    "union": lambda lists, _: rules.greatest(lists),
    "intersect": lambda lists, _: rules.least(lists),
    "subtract": rules.less,
}


@dataclass(frozen=True, slots=True)
class ByConcepts:
    """Works on coefficients over concepts.

    sparsity   λ of the coefficients
    centred    things and concepts are directions from the mean of the collection
    """

    node: str
    at: str
    terms: tuple[Expression, ...]
    concepts: Concepts
    sparsity: float
    weight: float
    centred: bool
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all terms and of the concepts."""
        yield from every_leaf(self.terms)
        yield from self.concepts.leaves()

    def compiled(self, meaning: Meaning) -> Compiled:
        """Take apart, operate, put together."""
        composer = Composer(meaning, self.at, self.node)
        composer.only(Metric.COSINE, why="things are taken apart as directions")
        vectors = composer.vectors(self.terms).astype(np.float64)
        dictionary = self.concepts.made(composer, self.centred)
        vectors = unit(vectors - dictionary.centre)
        alphas = mixtures.coefficients(dictionary.vectors, vectors, self.sparsity)
        outcome = _BY_CONCEPTS[self.node](alphas, self.weight)
        if not (outcome > 1e-6).any():
            raise InvalidQuery(
                f"{self.node} leaves nothing: "
                + (
                    "the first has no concept that the others have less of"
                    if self.node == "subtract"
                    else "they have no concept in common"
                ),
                pointer=self.at,
            )
        terms = [
            {
                "explained": round(mixtures.explained(dictionary.vectors, alpha, vector), 6),
                "coefficients": dictionary.told(alpha),
            }
            for alpha, vector in zip(alphas, vectors, strict=True)
        ]
        return composer.one(
            outcome @ dictionary.vectors,
            keep=self.keep,
            by="concepts",
            terms=terms,
            coefficients=dictionary.told(outcome),
        )


_BY_CONCEPTS: dict[str, Callable[[F64, float], F64]] = {
    "union": lambda alphas, _: mixtures.united(alphas),
    "intersect": lambda alphas, _: mixtures.shared(alphas),
    "subtract": mixtures.without,
}


def _reader(node: str) -> ReadNode:
    def read(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
        place, members = Place(reading, depth), Members(raw, at, node)
        least = 2 if node == "subtract" else 1
        terms = place.terms(members.required(node), members.place(node), least=least)
        given = members.raw("concepts")
        usual = "concepts" if given is not None else "vectors" if least == 2 else "scores"
        ways = ("concepts", "scores", "vectors") if least == 2 else ("concepts", "scores")
        by = members.choice("by", ways, usual)
        weight = members.number("weight", 1.0, low=0, high=MOST_WEIGHT) if least == 2 else 1.0
        if (by == "concepts") != (given is not None):
            raise refused("name `concepts` to work by them, and only then", at)
        found: Expression
        if by == "concepts":
            found = ByConcepts(
                node,
                at,
                terms,
                read_concepts(place, given, members.place("concepts")),
                members.number("sparsity", 0.05, low=0, high=2),
                weight,
                members.flag("center", True),
                members.flag("keep"),
            )
        elif by == "vectors":
            found = added(at, terms, -weight, members, node)
        else:
            found = ByScores(
                node, at, terms, weight, place.depth_of(members, RULED), members.flag("keep")
            )
        members.end()
        return found

    return read


read_union, read_intersect, read_subtract = map(_reader, ("union", "intersect", "subtract"))
