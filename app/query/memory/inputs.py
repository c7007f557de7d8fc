"""What is to be judged, as one head sees it: things in the form of its field."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.attributes.filter import Filter, Ids, both
from app.errors import InvalidQuery
from app.keys import id_from_key
from app.query.expression import Expression, Leaf
from app.query.labels import Label, labels_in
from app.query.plan import Lookup
from app.query.running import Running
from app.ranking.algebra.vectors import unit
from app.types import F64, Metric, PointId, VectorField, VectorKind
from app.vectors.metric import prepare
from app.vectors.tokens import pooled


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing to be judged.

    group   the value of the attribute whose means are taken out, where it is known
    """

    at: str
    expression: Expression
    group: Label | None = None


@dataclass(frozen=True, slots=True)
class LabelText(Leaf):
    """A text of a label in one template, read by the field's encoder; the text stands at `where`,
    and `at` tells templates apart."""

    where: str = ""

    @property
    def place(self) -> str:
        """Where its value stands."""
        return self.where


@dataclass(slots=True)
class Bench:
    """The things before one head, while it judges them.

    running   with the head's field for every lookup
    field     that it compares in
    things    in the order of the request
    """

    running: Running
    field: VectorField
    things: Sequence[Thing]
    _vectors: F64 | None = None
    _excluded: list[tuple[PointId, ...]] = dataclasses.field(default_factory=list)

    def lookup(self, thing: Thing, filter: Filter | None, k: int) -> Lookup:
        """Make the search for a thing's neighbours."""
        return Lookup(thing.at, thing.expression, self.field.name, filter, k)

    def vectors(self) -> F64:
        """Give the things as vectors in the form that is searched: float64[things, d].

        Raises InvalidQuery for a composition that is no vector, and a field without rows.
        """
        if self._vectors is None:
            self._compile()
        assert self._vectors is not None
        return self._vectors

    def excluded(self) -> list[tuple[PointId, ...]]:
        """Give of each thing the points that it names, which do not count in judging it."""
        if self._vectors is None:
            self._compile()
        return self._excluded

    def _compile(self) -> None:
        rows = []
        for thing in self.things:
            compiled = self.lookup(thing, None, 1).compiled(self.running)
            (probe, *more) = compiled.probes
            if compiled.rule is not None or more or not isinstance(probe, np.ndarray):
                raise InvalidQuery(
                    "class means and label texts are compared with one vector; this is none",
                    pointer=thing.at,
                )
            rows.append(prepared(self.field, probe))
            self._excluded.append(compiled.exclude)
        self._vectors = np.stack(rows)

    def named_points(self, filter: Filter, label: str) -> dict[PointId, tuple[list[Label], F64]]:
        """Find the points that things name and that are remembered: labels and vector of each."""
        ids = {id_ for excluded in self.excluded() for id_ in excluded}
        if not ids:
            return {}
        view = self.running.view
        among = both(filter, Ids(frozenset(ids)))
        rows = view.sample(self.field.name, among, len(ids), 0)
        vectors, _ = view.vectors(self.field.name, rows)
        held = [labels_in(attributes, label) for attributes in view.attributes(rows)]
        found = zip(map(id_from_key, view.keys(rows)), held, vectors, strict=True)
        return {id_: (labels, row.astype(np.float64)) for id_, labels, row in found}


def prepared(field: VectorField, probe: object) -> F64:
    """Bring a query of a field into the form that is searched, float64[d]; tokens are pooled."""
    assert isinstance(probe, np.ndarray)
    if field.kind is VectorKind.TOKENS:
        return pooled(probe).astype(np.float64)
    return prepare(field.metric, probe).astype(np.float64)


def metric_of(field: VectorField) -> Metric:
    """Tell how vectors of a field compare: pooled tokens by cosine."""
    return Metric.COSINE if field.kind is VectorKind.TOKENS else field.metric


def in_form(field: VectorField, means: F64) -> F64:
    """Bring class vectors into the form that is searched: unit length under cosine."""
    return unit(means) if metric_of(field) is Metric.COSINE else means


def of_points(ids: Iterable[PointId], at: str) -> list[Thing]:
    """Make things of stored points, none of which is compared with itself."""
    return [
        Thing(f"{at}/{number}", Leaf(f"{at}/{number}", "id", id_)) for number, id_ in enumerate(ids)
    ]


def leaves_of(things: Sequence[Thing], field: VectorField) -> dict[tuple[str, str], PointId]:
    """Say what the leaves of `of_points` mean: nobody has to encode them."""
    found: dict[tuple[str, str], PointId] = {}
    for thing in things:
        assert isinstance(thing.expression, Leaf)
        found[thing.expression.at, field.name] = thing.expression.value
    return found
