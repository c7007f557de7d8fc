"""Concept dictionaries: named in the query, the values of an attribute, or found by k-means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import InvalidQuery
from app.query.algebra.composing import Composer
from app.query.algebra.reading import (
    COLLECTION,
    Place,
    field_name,
    scalar,
    with_value,
)
from app.query.expression import Expression, Leaf
from app.query.limits import DRAWN_OF_A_VALUE, MOST_CONCEPTS, MOST_SAMPLED
from app.query.reading import Members, items, refused
from app.ranking.algebra.concepts import clustered
from app.ranking.algebra.vectors import unit
from app.types import F64

SHOWN = 8
"""Coefficients that `explain` tells of each term."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Concepts, and what they are called.

    vectors   float64[l, d], length one, as directions from `centre`
    centre    float64[d]; zeros where nothing is centred
    """

    vectors: F64
    names: list[Any]
    centre: F64

    def told(self, alpha: F64) -> list[list[Any]]:
        """List the largest coefficients with the names of their concepts."""
        order = np.argsort(-alpha, kind="stable")[:SHOWN].tolist()
        return [[self.names[at], round(float(alpha[at]), 6)] for at in order if alpha[at] > 0]


@dataclass(frozen=True, slots=True)
class Named:
    """Concepts that the query names."""

    at: str
    terms: tuple[Expression, ...]

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all concepts."""
        for term in self.terms:
            yield from term.leaves()

    def made(self, composer: Composer, centred: bool) -> Dictionary:
        """Give each as a direction."""
        vectors = composer.vectors(self.terms).astype(np.float64)
        centre = composer.centre(COLLECTION if centred else None)
        return _dictionary(vectors, [_name(term) for term in self.terms], centre, self.at)


@dataclass(frozen=True, slots=True)
class Values:
    """The values of an attribute: each is the mean of the points that hold it.

    values   None takes the `most` most frequent ones
    """

    at: str
    place: Place
    field: str
    values: tuple[Any, ...] | None
    most: int

    def leaves(self) -> Iterator[Leaf]:
        """There are none: they are read off the collection."""
        return iter(())

    def made(self, composer: Composer, centred: bool) -> Dictionary:
        """Average the points of each value, once for a state."""
        view, name = composer.meaning.view, composer.field.name

        def make() -> tuple[F64, list[Any]]:
            values = self.values or frequent(composer, self.field, self.most, self.at)
            means = []
            for value in values:
                chosen = with_value(self.place, self.field, value, self.at)
                mean, count = composer.averaged(chosen.filter, DRAWN_OF_A_VALUE)
                means.append(mean.astype(np.float64) if count else np.zeros(len(mean)))
            return np.stack(means), list(values)

        key = ("values", name, self.field, repr(self.values), self.most)
        (means, values), before = view.remembered(key, make)
        composer.facts["concepts"] = {"values": len(values), "remembered": before}
        centre = composer.centre(COLLECTION if centred else None)
        return _dictionary(means, values, centre, self.at)


@dataclass(frozen=True, slots=True)
class Found:
    """Concepts that nobody named: centres of spherical k-means over a sample."""

    at: str
    count: int
    sample: int
    seed: int

    def leaves(self) -> Iterator[Leaf]:
        """There are none."""
        return iter(())

    def made(self, composer: Composer, centred: bool) -> Dictionary:
        """Cluster a sample, once for a state."""
        view, name = composer.meaning.view, composer.field.name
        centre = composer.centre(COLLECTION if centred else None)
        size = max(min(self.sample, MOST_SAMPLED // composer.field.dimension), 2)

        def make() -> tuple[F64]:
            vectors, _ = view.vectors(name, view.sample(name, None, size, self.seed))
            return (clustered(vectors - centre, self.count, self.seed),)

        key = ("k-means", name, self.count, size, self.seed, centred)
        (vectors,), before = view.remembered(key, make)
        composer.facts["concepts"] = {"clusters": len(vectors), "remembered": before}
        return _dictionary(vectors + centre, list(range(len(vectors))), centre, self.at)


Concepts = Named | Values | Found


def frequent(composer: Composer, field: str, most: int, at: str) -> tuple[Any, ...]:
    """Give the most frequent values of an attribute, two at least. Raises InvalidQuery."""
    facet = composer.meaning.view.subset(None).facet(field, most)
    values = tuple(value for value, _ in facet.values if value is not None)
    if len(values) < 2:
        raise InvalidQuery(f"attribute {field!r} has fewer than two values", pointer=at)
    return values


def _dictionary(vectors: F64, names: list[Any], centre: F64, at: str) -> Dictionary:
    directions = vectors - centre
    kept = np.linalg.norm(directions, axis=1) > 1e-6
    if not kept.any():
        raise InvalidQuery("there are no concepts: nothing points anywhere", pointer=at)
    names = [name for name, one in zip(names, kept.tolist(), strict=True) if one]
    return Dictionary(unit(directions[kept]), names, centre)


def _name(term: Expression) -> Any:
    """Call a concept by what stands in the query, if that is short."""
    if isinstance(term, Leaf) and term.kind in ("text", "id"):
        return term.value[:64] if isinstance(term.value, str) else term.value
    return term.at


def read_concepts(place: Place, raw: object, at: str) -> Concepts:
    """Read a list of expressions, {"field": …} or {"kmeans": …}."""
    if isinstance(raw, list):
        given = items(raw, at, least=2, most=MOST_CONCEPTS)
        return Named(at, place.terms(given, at, "text"))
    members = Members(raw, at, "concepts")
    if "kmeans" in members:
        found = Found(
            at,
            members.integer("kmeans", low=2, high=MOST_CONCEPTS),
            members.integer("sample", 2048, low=2, high=MOST_SAMPLED // 64),
            members.integer("seed", 0, low=0, high=2**31 - 1),
        )
        members.end()
        return found
    if "field" not in members:
        raise refused("expected a list of concepts, {field}, or {kmeans}", at)
    values = read_values(members)
    concepts = Values(
        at,
        place,
        field_name(members),
        values,
        members.integer("most", 64, low=2, high=MOST_CONCEPTS),
    )
    members.end()
    return concepts


def read_values(members: Members) -> tuple[Any, ...] | None:
    """Read `values`: those of an attribute that count; None for the frequent ones."""
    given = members.items("values", least=2, most=MOST_CONCEPTS, default=None)
    if given is None:
        return None
    place = members.place("values")
    return tuple(scalar(one, f"{place}/{number}") for number, one in enumerate(given))
