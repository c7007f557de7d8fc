"""Many things as one direction: `set`, `label`, `attributes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import InvalidQuery
from app.query.algebra.composing import LINEAR, Composer
from app.query.algebra.reading import (
    COLLECTION,
    Background,
    Chosen,
    Place,
    background,
    every_leaf,
    field_name,
    value_of,
    with_value,
)
from app.query.expression import Compiled, Expression, Leaf, Meaning, Reading
from app.query.reading import Members
from app.ranking.algebra.subspaces import Subspace, compared
from app.ranking.algebra.vectors import agreement, grouped_mean, groups, mean, unit
from app.types import F32, F64, Metric


@dataclass(frozen=True, slots=True)
class Set:
    """The mean of things, as a direction from the mean of a background.

    against    the background; None for the plain mean
    centred    candidates are compared as directions from that mean too
    """

    at: str
    members: tuple[Expression, ...]
    against: Background | None
    centred: bool
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all members."""
        return every_leaf(self.members)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Average, and look from the background."""
        composer = Composer(meaning, self.at, "set")
        vectors = composer.vectors(self.members)
        found = mean(vectors)
        size = len(self.members)
        if self.against is None or composer.metric is Metric.L2:
            return composer.one(found, keep=self.keep, members=size)
        centre = composer.centre(self.against)
        composer.facts["agreement"] = agreement(vectors - centre).round(6).tolist()
        if not self.centred:
            return composer.one(found - centre, keep=self.keep, members=size)
        composer.only(Metric.COSINE, why="cosines around a mean are compared")
        return around(composer, found - centre, centre, self.depth, keep=self.keep, members=size)


def around(
    composer: Composer, query: F64, centre: F64, depth: int, *, keep: bool, **facts: Any
) -> Compiled:
    """Compare by the cosine of directions from a centre: cos(q, x − c), q float64[d]."""
    plain = composer.one(query, keep=keep)
    whole = Subspace(np.zeros((0, len(centre))), rest=1.0)

    def rule(rows: F32) -> F64:
        return compared(whole, query, rows.astype(np.float64) - centre, "cosine")

    probes = [probe for probe in plain.probes if isinstance(probe, np.ndarray)]
    return composer.ruled(probes, rule, keep=keep, depth=depth, by="centred cosine", **facts)


@dataclass(frozen=True, slots=True)
class Label:
    """The prototype of a label: the mean of the points that hold a value of an attribute."""

    at: str
    chosen: Chosen
    blamed: str
    against: Background | None
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """There are none: it is read off the collection."""
        return iter(())

    def compiled(self, meaning: Meaning) -> Compiled:
        """Average the points that hold the value."""
        composer = Composer(meaning, self.at, "label")
        found = prototype(composer, self.chosen, self.blamed)
        points = composer.facts.pop("points")
        if self.against is not None and composer.metric is not Metric.L2:
            found = found - composer.centre(self.against)
        return composer.one(found, keep=self.keep, value=self.chosen.named, points=points)


def prototype(composer: Composer, chosen: Chosen, at: str) -> F64:
    """Average what is chosen; its number goes to the facts. Raises InvalidQuery for none."""
    found, count, _ = composer.mean_of(chosen)
    if count == 0:
        raise InvalidQuery("no point with such a vector holds this value", pointer=at)
    composer.facts["points"] = count
    return found


@dataclass(frozen=True, slots=True)
class Attributes:
    """Descriptions of one thing: near-duplicates count once.

    threshold   cosine from which two descriptions say the same
    """

    at: str
    parts: tuple[Expression, ...]
    threshold: float
    grouped: bool
    centred: bool
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of all descriptions."""
        return every_leaf(self.parts)

    def compiled(self, meaning: Meaning) -> Compiled:
        """Average inside groups of descriptions, then across."""
        composer = Composer(meaning, self.at, "attributes")
        composer.only(*LINEAR, why="descriptions are grouped by their cosines")
        vectors = composer.vectors(self.parts).astype(np.float64)
        if self.centred:
            vectors = vectors - composer.centre(COLLECTION)
        vectors = unit(vectors)
        labels = groups(vectors, self.threshold if self.grouped else 2.0)
        told = [np.flatnonzero(labels == one).tolist() for one in range(int(labels.max()) + 1)]
        return composer.one(grouped_mean(vectors, labels), keep=self.keep, groups=told)


def read_set(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"set": [id or expression, …], "background": …, "center": …}."""
    place, members = Place(reading, depth), Members(raw, at, "set")
    node = Set(
        at,
        place.terms(members.required("set"), members.place("set"), "id"),
        background(place, members, COLLECTION),
        members.flag("center"),
        place.depth_of(members),
        members.flag("keep"),
    )
    members.end()
    return node


def read_label(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"label": {"field": …, "value": …}, "background": …}."""
    place, members = Place(reading, depth), Members(raw, at, "label")
    inner = Members(members.required("label"), members.place("label"), "label")
    chosen = with_value(place, field_name(inner), value_of(inner), inner.place("value"))
    inner.end()
    against = background(place, members, None)
    node = Label(at, chosen, inner.place("value"), against, members.flag("keep"))
    members.end()
    return node


def read_attributes(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"attributes": [text or expression, …], "threshold": θ, "aggregate": …}."""
    place, members = Place(reading, depth), Members(raw, at, "attributes")
    node = Attributes(
        at,
        place.terms(members.required("attributes"), members.place("attributes"), "text"),
        members.number("threshold", 0.8, low=0, high=1, open_low=True),
        members.choice("aggregate", ("group", "mean"), "group") == "group",
        members.flag("center"),
        members.flag("keep"),
    )
    members.end()
    return node
