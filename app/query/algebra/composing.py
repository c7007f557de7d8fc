"""Compiling a composition: what lies below as vectors or scores, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.attributes.filter import Filter
from app.errors import InvalidQuery
from app.query import limits
from app.query.algebra.reading import EVERYTHING, Background, Chosen
from app.query.expression import Compiled, Expression, Leaf, Meaning, Probe, Rule
from app.query.limits import DRAWN, MOST_PROBES, RULED
from app.ranking.algebra.vectors import NOTHING, spread
from app.ranking.scores import scores
from app.types import F32, F64, Metric, PointId, VectorField, VectorKind
from app.vectors.metric import prepare

LINEAR = (Metric.COSINE, Metric.IP)
"""Metrics under which a direction can be searched for."""


class Scored(NamedTuple):
    """A thing as a score: what recalls its candidates, what scores them.

    vector           where the score is the nearness to one vector
    depth, certain   as in `Compiled`
    """

    probes: list[F32]
    rule: Rule
    vector: F32 | None = None
    depth: int = 0
    certain: bool = True


class Composer:
    """Compiles one node: gathers the names, facts and bounds of everything below it.

    Vectors are as they are searched, so of length one under cosine.
    """

    def __init__(self, meaning: Meaning, at: str, node: str) -> None:
        """Begin. Raises InvalidQuery where the field holds no dense vectors."""
        field = meaning.field
        if field is None or field.kind is not VectorKind.DENSE:
            raise InvalidQuery(
                f"{node} composes dense vectors: name such a one in `using`", pointer=at
            )
        self.meaning = meaning
        self.field: VectorField = field
        self.at = at
        self._node = node
        self._exclude: dict[PointId, None] = {}
        self._below: list[dict[str, Any]] = []
        self._begun_s = time.perf_counter()
        self.facts: dict[str, Any] = {}

    @property
    def metric(self) -> Metric:
        """Give the field's metric."""
        return self.field.metric

    def only(self, *metrics: Metric, why: str) -> None:
        """Refuse other metrics."""
        if self.metric not in metrics:
            known = " or ".join(one.value for one in metrics)
            raise InvalidQuery(
                f"{self._node} needs a vector under {known}: {why}; {self.field.name!r} is under "
                f"{self.metric.value}",
                pointer=self.at,
            )

    # ── what lies below ──────────────────────────────────────────────────────────────────────

    def vectors(self, expressions: Sequence[Expression]) -> F32:
        """Give expressions as vectors: float32[n, dimension]."""
        found = np.empty((len(expressions), self.field.dimension), dtype=np.float32)
        leaves = [number for number, one in enumerate(expressions) if isinstance(one, Leaf)]
        plain = [one for one in expressions if isinstance(one, Leaf)]
        found[leaves] = self.meaning.vectors(plain) if plain else 0
        for leaf in plain:
            if leaf.kind == "id":
                self._exclude[leaf.value] = None
        for number, one in enumerate(expressions):
            if not isinstance(one, Leaf):
                found[number] = self._composed(one)
        return found

    def vector(self, expression: Expression) -> F32:
        """Give one expression as a vector."""
        (found,) = self.vectors([expression])
        vector: F32 = found
        return vector

    def _composed(self, expression: Expression) -> F32:
        compiled = self._compiled(expression)
        if compiled.rule is not None:
            raise InvalidQuery(
                f"this scores by a rule, and {self._node} needs one vector here",
                pointer=expression.at,
            )
        (probe,) = compiled.probes
        assert isinstance(probe, np.ndarray)
        return prepare(self.metric, probe)

    def scored(self, expressions: Sequence[Expression]) -> list[Scored]:
        """Give expressions as scores."""
        leaves = [one for one in expressions if isinstance(one, Leaf)]
        vectors = iter(self.vectors(leaves))
        found = []
        for one in expressions:
            if isinstance(one, Leaf):
                found.append(self.nearness(next(vectors)))
                continue
            compiled = self._compiled(one)
            probes = [probe for probe in compiled.probes if isinstance(probe, np.ndarray)]
            if compiled.rule is None:
                found.append(self.nearness(prepare(self.metric, probes[0])))
            else:
                depth, certain = compiled.depth, compiled.certain
                found.append(Scored(probes, compiled.rule, None, depth, certain))
        return found

    def nearness(self, vector: F32) -> Scored:
        """Score by the nearness to a vector, as every search does."""
        metric = self.metric
        return Scored([vector], lambda rows: scores(metric, vector, rows), vector)

    def lists(self, vectors: F32) -> Callable[[F32], F64]:
        """Score by several vectors: rows → float64[vectors, rows]."""
        metric = self.metric

        def similarities(rows: F32) -> F64:
            found = [scores(metric, one, rows) for one in vectors]
            return np.stack(found) if found else np.zeros((0, len(rows)))

        return similarities

    def _compiled(self, expression: Expression) -> Compiled:
        compiled = expression.compiled(self.meaning)
        self._exclude.update(dict.fromkeys(compiled.exclude))
        self._below += compiled.facts.get("composed", [])
        return compiled

    # ── what the collection has ──────────────────────────────────────────────────────────────

    def centre(self, background: Background | None) -> F64:
        """Give the mean of a background: float64[dimension], zeros for None."""
        if background is None:
            return np.zeros(self.field.dimension)
        chosen = background.chosen
        if chosen is None:
            own = self.meaning.filter
            chosen = EVERYTHING if own is None else Chosen(own, own, "matches")
        mean, count, before = self.mean_of(chosen)
        told = "matches" if background.chosen is None else chosen.named
        self.facts["background"] = {"of": told, "points": count, "remembered": before}
        return mean

    def mean_of(self, chosen: Chosen) -> tuple[F64, int, bool]:
        """Average chosen points: float64[dimension], how many, whether that was known."""
        name, view = self.field.name, self.meaning.view

        def make() -> tuple[F32, int]:
            return self.averaged(chosen.filter, DRAWN)

        (mean, count), before = view.remembered(("mean", name, chosen.key), make)
        return mean.astype(np.float64), count, before

    def averaged(self, filter: Filter | None, drawn: int) -> tuple[F32, int]:
        """Average what passes, or so many of it where the collection is large: and of how many."""
        name, view = self.field.name, self.meaning.view
        if view.subset(None).points <= limits.MOST_AVERAGED:
            return view.mean(name, filter)
        rows = view.sample(name, filter, drawn, seed=0)
        vectors, _ = view.vectors(name, rows)
        total = vectors.sum(axis=0, dtype=np.float64)
        return (total / max(rows.size, 1)).astype(np.float32), rows.size

    # ── what came of it ──────────────────────────────────────────────────────────────────────

    def one(self, vector: NDArray[Any], *, keep: bool, **facts: Any) -> Compiled:
        """End with one vector. Raises InvalidQuery where nothing is left under cosine."""
        wide = vector.astype(np.float64)
        if self.metric is Metric.COSINE:
            length = float(np.linalg.norm(wide))
            if length < NOTHING:
                raise InvalidQuery(
                    f"{self._node} comes to nothing here: what it is made of cancels out, or has "
                    "nothing in common",
                    pointer=self.at,
                )
            wide = wide / length
        with np.errstate(over="ignore"):
            probe = wide.astype(np.float32)
        if not np.isfinite(probe).all():
            raise InvalidQuery(f"{self._node} exceeds what float32 holds", pointer=self.at)
        return Compiled([probe], None, self._excluded(keep), self._told(facts))

    def ruled(
        self,
        probes: Sequence[F32],
        rule: Rule,
        *,
        keep: bool,
        depth: int = RULED,
        certain: bool = False,
        **facts: Any,
    ) -> Compiled:
        """End with a rule. Of too many probes those that lie farthest apart are taken."""
        taken: list[Probe] = list(probes)
        if len(taken) > MOST_PROBES:
            facts["probes"] = f"{MOST_PROBES} of {len(taken)}, those farthest apart"
            taken = [probes[at] for at in spread(np.stack(probes), MOST_PROBES).tolist()]
            certain = False
        return Compiled(taken, rule, self._excluded(keep), self._told(facts), depth, certain)

    def _excluded(self, keep: bool) -> tuple[PointId, ...]:
        return () if keep else tuple(self._exclude)

    def _told(self, facts: dict[str, Any]) -> dict[str, Any]:
        ms = round((time.perf_counter() - self._begun_s) * 1e3, 3)
        own = {"node": self._node, "at": self.at, **self.facts, **facts, "ms": ms}
        return {"composed": [*self._below, own]}
