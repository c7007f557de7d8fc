"""Queries of any shape: an answer, or an error of ours that points to a place of the body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.conftest import open_backend
from tests.api.harness import InProcess, running, settings
from tests.attributes.strategies import any_json

from .cases import fuzz, note
from .test_requests import changed, resolves

QUERY = "/v1/collections/c/query"


@pytest.fixture(scope="module", params=["local", "reference"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InProcess]:
    chosen = settings(tmp_path_factory.mktemp("plans"), max_k=60)
    with running(chosen, open_backend(request.param, chosen)) as app:
        spec = {
            "a": {"dimension": 2},
            "l": {"dimension": 2, "metric": "l2"},
            "t": {"kind": "tokens", "dimension": 2},
        }
        assert app.put("/v1/collections/c", {"vectors": spec}).status_code == 201
        points = []
        for n in range(30):
            vectors: dict[str, Any] = {"a": [1, n - 15]}
            if n % 2:
                vectors["l"] = [n, 3]
            if n % 3:
                vectors["t"] = [[1, n], [n, 1]]
            attributes = {"n": n, "g": "xyz"[n % 3], "at": {"lat": n, "lon": -n}}
            attributes |= {"day": f"2024-01-{n + 1:02}"} if n % 4 else {}
            points.append({"id": n, "vectors": vectors, "attributes": attributes})
        assert app.put("/v1/collections/c/points", {"points": points}).status_code == 200
        yield app


fields = st.sampled_from(["a"] * 8 + ["l", "l", "t", "t", "no"])
attributes = st.sampled_from(["n", "g", "at", "day", "none"])
small = st.integers(1, 19)
share = st.sampled_from([0.25, 0.5, 1])
numbers = st.sampled_from([1, 2.5, 0.5, 7, 1e-9, 1e11])
bounds = st.sampled_from([-1e300, -1.0, 0.0, 0.1, 0.7, 1e300])
pairs = st.lists(st.integers(-4, 4), min_size=2, max_size=2).map(lambda v: v if any(v) else [1, 2])
conditions = st.sampled_from(
    [{}, {"n": {"$gte": 10}}, {"g": "x"}, {"$not": {"g": {"$in": ["x", "y"]}}}, {"n": {"$lt": 0}}]
)


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


near = st.builds(lambda v: {"vector": v}, pairs) | st.builds(
    lambda v: {"id": v}, st.integers(0, 14).map(lambda n: 2 * n + 1)
)
tokens = st.builds(lambda v: {"tokens": v}, st.lists(pairs, min_size=1, max_size=3))
several = st.dictionaries(st.sampled_from(["a", "l"]), numbers, min_size=1, max_size=2)


def at(leaf: st.SearchStrategy[Any], using: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Things to look for beside the vector to look in."""
    return st.builds(lambda leaf, using: {**leaf, "using": using}, leaf, using)


sought = st.one_of(at(near, fields | several), at(near, st.just("a")), at(tokens, st.just("t")))
fuse = st.sampled_from(["rrf", "sum"]) | some(
    method=st.sampled_from(["rrf", "sum"]),
    normalise=st.sampled_from(["minmax", "none"]),
    rank_constant=numbers,
)
around: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"origin": 3, "scale": 5}, {"origin": 2.5, "scale": 1e-6, "offset": 3},
        {"origin": "now", "scale": "30d"}, {"origin": "2024-01-05", "scale": "1.5h"},
        {"scale": "1w", "offset": "3d"}, {"origin": {"lat": 1, "lon": 2}, "scale": 9e5},
    ]
)  # fmt: skip
function = st.one_of(
    *(
        st.builds(
            lambda rest, name, around, kind=kind: {kind: name, **around, **rest},
            some(decay=st.just(0.3), weight=numbers, missing=numbers, filter=conditions),
            attributes, around,
        )
        for kind in ("exp", "gauss", "linear")
    ),
    st.builds(
        lambda name, rest: {"field": name, **rest},
        attributes,
        some(
            modifier=st.sampled_from(["log", "ln1p", "reciprocal", "square", "sqrt"]),
            factor=numbers, missing=numbers, weight=numbers,
        ),
    ),
    st.builds(lambda filter, weight: {"filter": filter, "weight": weight}, conditions, numbers),
)  # fmt: skip
boost = st.lists(function, min_size=1, max_size=3) | st.builds(
    lambda functions, rest: {"functions": functions, **rest},
    st.lists(function, min_size=1, max_size=3),
    some(
        score_mode=st.sampled_from(["sum", "avg", "first", "max", "min", "multiply"]),
        mode=st.sampled_from(["sum", "avg", "replace", "max", "min"]),
        normalise=st.sampled_from(["minmax", "none"]), candidates=small, max_boost=numbers,
    ),
)  # fmt: skip
shared = some(candidates=small, normalise=st.sampled_from(["minmax", "none"]), by=attributes)
diversity = st.sampled_from(["mmr", "dpp"]) | st.builds(
    lambda rest, method, using: {**method, **rest, "using": using},
    shared,
    st.sampled_from([{"lambda": 0.3}, {"method": "dpp", "strength": 0.9}, {"method": "mmr"}]),
    fields,
)
how = st.sampled_from(
    [
        {"aggregate": "max"},
        {"aggregate": {"kind": "lse"}},
        {"match": "mutual_nn"},
        {"match": "graph"},
    ]
)
level = st.builds(
    lambda sought, rest: {**sought, **rest}, at(near, st.sampled_from("al")), some(weight=share)
) | st.builds(lambda sought, how: {**sought, **how}, at(tokens, st.just("t")), how)
rescore = st.builds(
    lambda one, rest: {**one, **rest},
    level | st.builds(lambda levels: {"levels": levels}, st.lists(level, min_size=1, max_size=3)),
    some(candidates=small, weight=share, fuse=fuse),
)
prefetch = st.recursive(
    st.builds(
        lambda leaf, rest: {**leaf, **rest},
        sought,
        some(
            k=small, weight=share, filter=conditions, name=st.just("n"),
            exact=st.booleans(), score_threshold=bounds,
        ),
    ),
    lambda inner: st.builds(
        lambda sources, rest: {"prefetch": sources, **rest},
        st.lists(inner, min_size=1, max_size=2),
        some(fuse=fuse, k=small, filter=conditions),
    ),
    max_leaves=4,
)  # fmt: skip
order = attributes | st.builds(
    lambda field, rest: {"field": field, **rest},
    attributes,
    some(
        direction=st.sampled_from(["asc", "desc"]), candidates=small,
        near=st.just({"lat": 3, "lon": 4}),
    ),
)  # fmt: skip
group = st.builds(
    lambda field, rest: {"field": field, **rest},
    attributes,
    some(groups=st.integers(1, 5), size=st.integers(1, 3)),
)
sources = st.builds(
    lambda prefetch, rest: {"prefetch": prefetch, **rest},
    st.lists(prefetch, min_size=1, max_size=3),
    some(fuse=fuse, normalise=st.sampled_from(["minmax", "none"])),
)
top = st.one_of(
    at(near, fields | several),
    st.builds(lambda leaf, using: {"query": leaf, "using": using}, near, fields | several),
    st.builds(lambda leaf: {"query": leaf, "using": "t"}, tokens),
)
plans = st.builds(
    lambda asked, last, rest: {**asked, **last, **rest},
    st.one_of(top, sources, st.builds(lambda one, two: {**one, **two}, top, sources)),
    some(diversity=diversity, group_by=group) | some(order_by=order, group_by=group),
    some(
        filter=conditions, rescore=rescore, boost=boost, k=small, offset=small,
        score_threshold=bounds, explain=st.booleans(),
    ),
)  # fmt: skip


def posted(app: InProcess, path: str, body: Any) -> httpx.Response:
    """Send JSON as Python writes it: half a surrogate pair and NaN too."""
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = app._client.build_request("POST", path, content=content, headers=headers)
    return app.run(app._client.send(request))


def leads(pointer: str, body: Any) -> bool:
    """Tell whether a pointer leads somewhere, or to where a member would stand."""
    return resolves(pointer, body) or resolves(pointer.rpartition("/")[0], body)


@fuzz
@given(plans | changed(plans))
def test_any_plan_is_answered_or_refused_at_a_place_that_exists(app: InProcess, body: Any) -> None:
    if not isinstance(body, dict):
        body = {"query": body}
    answer = posted(app, QUERY, body)
    note("plans", **{str(answer.status_code): 1})
    assert answer.status_code < 500, answer.text
    told = answer.json()
    if answer.status_code == 200:
        assert len(told["points"]) <= 1000
        scores = [point["score"] for point in told["points"]]
        assert all(isinstance(score, int | float) for score in scores), scores
        return
    assert answer.status_code in (400, 404, 413, 422), answer.text
    if told["type"].endswith(("invalid-json", "invalid-body")):
        return
    assert "pointer" in told, told
    assert leads(told["pointer"], body), told


@fuzz
@given(st.lists(plans | any_json, max_size=4))
def test_a_batch_of_plans_is_blamed_by_the_query_that_is_wrong(
    app: InProcess, queries: list[Any]
) -> None:
    answer = posted(app, f"{QUERY}:batch", {"queries": queries})
    note("batches of plans", **{str(answer.status_code): 1})
    assert answer.status_code < 500, answer.text
    told = answer.json()
    if answer.status_code == 200:
        assert len(told["results"]) == len(queries)
    elif "pointer" in told:
        assert leads(told["pointer"], {"queries": queries}), told
