"""What does not matter: `uncertain` forgives differences of kinds that were seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from app.query.algebra.aspects import Labelled, read_labelled
from app.query.algebra.composing import Composer
from app.query.algebra.conditions import within
from app.query.algebra.reading import Place, every_leaf
from app.query.expression import Compiled, Expression, Leaf, Meaning, Reading
from app.query.limits import MOST_CONCEPTS, MOST_LEAVES
from app.query.reading import Members, items, refused
from app.ranking.algebra.subspaces import forgiving, kinds
from app.types import F64, Metric


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A thing of which some directions do not matter much: −√((q − x)' (I + γΣ)⁻¹ (q − x)).

    seen   of which Σ is made: pairs that answer the same intent, or the values of an attribute
           whose points do
    """

    at: str
    of: Expression
    strength: float
    first: tuple[Expression, ...]
    second: tuple[Expression, ...]
    labels: Labelled | None
    rank: int | None
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of the thing and of the pairs."""
        yield from self.of.leaves()
        yield from every_leaf(self.first, self.second)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Forgive what differs within pairs or values."""
        composer = Composer(meaning, self.at, "uncertain")
        composer.only(Metric.COSINE, why="differences of directions are forgiven")
        of = composer.vector(self.of).astype(np.float64)
        if self.labels is None:
            vectors = composer.vectors((*self.first, *self.second)).astype(np.float64)
            one, other = np.split(vectors, 2)
            rows, squares = kinds(one - other, self.rank)
        else:
            rows, squares = self._within(composer, self.labels)
        form = forgiving(rows, squares, self.strength)
        return within(
            composer,
            form,
            of,
            np.zeros_like(of),
            "distance",
            self.depth,
            keep=self.keep,
            strength=self.strength,
        )

    def _within(self, composer: Composer, labels: Labelled) -> tuple[F64, F64]:
        """Give how points differ from the mean of those that share their value."""

        def make() -> tuple[F64, F64, int]:
            vectors, classes = labels.examples(composer)
            wide = vectors.astype(np.float64)
            for one in range(int(classes.max()) + 1):
                wide[classes == one] -= wide[classes == one].mean(axis=0)
            return (*kinds(wide, labels.rank), len(wide))

        key = ("within", *labels.key(composer))
        (rows, squares, count), before = composer.meaning.view.remembered(key, make)
        composer.facts["examples"] = {"points": count, "remembered": before}
        return rows, squares


def read_uncertain(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"uncertain": {"of": …, "strength": γ, "pairs": [[a, b], …] or "labels": …}}."""
    place, outer = Place(reading, depth), Members(raw, at, "uncertain")
    members = Members(outer.required("uncertain"), outer.place("uncertain"), "uncertain")
    outer.end()
    of = place.term(members.required("of"), members.place("of"), "id")
    first, second, labels = [], [], None
    if "labels" in members:
        labels = read_labelled(place, members.raw("labels"), members.place("labels"), members)
    else:
        within_at = members.place("pairs")
        for number, pair in enumerate(
            items(members.required("pairs"), within_at, most=MOST_LEAVES)
        ):
            one, other = place.terms(pair, f"{within_at}/{number}", "id", least=2)[:2]
            first.append(one)
            second.append(other)
    if "pairs" in members and labels is not None:
        raise refused("expected either pairs or labels, received both", members.at)
    found = Uncertain(
        members.at,
        of,
        members.number("strength", 1.0, low=0, high=1e6),
        tuple(first),
        tuple(second),
        labels,
        members.integer("rank", None, low=1, high=MOST_CONCEPTS),
        place.depth_of(members),
        members.flag("keep"),
    )
    members.end()
    return found
