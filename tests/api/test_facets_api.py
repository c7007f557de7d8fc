"""Facets over HTTP and on every backend: of all points, of a filter, of what a query finds."""

from __future__ import annotations

from typing import Any

import pytest

from .harness import InProcess

FACETS = "/v1/collections/c/points/facets"


@pytest.fixture
def books(api: InProcess) -> InProcess:
    """Points 0 … 19 at (n, 1): a language, a price, a day; number 19 has none of these."""
    api.put("/v1/collections/c", {"dimension": 2, "metric": "ip"})
    points: list[dict[str, Any]] = [
        {
            "id": n,
            "vector": [n, 1],
            "attributes": {
                "lang": ["en", "de"] if n % 5 == 0 else "en" if n % 2 else "fr",
                "price": n if n % 3 else n / 4,
                "day": f"2024-{n % 4 + 1:02}-{n + 1:02}",
            },
        }
        for n in range(19)
    ]
    points.append({"id": 19, "vector": [19, 1]})
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def counted(api: InProcess, facet: dict[str, Any], **more: Any) -> tuple[int, Any]:
    answer = api.post(FACETS, {"facets": {"x": facet}, **more})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["took_ms"] >= 0
    return body["points"], body["facets"]["x"]


def test_values_are_counted_the_most_frequent_first(books: InProcess) -> None:
    assert counted(books, {"field": "lang"}) == (
        20,
        {
            "values": [
                {"value": "en", "count": 11},
                {"value": "fr", "count": 8},
                {"value": "de", "count": 4},
            ],
            "distinct": 3,
            "missing": 1,
        },
    )
    _, first = counted(books, {"field": "lang", "n": 1})
    assert (first["values"], first["distinct"]) == ([{"value": "en", "count": 11}], 3)


def test_a_filter_says_what_is_counted(books: InProcess) -> None:
    points, found = counted(books, {"field": "lang"}, filter={"price": {"$gte": 10}})
    assert points == 6
    assert found["values"] == [
        {"value": "en", "count": 4}, {"value": "fr", "count": 2}, {"value": "de", "count": 1}
    ]  # fmt: skip


def test_a_query_says_what_is_counted(books: InProcess) -> None:
    query = {"vector": [1, 0], "k": 4, "filter": {"lang": {"$exists": True}}}
    points, found = counted(books, {"field": "price", "of": "numbers"}, query=query)
    assert points == 4  # 15 … 18
    assert (found["count"], found["min"], found["max"]) == (4, 3.75, 17)
    ordered = {"order_by": {"field": "price", "direction": "desc"}, "k": 2}
    assert counted(books, {"field": "lang"}, query=ordered)[0] == 2


def test_numbers_are_summed_up(books: InProcess) -> None:
    prices = [n if n % 3 else n / 4 for n in range(19)]
    _, found = counted(books, {"field": "price", "of": "numbers", "quantiles": [0, 0.5, 0.9, 1]})
    quantiles = {one["share"]: one["value"] for one in found.pop("quantiles")}
    assert found == {
        "count": 19,
        "min": 0,
        "max": 17,
        "sum": sum(prices),
        "mean": pytest.approx(sum(prices) / 19),
        "missing": 1,
    }
    assert (quantiles[0], quantiles[0.5], quantiles[1]) == (0, sorted(prices)[9], 17)


def test_numbers_of_nothing_are_null(books: InProcess) -> None:
    _, found = counted(books, {"field": "lang", "of": "numbers", "quantiles": [0.5]})
    assert found == {
        "count": 0, "min": None, "max": None, "sum": None, "mean": None,
        "quantiles": [{"share": 0.5, "value": None}], "missing": 20,
    }  # fmt: skip


def test_histograms_have_the_edges_or_the_buckets_asked_for(books: InProcess) -> None:
    _, found = counted(books, {"field": "price", "of": "histogram", "edges": [0, 5, 10]})
    prices = [n if n % 3 else n / 4 for n in range(19)]
    assert found["buckets"] == [
        {"from": 0, "to": 5, "count": sum(price < 5 for price in prices)},
        {"from": 5, "to": 10, "count": sum(5 <= price <= 10 for price in prices)},
    ]
    assert found["outside"] == sum(price > 10 for price in prices)
    _, found = counted(books, {"field": "price", "of": "histogram", "buckets": 4})
    assert [one["from"] for one in found["buckets"]] == [0, 4.25, 8.5, 12.75]
    assert sum(one["count"] for one in found["buckets"]) == 19


def test_dates_are_counted_by_the_calendar(books: InProcess) -> None:
    _, found = counted(books, {"field": "day", "of": "dates", "interval": "month"})
    assert found == {
        "buckets": [
            {"from": f"2024-0{month}-01T00:00:00Z", "count": count}
            for month, count in ((1, 5), (2, 5), (3, 5), (4, 4))
        ],
        "min": "2024-01-01T00:00:00Z",
        "max": "2024-04-16T00:00:00Z",
        "missing": 1,
    }


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid-field", "/facets"),
        ({"facets": {}}, "invalid-query", "/facets"),
        ({"facets": {"a": 1}}, "invalid-query", "/facets/a"),
        ({"facets": {"a": {}}}, "invalid-query", "/facets/a"),
        ({"facets": {"a": {"field": "$x"}}}, "invalid-query", "/facets/a/field"),
        ({"facets": {"a": {"field": "x", "of": "stats"}}}, "invalid-query", "/facets/a/of"),
        ({"facets": {"a/b": {"field": "x", "n": -1}}}, "invalid-query", "/facets/a~1b/n"),
        ({"facets": {"a": {"field": "x", "n": 1001}}}, "limit-exceeded", "/facets/a/n"),
        ({"facets": {"a": {"field": "x", "edges": [1, 2]}}}, "invalid-query", "/facets/a/edges"),
        (
            {"facets": {"a": {"field": "x", "of": "histogram", "edges": [1, 2, 2]}}},
            "invalid-query",
            "/facets/a/edges/2",
        ),
        (
            {"facets": {"a": {"field": "x", "of": "histogram", "buckets": 1001}}},
            "limit-exceeded",
            "/facets/a/buckets",
        ),
        (
            {"facets": {"a": {"field": "x", "of": "numbers", "quantiles": [0.5, 1.5]}}},
            "invalid-query",
            "/facets/a/quantiles/1",
        ),
        (
            {"facets": {"a": {"field": "day", "of": "dates", "interval": "minute"}}},
            "limit-exceeded",
            "/facets/a/interval",
        ),
        ({"facets": {str(n): {"field": "x"} for n in range(33)}}, "limit-exceeded", "/facets"),
        (
            {"facets": {"a": {"field": "x"}}, "filter": {"a": {"$x": 1}}},
            "invalid-filter",
            "/filter/a/$x",
        ),
        (
            {"facets": {"a": {"field": "x"}}, "filter": {}, "query": {"vector": [1, 0]}},
            "invalid-query",
            "/filter",
        ),
        ({"facets": {"a": {"field": "x"}}, "query": {}}, "invalid-query", "/query"),
        (
            {"facets": {"a": {"field": "x"}}, "query": {"vector": [1]}},
            "dimension-mismatch",
            "/query/vector",
        ),
        ({"facets": {"a": {"field": "x"}}, "query": {"id": 77}}, "point-not-found", "/query/id"),
        (
            {"facets": {"a": {"field": "x"}}, "query": {"id": 7, "group_by": "lang"}},
            "invalid-query",
            "/query/group_by",
        ),
        (
            {"facets": {"a": {"field": "x"}}, "query": {"id": 7, "rerank": {"query": "a"}}},
            "invalid-query",
            "/query/rerank",
        ),
        (
            {"facets": {"a": {"field": "x"}}, "query": {"id": 7, "k": 100_000}},
            "limit-exceeded",
            "/query/k",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place(
    books: InProcess, body: Any, code: str, pointer: str
) -> None:
    problem = books.post(FACETS, body).json()
    assert problem["type"] == f"urn:likewise:problem:{code}", problem
    assert problem["pointer"] == pointer
