"""Every bound of the query language holds at its value, and one more is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from app.backends.base import View
from app.errors import LimitExceeded
from app.query import limits
from app.query.expression import NODES, Compiled, Expression, Leaf, Meaning, Reading
from app.query.facets import read_facets
from app.query.plan import Lookup
from app.query.read import Asked, PlanReader
from app.query.running import Running
from tests.builders import definition
from tests.reference_backend import ReferenceBackend

MAX_K = 2000


def plan(members: dict[str, Any], **more: Any) -> None:
    asked = Asked("", ("vector", [1], None), None, None, 10, 0, members)._replace(**more)
    PlanReader(MAX_K, 100, asked).plan()


def nested(depth: int) -> dict[str, Any]:
    source: dict[str, Any] = {"vector": [1]}
    for _ in range(depth):
        source = {"prefetch": [source]}
    return source


def sources(count: int) -> list[Any]:
    """So many recalls in lists of at most 8."""
    return [{"prefetch": [{"vector": [1]}] * min(8, count - at)} for at in range(0, count, 8)]


def facet(**more: Any) -> dict[str, Any]:
    return {"a": {"field": "f", **more}}


CASES: dict[str, tuple[int, Callable[[int], None], str]] = {
    # what is read, with n of them; and where one too many is blamed
    "prefetch nests": (
        limits.MOST_DEPTH,
        lambda n: plan({"prefetch": [nested(n)]}, leaf=None),
        "/prefetch/0" * 9 + "/prefetch",
    ),
    "recalls": (
        limits.MOST_SOURCES,
        lambda n: plan({"prefetch": sources(n)}, leaf=None),
        "/prefetch/2/prefetch/0",
    ),
    "recalls beside the query's own": (
        limits.MOST_SOURCES - 1,
        lambda n: plan({"prefetch": sources(n)}),
        "/prefetch/1/prefetch/7",
    ),
    "sources of one list": (
        limits.MOST_SOURCES,
        lambda n: plan({"prefetch": [{"vector": [1]}] * n}, leaf=None),
        "/prefetch",
    ),
    "weighted vectors": (
        limits.MOST_SOURCES,
        lambda n: plan({}, using={f"v{i}": 1 for i in range(n)}),
        "/using/v16",
    ),
    "levels of a rescore": (
        limits.MOST_STAGES,
        lambda n: plan({"rescore": {"levels": [{"using": "v"}] * n}}),
        "/rescore/levels",
    ),
    "functions of a boost": (
        limits.MOST_BOOSTS,
        lambda n: plan({"boost": [{"filter": {}}] * n}),
        "/boost",
    ),
    "candidates of diversity": (
        limits.MOST_DIVERSE,
        lambda n: plan({"diversity": {"candidates": n}}),
        "/diversity/candidates",
    ),
    "candidates of a rescore": (
        MAX_K,
        lambda n: plan({"rescore": {"using": "v", "candidates": n}}),
        "/rescore/candidates",
    ),
    "candidates of a boost": (
        MAX_K,
        lambda n: plan({"boost": {"functions": [{"filter": {}}], "candidates": n}}),
        "/boost/candidates",
    ),
    "candidates of an order": (
        MAX_K,
        lambda n: plan({"order_by": {"field": "f", "candidates": n}}),
        "/order_by/candidates",
    ),
    "candidates of a source": (
        MAX_K,
        lambda n: plan({"prefetch": [{"vector": [1], "k": n}]}),
        "/prefetch/0/k",
    ),
    "offset and k": (MAX_K, lambda n: plan({"boost": [{"filter": {}}]}, k=n), "/k"),
    "groups times their size": (
        MAX_K // 2,
        lambda n: plan({"group_by": {"field": "f", "groups": n, "size": 2}}),
        "/group_by",
    ),
    "facets": (
        limits.MOST_FACETS,
        lambda n: read_facets({str(i): {"field": "f"} for i in range(n)}, "/facets") and None,
        "/facets",
    ),
    "values": (
        limits.MOST_VALUES,
        lambda n: read_facets(facet(n=n), "/facets") and None,
        "/facets/a/n",
    ),
    "buckets": (
        limits.MOST_BUCKETS,
        lambda n: read_facets(facet(of="histogram", buckets=n), "/facets") and None,
        "/facets/a/buckets",
    ),
    "edges": (
        limits.MOST_BUCKETS + 1,
        lambda n: read_facets(facet(of="histogram", edges=list(range(n))), "/facets") and None,
        "/facets/a/edges",
    ),
    "quantiles": (
        limits.MOST_QUANTILES,
        lambda n: read_facets(facet(of="numbers", quantiles=[0.5] * n), "/facets") and None,
        "/facets/a/quantiles",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bound_holds_and_one_more_is_refused(name: str) -> None:
    bound, read, pointer = CASES[name]
    read(bound)
    with pytest.raises(LimitExceeded) as refused:
        read(bound + 1)
    assert refused.value.pointer == pointer


def test_things_to_look_for_are_counted_together() -> None:
    reading = Reading()
    for _ in range(limits.MOST_LEAVES):
        reading.leaf("id", 1, "/query")
    with pytest.raises(LimitExceeded) as refused:
        reading.leaf("id", 1, "/query/x")
    assert refused.value.pointer == "/query/x"


def test_expressions_nest_only_so_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(reading: Reading, raw: Any, at: str, depth: int) -> Expression:
        return reading.expression(raw["wrapped"], f"{at}/wrapped", depth + 1)

    monkeypatch.setitem(NODES, "wrapped", wrapped)

    def query(depth: int) -> Any:
        raw: Any = {"vector": [1]}
        for _ in range(depth):
            raw = {"wrapped": raw}
        return raw

    plan({"query": query(limits.MOST_DEPTH)}, leaf=None)
    with pytest.raises(LimitExceeded) as refused:
        plan({"query": query(limits.MOST_DEPTH + 1)}, leaf=None)
    assert refused.value.pointer == "/query" + "/wrapped" * 9


@dataclass(frozen=True)
class Many:
    """An expression that takes so many searches."""

    count: int
    at: str = "/query"

    def leaves(self) -> Iterator[Leaf]:
        yield from ()

    def compiled(self, meaning: Meaning) -> Compiled:
        return Compiled([np.ones(4, np.float32)] * self.count, rule=lambda v: v[:, 0].astype(float))


def test_one_expression_takes_only_so_many_searches() -> None:
    backend = ReferenceBackend()
    backend.create("c", definition())

    def work(view: View, count: int) -> None:
        running = Running(view, {"": view.definition.vectors["v"]}, {})
        Lookup("", Many(count), "v", None, 10).run(running)

    backend.view("c", lambda view: work(view, limits.MOST_PROBES))
    with pytest.raises(LimitExceeded):
        backend.view("c", lambda view: work(view, limits.MOST_PROBES + 1))
