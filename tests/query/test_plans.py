"""Random plans against the same thing worked out by looking at every point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backends.local import LocalBackend
from tests.api.harness import InProcess, running
from tests.api.harness import settings as api_settings

POINTS = 40
QUERY = "/v1/collections/c/query"
RANDOM = np.random.default_rng(5)
METRICS = {"cos": "cosine", "far": "l2", "in": "ip"}
VECTORS = {name: RANDOM.normal(size=(POINTS, 4)).astype(np.float32) for name in METRICS}
ASKED = RANDOM.normal(size=(9, 4)).astype(np.float32)
HAS = {"cos": lambda n: True, "far": lambda n: n % 5 != 0, "in": lambda n: n % 3 != 0}

Scores = dict[int, float]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    chosen = api_settings(Path(tmp_path_factory.mktemp("plans")))
    backend = LocalBackend(chosen.data_dir, sync=False, head_points=16, build_threads=1)
    with running(chosen, backend) as app:
        spec = {name: {"dimension": 4, "metric": metric} for name, metric in METRICS.items()}
        assert app.put("/v1/collections/c", {"vectors": spec}).status_code == 201
        points = [
            {
                "id": n,
                "vectors": {name: VECTORS[name][n].tolist() for name in METRICS if HAS[name](n)},
                "attributes": {"n": n},
            }
            for n in range(POINTS)
        ]
        assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
        yield app


# ── by looking at every point ────────────────────────────────────────────────────────────────


def score(name: str, query: int, n: int) -> float:
    q, x = ASKED[query].astype(float), VECTORS[name][n].astype(float)
    if name == "cos":
        return float(q @ x / math.sqrt(q @ q) / math.sqrt(x @ x))
    return -math.dist(q, x) if name == "far" else float(q @ x)


def best(scores: Scores, count: int | None = None) -> Scores:
    """The best, in their order, ties by id."""
    order = sorted(scores, key=lambda n: (-round(scores[n], 9), n))[:count]
    return {n: scores[n] for n in order}


def passing(*filters: Any) -> list[int]:
    least = [filter["n"]["$gte"] for filter in filters if filter]
    return [n for n in range(POINTS) if all(n >= one for one in least)]


def spread(scores: Scores) -> Scores:
    low, high = min(scores.values(), default=0), max(scores.values(), default=0)
    return {n: (s - low) / (high - low) if high > low else 1.0 for n, s in scores.items()}


def fused(lists: list[Scores], weights: list[float], how: str) -> Scores:
    every = sorted({n for one in lists for n in one})
    total = dict.fromkeys(every, 0.0)
    for one, weight in zip(lists, weights, strict=True):
        if how == "rrf":
            for n in one:
                total[n] += weight / (60 + 1 + sum(other > one[n] for other in one.values()))
            continue
        worth = spread(one) if how == "minmax" else one
        floor = 0.0 if how == "minmax" else min(worth.values(), default=0.0)
        for n in every:
            total[n] += weight * worth.get(n, floor)
    return total


def recalled(leaf: dict[str, Any], filter: Any, k: int) -> Scores:
    using, query = leaf["using"], leaf["query"]
    names = using if isinstance(using, dict) else {using: 1.0}
    open_ = passing(filter, leaf.get("filter"))
    lists = [best({n: score(name, query, n) for n in open_ if HAS[name](n)}, k) for name in names]
    if not isinstance(using, dict):
        return lists[0]
    union = {n for one in lists for n in one}
    exact = [{n: score(name, query, n) for n in union if HAS[name](n)} for name in names]
    return best(fused(exact, list(names.values()), "sum"), k)


def expected(plan: dict[str, Any]) -> Scores:
    filter = plan.get("filter")
    if "sources" in plan:
        lists = [recalled(one, filter, one["k"]) for one in plan["sources"]]
        pool = best(fused(lists, [one["weight"] for one in plan["sources"]], plan["fuse"]))
    else:
        pool = recalled(plan, filter, 100)
    if "rescore" in plan:
        how = plan["rescore"]
        pool = best(pool, how["candidates"])
        new = {n: score(how["using"], how["query"], n) for n in pool if HAS[how["using"]](n)}
        if how["weight"] < 1:
            # What lacks the vector counts as the least of those that have it.
            old = fused([new, pool], [how["weight"], 1 - how["weight"]], "minmax")
            new = {n: s for n, s in old.items() if new}
        pool = best(new)
    if "boost" in plan:
        least, factor = plan["boost"]
        raised = {n: (s / factor if s < 0 else s * factor) for n, s in pool.items()}
        pool = best({n: raised[n] if n >= least else s for n, s in pool.items()})
    return dict(list(pool.items())[plan["offset"] : plan["offset"] + plan["k"]])


def body(plan: dict[str, Any]) -> dict[str, Any]:
    def asked(leaf: dict[str, Any]) -> dict[str, Any]:
        return {"vector": ASKED[leaf["query"]].tolist(), "using": leaf["using"]}

    made = {name: plan[name] for name in ("filter", "k", "offset") if plan.get(name) is not None}
    if "sources" in plan:
        made["prefetch"] = [
            asked(one) | {name: one[name] for name in ("k", "weight", "filter") if name in one}
            for one in plan["sources"]
        ]
        fuse = plan["fuse"]
        made["fuse"] = "rrf" if fuse == "rrf" else {
            "method": "sum", "normalise": "none" if fuse == "sum" else fuse}  # fmt: skip
    else:
        made |= asked(plan)
    if "rescore" in plan:
        how = plan["rescore"]
        made["rescore"] = asked(how) | {name: how[name] for name in ("candidates", "weight")}
    if "boost" in plan:
        least, factor = plan["boost"]
        made["boost"] = [{"filter": {"n": {"$gte": least}}, "weight": factor}]
    return made


names = st.sampled_from(sorted(METRICS))
weighed = st.dictionaries(names, st.sampled_from([1.0, 0.31, 2.7]), min_size=1, max_size=3)
filters = st.sampled_from([0, 3, 20, 37, 99]).map(lambda least: {"n": {"$gte": least}})
queries = st.integers(0, len(ASKED) - 1)
leaves = st.fixed_dictionaries({"using": names | weighed, "query": queries})
WEIGHTS = (1.0, 0.71, 0.43)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """A plan; sources weigh differently, so that nothing is a tie but for rounding."""
    plan: dict[str, Any] = {"k": draw(st.integers(1, 12)), "offset": draw(st.integers(0, 6))}
    if draw(st.booleans()):
        source = st.fixed_dictionaries(
            {"using": names | weighed, "query": queries, "k": st.integers(1, 15)},
            optional={"filter": filters},
        )
        sources = draw(st.lists(source, min_size=1, max_size=3))
        plan["sources"] = [
            one | {"weight": weight} for one, weight in zip(sources, WEIGHTS, strict=False)
        ]
        plan["fuse"] = draw(st.sampled_from(["rrf", "sum", "minmax"]))
    else:
        plan |= draw(leaves)
    if draw(st.booleans()):
        plan["filter"] = draw(filters)
    if draw(st.booleans()):
        plan["rescore"] = {
            "using": draw(names),
            "query": draw(queries),
            "candidates": draw(st.integers(1, 20)),
            "weight": draw(st.sampled_from([1, 0.6])),
        }
    if draw(st.booleans()):
        plan["boost"] = (draw(st.integers(0, POINTS)), draw(st.sampled_from([0.3, 1.7])))
    return plan


@settings(max_examples=150, deadline=None)
@given(plans())
def test_a_plan_is_what_looking_at_every_point_says(app: InProcess, plan: dict[str, Any]) -> None:
    answer = app.run(app.ask("POST", QUERY, body(plan)))
    assert answer.status_code == 200, answer.text
    found = {point["id"]: point["score"] for point in answer.json()["points"]}
    wanted = expected(plan)
    assert list(found.values()) == pytest.approx(list(wanted.values()), abs=1e-5)
    assert set(found) == set(wanted)
    if all(before - after > 1e-5 for before, after in pairwise(wanted.values())):
        assert list(found) == list(wanted)
