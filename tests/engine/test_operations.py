"""The engine against the reference backend, over random sequences of operations.

Vectors are small integers, so inner products and squared distances are exact in float32: answers
must be equal, ties included, whatever mixture of heads and segments gives them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.attributes.filter import parse_filter
from app.backends.base import Lifetime, Order, Selection, View
from app.backends.local import LocalBackend
from app.planner.costs import Costs
from app.types import Metric, Point, Projection
from tests.builders import Clock, definition, everything, search, settle, vector
from tests.reference_backend import ReferenceBackend

ids = st.one_of(st.integers(0, 25), st.sampled_from(["a", "b", "1", "é"]))
vectors = st.tuples(*[st.integers(-3, 3)] * 3)
degrees = st.sampled_from([178, 179, 180, -180, -179, 0])
attributes = st.fixed_dictionaries(
    {},
    optional={
        "color": st.sampled_from(["red", "green", "blue"]),
        "n": st.one_of(st.integers(-2, 2), st.floats(-2, 2, width=16), st.none()),
        "tags": st.lists(st.sampled_from(["x", "y", 1, True]), max_size=3),
        "at": st.builds(lambda lat, lon: {"lat": lat, "lon": lon}, st.integers(-2, 2), degrees),
    },
)
lives = st.sampled_from([None, None, -1, 0, 0.001, 3, 5, 50])  # seconds that a point lasts
filters = st.sampled_from(
    [
        {},
        {"color": "red"},
        {"color": {"$ne": "red"}},
        {"n": {"$gte": 0}},
        {"n": {"$gt": -1, "$lte": 1}},
        {"tags": {"$contains": "x"}},
        {"tags": {"$exists": True}},
        {"$or": [{"color": "blue"}, {"n": None}]},
        {"$not": {"tags": {"$in": ["y", 1]}}},
        {"$id": {"$in": [1, 2, 3, "a", "nobody"]}},
        {"at": {"$geoRadius": {"lat": 0, "lon": 179.5, "radius": 120_000}}},
        {"at": {"$geoBox": {"min": {"lat": -1, "lon": 179}, "max": {"lat": 0, "lon": -179}}}},
    ]
)


class Operations(RuleBasedStateMachine):
    """The same calls to both; everything observable must agree."""

    costs = Costs()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.engine = self._opened()
        self.model = ReferenceBackend(self.clock)

    def _opened(self) -> LocalBackend:
        return LocalBackend(
            self.folder, sync=False, head_points=12, costs=self.costs, clock=self.clock
        )

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)

    @initialize(metric=st.sampled_from([Metric.IP, Metric.L2]))
    def create(self, metric: Metric) -> None:
        for backend in (self.engine, self.model):
            backend.create("c", definition(3, metric))

    def both(self, call: Any) -> Any:
        ours, theirs = call(self.engine), call(self.model)
        assert ours == theirs
        return ours

    @rule(points=st.lists(st.tuples(ids, vectors, attributes, lives), min_size=1, max_size=15))
    def upsert(self, points: list[tuple[Any, Any, Any, float | None]]) -> None:
        unique = {
            id_: Point(id_, {"v": vector(*numbers)}, having, f"text {id_}", self._expiry(life_s))
            for id_, numbers, having, life_s in points
        }
        self.both(lambda backend: backend.upsert("c", list(unique.values())))

    @rule(chosen=st.lists(ids, max_size=4))
    def delete(self, chosen: list[Any]) -> None:
        self.both(lambda backend: backend.delete("c", Selection(ids=tuple(chosen))))

    @rule(filter=filters)
    def delete_by_filter(self, filter: dict[str, Any]) -> None:
        selection = Selection(filter=parse_filter(filter))
        self.both(lambda backend: backend.delete("c", selection))

    def _expiry(self, life_s: float | None) -> int | None:
        return None if life_s is None else self.clock.in_ms(life_s)

    @rule(seconds=st.sampled_from([0.001, 1, 5, 100]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(
        filter=filters,
        set_=attributes,
        unset=st.lists(st.sampled_from(["color", "n"])),
        life=st.one_of(st.none(), st.tuples(lives)),
    )
    def patch(
        self,
        filter: dict[str, Any],
        set_: dict[str, Any],
        unset: list[str],
        life: tuple[float | None] | None,
    ) -> None:
        unset = [name for name in unset if name not in set_]
        selection = Selection(filter=parse_filter(filter))
        lifetime = None if life is None else Lifetime(self._expiry(*life))
        self.both(
            lambda backend: backend.patch("c", selection, set_=set_, unset=unset, lifetime=lifetime)
        )

    @rule(
        query=vectors,
        filter=filters,
        k=st.integers(1, 8),
        offset=st.integers(0, 3),
        exact=st.booleans(),
    )
    def search(self, query: Any, filter: Any, k: int, offset: int, exact: bool) -> None:
        # So wide a search visits every node of so small a graph.
        question = search(query, parse_filter(filter), k=k, offset=offset, exact=exact, ef=500)
        ours = self.engine.search("c", [question])[0]
        theirs = self.model.search("c", [question])[0]
        assert ours.matches == theirs.matches
        assert ours.exact or self.costs != Costs(), "so few points are always scanned"
        assert [hit.record for hit in ours.hits] == [hit.record for hit in theirs.hits]
        assert [hit.score for hit in ours.hits] == pytest.approx([h.score for h in theirs.hits])

    @rule(
        filter=filters,
        field=st.sampled_from(["color", "n", "tags"]),
        most=st.integers(1, 6),
        descending=st.booleans(),
    )
    def summarise(self, filter: Any, field: str, most: int, descending: bool) -> None:
        def told(view: View) -> Any:
            subset = view.subset(parse_filter(filter))
            ordered = subset.in_order(Order(field, descending=descending), most)
            numbers = [np.asarray(part).tolist() for part in subset.numbers(field, "numbers")]
            return subset.points, subset.facet(field, most), numbers, ordered.keys, ordered.values

        self.both(lambda backend: backend.view("c", told))

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self._opened()

    @rule()
    def wait_for_builds(self) -> None:
        settle(self.engine, "c")

    @invariant()
    def points_are_the_same(self) -> None:
        if "c" in [info.name for info in self.model.describe_all()]:
            assert everything(self.engine, "c") == everything(self.model, "c")
            assert self.engine.count("c", None) == self.model.count("c", None)

    @rule(chosen=st.lists(ids, max_size=5, unique=True))
    def get(self, chosen: list[Any]) -> None:
        self.both(lambda backend: backend.get("c", chosen, Projection()))


class OperationsOnGraphs(Operations):
    """The same with scans so dear that every segment's graph is walked."""

    costs = Costs(scan_fixed_ns=1e9)


TestOperations = Operations.TestCase
TestOperationsOnGraphs = OperationsOnGraphs.TestCase
for case in (TestOperations, TestOperationsOnGraphs):
    case.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
