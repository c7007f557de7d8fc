"""Vectors that stay on disk change no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.backends.base import Selection
from app.backends.local import LocalBackend
from app.planner.costs import Costs
from app.types import Metric
from tests.builders import definition, random_points, search, settle, upsert_all, where

COUNT, DIMENSION = 3000, 16
DEAR = Costs(code_scan_fixed_ns=300)  # so that graphs are walked


def test_answers_are_the_same_with_vectors_on_disk(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, sync=False, head_points=500, costs=DEAR, vectors_on_disk=True)
    backend.create("c", definition(DIMENSION, Metric.L2))
    upsert_all(backend, "c", random_points(COUNT, DIMENSION))
    settle(backend, "c")
    backend.delete("c", Selection(ids=tuple(range(0, 300, 3))))
    queries = np.random.default_rng(3).normal(size=(30, DIMENSION)).astype(np.float32)
    searches = [
        search(query, filter, k=8, exact=exact)
        for query in queries
        for filter in (None, where(group=3), where(n={"$lt": 1500}))
        for exact in (False, True)
    ]
    before = backend.search("c", searches)
    backend.close()
    mapped = LocalBackend(tmp_path, sync=False, head_points=500, costs=DEAR)
    after = mapped.search("c", searches)
    mapped.close()
    assert {answer.plan for answer in before} == {"exact", "graph"}
    for one, other in zip(before, after, strict=True):
        assert [(hit.record.id, hit.score) for hit in one.hits] == [
            (hit.record.id, hit.score) for hit in other.hits
        ]
