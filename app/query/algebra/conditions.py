"""Likeness in one respect: `condition` compares things in one aspect, or changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import InvalidQuery
from app.query.algebra.aspects import (
    Along,
    Aspect,
    Shown,
    Spanned,
    orthonormal,
    read_labelled,
)
from app.query.algebra.composing import Composer
from app.query.algebra.reading import COLLECTION, Place, every_leaf
from app.query.expression import Compiled, Expression, Leaf, Meaning, Reading
from app.query.limits import MOST_CONCEPTS, MOST_WEIGHT
from app.query.reading import Members, refused
from app.ranking.algebra.subspaces import Form, Subspace, compared
from app.ranking.algebra.vectors import NOTHING, mean
from app.types import F32, F64, Metric

COMPARISONS = ("auto", "cosine", "distance")


@dataclass(frozen=True, slots=True)
class Focus:
    """Likeness to a thing in one aspect, whatever else differs.

    by   "cosine", "distance", or "auto": the cosine where the aspect has two directions at least
    """

    at: str
    of: Expression
    aspect: Aspect
    by: str
    centred: bool
    depth: int
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of the thing and of the aspect."""
        yield from self.of.leaves()
        yield from self.aspect.leaves()

    def compiled(self, meaning: Meaning) -> Compiled:
        """Find the aspect, recall along it, and compare within it."""
        composer = Composer(meaning, self.at, "condition")
        composer.only(Metric.COSINE, why="directions from a mean are compared")
        of = composer.vector(self.of).astype(np.float64)
        centre = composer.centre(COLLECTION if self.centred else None)
        form = self.aspect.form(composer, of, centre)
        if isinstance(self.aspect, Shown) and isinstance(form, Subspace):
            # One direction, in which further is liker: a search as any other.
            direction = form.matrix.sum(axis=0)
            return composer.one(direction, keep=self.keep, mode="focus", rank=form.rank)
        by = self.by
        if by == "auto":
            by = "cosine" if form.rank > 1 else "distance"
        return within(
            composer, form, of - centre, centre, by, self.depth, keep=self.keep, mode="focus"
        )


def within(
    composer: Composer,
    form: Form,
    query: F64,
    centre: F64,
    by: str,
    depth: int,
    *,
    keep: bool,
    **facts: Any,
) -> Compiled:
    """Compare by a form around a centre; query float64[d] is less the centre already."""
    image = form.times(query[None])[0]
    length = float(np.linalg.norm(image))
    if length < NOTHING * NOTHING or form.rank == 0:
        raise InvalidQuery(
            "nothing of what is asked for lies in this aspect: there is nothing to compare",
            pointer=composer.at,
        )

    def rule(rows: F32) -> F64:
        return compared(form, query, rows.astype(np.float64) - centre, by)

    probe = (image / length).astype(np.float32)
    return composer.ruled(
        [probe], rule, keep=keep, depth=depth, compared=by, rank=form.rank, **facts
    )


@dataclass(frozen=True, slots=True)
class Change:
    """A thing with something of it changed.

    aspect   what is taken out before the new is put in; None subtracts `old` instead
    new      what comes in, all of them averaged
    old      what goes; nothing goes without both
    """

    at: str
    of: Expression
    new: tuple[Expression, ...]
    old: tuple[Expression, ...]
    aspect: Aspect | None
    weight: float
    centred: bool
    keep: bool

    def leaves(self) -> Iterator[Leaf]:
        """Give those of the thing, of what comes and goes, and of the aspect."""
        yield from self.of.leaves()
        yield from every_leaf(self.new, self.old)
        if self.aspect is not None:
            yield from self.aspect.leaves()

    def compiled(self, meaning: Meaning) -> Compiled:
        """Make the vector that the changed thing would have."""
        composer = Composer(meaning, self.at, "condition")
        composer.only(Metric.COSINE, why="directions are changed")
        of = composer.vector(self.of).astype(np.float64)
        new = mean(composer.vectors(self.new))
        if self.aspect is None:
            found = of + self.weight * new
            if self.old:
                found = found - self.weight * mean(composer.vectors(self.old))
            return composer.one(found, keep=self.keep, mode="change")
        centre = composer.centre(COLLECTION if self.centred else None)
        subspace = orthonormal(self.aspect.form(composer, of, centre), self.at)
        rest = subspace.residue((of - centre)[None])[0]
        brought = subspace.times((new - centre)[None])[0]
        found = centre + rest + self.weight * brought
        return composer.one(found, keep=self.keep, mode="change", rank=subspace.rank)


def read_condition(reading: Reading, raw: Mapping[str, object], at: str, depth: int) -> Expression:
    """Read {"condition": {"of": …, "mode": …, what is meant, options}}."""
    place, outer = Place(reading, depth), Members(raw, at, "condition")
    members = Members(outer.required("condition"), outer.place("condition"), "condition")
    outer.end()
    of = place.term(members.required("of"), members.place("of"), "id")
    mode = members.choice("mode", ("focus", "change"), "focus")
    found: Expression
    if mode == "focus":
        aspect = _aspect(place, members)
        if aspect is None:
            raise refused(
                "say what to look at: texts, labels, text, or like and unlike", members.at
            )
        found = Focus(
            members.at,
            of,
            aspect,
            members.choice("compare", COMPARISONS, "auto"),
            members.flag("center", True),
            place.depth_of(members),
            members.flag("keep"),
        )
    else:
        found = _change(place, members, of)
    members.end()
    return found


def _change(place: Place, members: Members, of: Expression) -> Change:
    new = _some(place, members, "to", "text")
    old = _some(place, members, "from", "text")
    aspect = None
    if new:
        aspect = _aspect(place, members)
        if aspect is not None and old:
            raise refused(
                "what goes is what the aspect says: leave from out", members.place("from")
            )
    else:
        new = _some(place, members, "text", "text") or _some(place, members, "like", "id")
        if not old:
            old = _some(place, members, "unlike", "id")
        if not new:
            raise refused("say what comes in: to, text or like", members.at)
    return Change(
        members.at,
        of,
        new,
        old,
        aspect,
        members.number("weight", 1.0, low=0, high=MOST_WEIGHT),
        members.flag("center", True),
        members.flag("keep"),
    )


def _some(place: Place, members: Members, name: str, bare: str) -> tuple[Expression, ...]:
    """Read one expression or a list of them; none if it is left out."""
    raw = members.raw(name)
    if raw is None:
        return ()
    if isinstance(raw, list):
        return place.terms(raw, members.place(name), bare)
    return (place.term(raw, members.place(name), bare),)


def _aspect(place: Place, members: Members) -> Aspect | None:
    """Read the one thing that says what is meant; None if there is none."""
    given = [name for name in ("texts", "labels", "text", "like") if name in members]
    if not given:
        if "unlike" in members:
            raise refused("unlike needs like beside it", members.place("unlike"))
        return None
    if len(given) > 1:
        raise refused(f"expected one of {', '.join(given)}, received all", members.at)
    (name,) = given
    at, raw = members.place(name), members.raw(name)
    if name == "text":
        return Along(place.term(raw, at, "text"), members.number("rest", 0.25, low=0, high=1))
    if name == "labels":
        return read_labelled(place, raw, at, members)
    if name == "texts":
        return Spanned(
            place.terms(raw, at, "text", least=2),
            members.integer("rank", None, low=1, high=MOST_CONCEPTS),
            members.number("rest", 0.0, low=0, high=1),
        )
    return Shown(
        at,
        place.terms(raw, at, "id"),
        place.terms(members.required("unlike"), members.place("unlike"), "id"),
        members.choice("method", ("lowrank", "gate"), "lowrank") == "gate",
        members.number("shrinkage", 0.1, low=0, high=1, open_low=True),
    )
