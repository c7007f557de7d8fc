"""Aspects: in which directions things are compared, learned from texts, labels or examples."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidQuery
from app.query.algebra.composing import Composer
from app.query.algebra.dictionary import frequent, read_values
from app.query.algebra.reading import Place, every_leaf, field_name, with_value
from app.query.expression import Expression, Leaf
from app.query.limits import MOST_CONCEPTS, MOST_EXAMPLES, MOST_SAMPLED
from app.query.reading import Members
from app.ranking.algebra.subspaces import Form, Gate, Subspace, discriminants, gate, span
from app.ranking.algebra.vectors import basis, unit
from app.types import F64, I64


@dataclass(frozen=True, slots=True)
class Along:
    """One direction, beside which everything else still counts `rest`."""

    term: Expression
    rest: float

    def leaves(self) -> Iterator[Leaf]:
        """Give those of the term."""
        return self.term.leaves()

    def form(self, composer: Composer, of: F64, centre: F64) -> Form:
        """Give the direction from the centre."""
        vector = composer.vector(self.term).astype(np.float64) - centre
        return Subspace(unit(vector)[None], self.rest)


@dataclass(frozen=True, slots=True)
class Spanned:
    """What tells some texts from each other: the values that an aspect may have."""

    terms: tuple[Expression, ...]
    rank: int | None
    rest: float

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all terms."""
        return every_leaf(self.terms)

    def form(self, composer: Composer, of: F64, centre: F64) -> Form:
        """Span the differences."""
        found = span(composer.vectors(self.terms), self.rank)
        return Subspace(found.matrix, self.rest)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What tells the values of an attribute from each other, among points that hold them."""

    at: str
    place: Place
    field: str
    values: tuple[Any, ...] | None
    most: int
    per_value: int
    rank: int | None
    shrinkage: float
    rest: float

    def leaves(self) -> Iterator[Leaf]:
        """There are none."""
        return iter(())

    def form(self, composer: Composer, of: F64, centre: F64) -> Form:
        """Find discriminants, once for a state."""

        def make() -> tuple[F64, int]:
            vectors, labels = self.examples(composer)
            return discriminants(vectors, labels, self.rank, self.shrinkage).matrix, len(vectors)

        key = ("discriminants", *self.key(composer), self.shrinkage)
        (matrix, count), before = composer.meaning.view.remembered(key, make)
        composer.facts["examples"] = {"points": count, "remembered": before}
        return Subspace(matrix, self.rest)

    def key(self, composer: Composer) -> tuple[Hashable, ...]:
        """Tell what examples are drawn, and how many directions are kept of them."""
        values = repr(self.values)  # 1 and true are two values
        return composer.field.name, self.field, values, self.most, self.per_value, self.rank

    def examples(self, composer: Composer) -> tuple[NDArray[Any], I64]:
        """Draw points of each value: float32[n, d], and which value each holds, int64[n].

        Raises InvalidQuery where fewer than two values have points.
        """
        view, name = composer.meaning.view, composer.field.name
        values = self.values or frequent(composer, self.field, self.most, self.at)
        most = min(MOST_EXAMPLES, max(MOST_SAMPLED // composer.field.dimension, 64))
        each = max(min(self.per_value, most // len(values)), 1)
        found: list[NDArray[Any]] = []
        labels: list[int] = []
        for value in values:
            chosen = with_value(self.place, self.field, value, self.at)
            vectors, _ = view.vectors(name, view.sample(name, chosen.filter, each, seed=0))
            if len(vectors):
                labels += [len(found)] * len(vectors)
                found.append(vectors)
        if len(found) < 2:
            raise InvalidQuery(
                f"fewer than two values of {self.field!r} have points to learn from",
                pointer=self.at,
            )
        return np.concatenate(found), np.array(labels, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Shown:
    """Examples that are like the query in what is meant, and examples that are not.

    gated   axes are weighed instead of directions found
    """

    at: str
    like: tuple[Expression, ...]
    unlike: tuple[Expression, ...]
    gated: bool
    shrinkage: float

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all examples."""
        return every_leaf(self.like, self.unlike)

    def form(self, composer: Composer, of: F64, centre: F64) -> Form:
        """Weigh axes, or find the direction that leads from the unlike ones to the like ones."""
        vectors = composer.vectors((*self.like, *self.unlike)).astype(np.float64)
        like = np.concatenate([of[None], vectors[: len(self.like)]])
        unlike = vectors[len(self.like) :]
        if self.gated:
            return gate(like, unlike)
        labels = np.repeat([0, 1], [len(like), len(unlike)])
        found = discriminants(np.concatenate([like, unlike]), labels, 1, self.shrinkage)
        sides = found.matrix @ (like.mean(axis=0) - unlike.mean(axis=0))
        return Subspace(np.where(sides < 0, -1.0, 1.0)[:, None] * found.matrix)


Aspect = Along | Spanned | Labelled | Shown


def orthonormal(form: Form, at: str) -> Subspace:
    """Give the subspace of an aspect by orthonormal rows. Raises InvalidQuery for a gate."""
    if isinstance(form, Gate) or not isinstance(form, Subspace):
        raise InvalidQuery("a gate has no subspace to change something in", pointer=at)
    return Subspace(basis(form.matrix) if len(form.matrix) else form.matrix)


def read_labelled(place: Place, raw: object, at: str, options: Members) -> Labelled:
    """Read {"field": …, "values": …, "most": …, "per_value": …}, or a field's name."""
    members = Members.short(raw, "field", at, "labels")
    found = Labelled(
        at,
        place,
        field_name(members),
        read_values(members),
        members.integer("most", 32, low=2, high=MOST_CONCEPTS),
        members.integer("per_value", 32, low=1, high=MOST_EXAMPLES),
        options.integer("rank", None, low=1, high=MOST_CONCEPTS),
        options.number("shrinkage", 0.1, low=0, high=1, open_low=True),
        options.number("rest", 0.0, low=0, high=1),
    )
    members.end()
    return found
