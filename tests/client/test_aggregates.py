"""Facets over a real port by the SDK, against numpy over the same few thousand points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from likewise import Client, Collection

POINTS = 3000
RANDOM = np.random.default_rng(17)
VECTORS = RANDOM.normal(size=(POINTS, 8)).astype(np.float32)
PRICES = [
    None
    if n % 11 == 0
    else (int(RANDOM.integers(-50, 50)) if n % 2 else float(RANDOM.normal(0, 9)))
    for n in range(POINTS)
]
KINDS = [["red", "green", "blue", "pink"][int(RANDOM.integers(4))] for _ in range(POINTS)]
SHARES = [0, 0.1, 0.25, 0.5, 0.9, 0.999, 1]
EDGES = [-40, -1.5, 0, 10, 33]


@pytest.fixture(scope="module")
def goods(service: str) -> Iterator[Collection]:
    with Client(service) as client:
        goods = client.create_collection("goods", dimension=8, metric="ip")
        for begin in range(0, POINTS, 500):
            goods.upsert(
                {
                    "id": n,
                    "vector": VECTORS[n],
                    "attributes": {"kind": KINDS[n]}
                    | ({} if PRICES[n] is None else {"price": PRICES[n]}),
                }
                for n in range(begin, begin + 500)
            )
        yield goods
        goods.drop()


QUERY = {"vector": VECTORS[5].tolist(), "k": 700, "exact": True}
NEAREST = np.argsort(-(VECTORS @ VECTORS[5]), kind="stable").tolist()
LEVELLED = {"vector": VECTORS[5].tolist(), "k": 200, "offset": 10, "exact": True}


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        ({}, list(range(POINTS))),
        ({"filter": {"kind": "red"}}, [n for n in range(POINTS) if KINDS[n] == "red"]),
        ({"filter": {"kind": "none"}}, []),
        ({"query": QUERY}, NEAREST[:700]),
        ({"query": LEVELLED}, NEAREST[10:210]),
        (
            {"query": {**QUERY, "k": 300, "filter": {"kind": {"$in": ["blue", "pink"]}}}},
            [n for n in NEAREST if KINDS[n] in ("blue", "pink")][:300],
        ),
        (  # a plan: half of the hits are preferred
            {
                "query": {
                    "vector": VECTORS[5].tolist(),
                    "k": 100,
                    "exact": True,
                    "boost": {
                        "functions": [{"filter": {"kind": "green"}, "weight": 1000}],
                        "candidates": 900,
                    },
                }
            },
            [n for n in NEAREST[:900] if KINDS[n] == "green"][:100],
        ),
    ],
    ids=["all", "filter", "nothing", "query", "page", "query and filter", "plan"],
)
def test_facets_are_what_numpy_says(
    goods: Collection, asked: dict[str, Any], which: list[int]
) -> None:
    found = goods.facets(
        {
            "numbers": {"field": "price", "of": "numbers", "quantiles": SHARES},
            "edges": {"field": "price", "of": "histogram", "edges": EDGES},
            "buckets": {"field": "price", "of": "histogram", "buckets": 7},
            "kinds": {"field": "kind"},
        },
        **asked,
    )
    assert found.points == len(which)
    prices = np.array([PRICES[n] for n in which if PRICES[n] is not None], dtype=float)
    numbers = found["numbers"]
    assert numbers["count"] == len(prices)
    assert numbers["missing"] == len(which) - len(prices)
    if len(prices) == 0:
        assert numbers["mean"] is None
        assert found["kinds"]["values"] == []
        return
    assert (numbers["min"], numbers["max"]) == (prices.min(), prices.max())
    assert numbers["sum"] == pytest.approx(prices.sum(), abs=1e-6)
    assert numbers["mean"] == pytest.approx(prices.mean(), abs=1e-9)
    quantiles = [one["value"] for one in numbers["quantiles"]]
    assert quantiles == pytest.approx(np.quantile(prices, SHARES).tolist(), abs=1e-9)
    counts, _ = np.histogram(prices, EDGES)
    assert [one["count"] for one in found["edges"]["buckets"]] == counts.tolist()
    assert found["edges"]["outside"] == len(prices) - counts.sum()
    counts, edges = np.histogram(prices, 7)
    buckets = found["buckets"]["buckets"]
    assert [one["from"] for one in buckets] == pytest.approx(edges[:-1].tolist(), abs=1e-9)
    assert [one["count"] for one in buckets] == counts.tolist()
    kinds = {one["value"]: one["count"] for one in found["kinds"]["values"]}
    assert kinds == Counter(KINDS[n] for n in which)
