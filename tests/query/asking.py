"""One query on one state, without a service: texts stand for vectors that the test planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from app.backends.base import Backend, View
from app.keys import id_from_key
from app.query.read import Asked, PlanReader
from app.query.running import Running
from app.types import F32, Definition, Metric, Point, PointId, VectorField
from tests.reference_backend import ReferenceBackend


class Found(NamedTuple):
    """What a query finds, best first."""

    ids: list[PointId]
    scores: list[float]
    exact: bool
    account: list[dict[str, Any]]

    @property
    def composed(self) -> list[dict[str, Any]]:
        """What the compositions of the first recall tell."""
        told: list[dict[str, Any]] = next(
            entry["composed"] for entry in self.account if "composed" in entry
        )
        return told


def unit(rows: Any) -> F32:
    wide = np.asarray(rows, dtype=np.float64)
    found: F32 = (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(np.float32)
    return found


def collection(
    vectors: Any,
    attributes: Sequence[Mapping[str, Any]] | None = None,
    metric: Metric = Metric.COSINE,
    backend: Backend | None = None,
) -> Backend:
    """Points 0 … n−1 of collection "c" with the vector "v"."""
    backend = backend or ReferenceBackend()
    rows = np.asarray(vectors, dtype=np.float32)
    fields = {"v": VectorField("v", rows.shape[1], metric)}
    backend.create("c", Definition(fields))
    having = attributes or [{}] * len(rows)
    backend.upsert("c", [Point(at, {"v": row}, having[at]) for at, row in enumerate(rows)])
    return backend


def ask(
    backend: Backend,
    query: Mapping[str, Any],
    texts: Mapping[str, Any] | None = None,
    *,
    filter: Any = None,
    k: int = 10,
    members: Mapping[str, Any] | None = None,
    max_k: int = 10_000,
) -> Found:
    """Run a query of "v"."""
    asked = Asked("", None, None, filter, k, 0, {"query": query, **(members or {})}, explain=True)
    plan = PlanReader(max_k, 100, asked).plan()

    def work(view: View) -> Found:
        field = view.definition.vectors["v"]
        fields, leaves = {}, {}
        for lookup in plan.lookups():
            fields[lookup.at] = field
            for leaf in lookup.expression.leaves():
                value = leaf.value
                if leaf.kind == "text":
                    value = np.asarray((texts or {})[leaf.value], dtype=np.float32)
                elif leaf.kind == "vector":
                    value = np.asarray(value, dtype=np.float32)
                leaves[leaf.at, "v"] = value
        running = Running(view, fields, leaves, plan.filter, explain=True)
        pool = plan.run(running)
        ids = [id_from_key(key) for key in pool.keys]
        return Found(ids, pool.scores.tolist(), running.exact, running.account)

    return backend.view("c", work)
