"""Points in the order of an attribute: all that pass the filter, or the candidates of a query.

Without anything to search for, every point that passes is ordered, by the view's index and without
being read; a query beside it says which candidates are ordered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.attributes.filter import Filter
from app.attributes.places import Problem, read_place
from app.attributes.values import name_problem
from app.backends.base import Order, Ordered
from app.query.plan import Lookup
from app.query.pool import Pool
from app.query.reading import Members, refused
from app.query.running import Running


@dataclass(frozen=True, slots=True)
class OrderedSource:
    """The first k points that pass a filter, in an order: always exact.

    Their scores are 0, −1, −2, … by place: higher for better, as all scores are.
    """

    at: str
    order: Order
    filter: Filter | None
    k: int

    def lookups(self) -> Iterator[Lookup]:
        """Give none: nothing is searched for."""
        yield from ()

    def run(self, running: Running) -> Pool:
        """Walk the index as far as it takes."""
        with running.stage("order", self.at, taken=0) as entry:
            subset = running.view.subset(self.filter)
            ordered = subset.in_order(self.order, self.k)
            running.matches = max(running.matches, subset.points)
            running.plans.add("exact")
            scores = -np.arange(len(ordered.keys), dtype=np.float64)
            pool = Pool(ordered.rows, ordered.keys, scores + 0.0)
            entry |= {"field": self.order.field, "matches": subset.points, "out": len(pool)}
        return _noted(pool, ordered, self.order, running)


@dataclass(frozen=True, slots=True)
class OrderStage:
    """The best `wants` candidates in the order of an attribute; their scores stay."""

    at: str
    order: Order
    wants: int

    def lookups(self) -> Iterator[Lookup]:
        """Give none."""
        yield from ()

    def run(self, pool: Pool, running: Running) -> Pool:
        """Order the candidates; those without the attribute come last."""
        with running.stage("order", self.at, taken=len(pool)) as entry:
            pool = pool.first(self.wants)
            ordered = running.view.subset(pool.rows).in_order(self.order, len(pool))
            places = {row: place for place, row in enumerate(pool.rows.tolist())}
            pool = pool.taken([places[row] for row in ordered.rows.tolist()])
            entry |= {"field": self.order.field, "out": len(pool)}
        return _noted(pool, ordered, self.order, running)


def read_order(raw: object, at: str) -> tuple[Order, Members]:
    """Read `order_by`: a field's name, or an object; `end` of the members is the caller's.

    Raises InvalidQuery.
    """
    members = Members.short(raw, "field", at, "order_by")
    field = members.required("field")
    problem = name_problem(field)
    if problem is not None:
        raise refused(problem, members.place("field"))
    descending = members.choice("direction", ("asc", "desc"), "asc") == "desc"
    read_as = members.choice("as", ("value", "datetime"), "value")
    near = members.raw("near")
    if near is None:
        return Order(field, "instants" if read_as == "datetime" else "values", descending), members
    if "as" in members:
        raise refused("places have no other reading: leave it out", members.place("as"))
    place = read_place(near)
    if isinstance(place, Problem):
        pointer = "/".join((members.place("near"), *map(str, place.path)))
        raise refused(place.detail, pointer)
    return Order(field, "distance", descending, place), members


def _noted(pool: Pool, ordered: Ordered, order: Order, running: Running) -> Pool:
    """Say in an explanation what each point was ordered by."""
    if not running.explain:
        return pool
    name = {"values": "value", "instants": "microseconds", "distance": "metres"}[order.over]
    found = zip(ordered.rows.tolist(), ordered.values, strict=True)
    return pool.noted({row: {"order_by": {name: value}} for row, value in found})
