"""Orders and groups in queries, over HTTP and on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from .harness import InProcess

QUERY = "/v1/collections/c/query"


@pytest.fixture
def shops(api: InProcess) -> InProcess:
    """Points 0 … 29 at (n, 1), on the equator at n − 15 degrees; three cities, a rank."""
    api.put("/v1/collections/c", {"dimension": 2, "metric": "ip", "schema": {"at": "geo"}})
    points = [
        {
            "id": n,
            "vector": [n, 1],
            "attributes": {
                "city": ["b", "a", "c"][n % 3],
                "rank": (7 * n) % 30,
                "at": {"lat": 0, "lon": n - 15},
            },
        }
        for n in range(30)
    ]
    assert api.put("/v1/collections/c/points", {"points": points}).status_code == 200
    return api


def ids(answer: Any) -> list[object]:
    assert answer.status_code == 200, answer.text
    return [point["id"] for point in answer.json()["points"]]


def test_all_points_that_pass_come_in_the_order_of_an_attribute(shops: InProcess) -> None:
    by_rank = sorted(range(30), key=lambda n: (7 * n) % 30)
    assert ids(shops.post(QUERY, {"order_by": "rank", "k": 30})) == by_rank
    down = {"order_by": {"field": "rank", "direction": "desc"}, "k": 4, "offset": 2}
    assert ids(shops.post(QUERY, down)) == by_rank[::-1][2:6]
    body = {"order_by": "rank", "filter": {"city": "a"}, "k": 3, "explain": True}
    answer = shops.post(QUERY, body)
    assert ids(answer) == [n for n in by_rank if n % 3 == 1][:3]
    told = answer.json()
    assert (told["matches"], told["plan"], told["exact"]) == (10, "exact", True)
    assert told["points"][0]["notes"] == {
        "order_by": {"value": told["points"][0]["attributes"]["rank"]}
    }
    assert [stage["stage"] for stage in told["explain"]["stages"]] == ["order"]


def test_distance_from_a_place_orders_too(shops: InProcess) -> None:
    near = {"order_by": {"field": "at", "near": {"lat": 0, "lon": 0.1}}, "k": 4, "explain": True}
    answer = shops.post(QUERY, near)
    assert ids(answer) == [15, 16, 14, 17]
    metres = answer.json()["points"][0]["notes"]["order_by"]["metres"]
    assert metres == pytest.approx(11_119.5, abs=1)


def test_a_query_says_which_points_are_ordered(shops: InProcess) -> None:
    body = {"vector": [1, 0], "k": 3, "order_by": {"field": "rank", "candidates": 5}}
    answer = shops.post(QUERY, body)
    assert ids(answer) == sorted(range(25, 30), key=lambda n: (7 * n) % 30)[:3]
    assert answer.json()["points"][0]["score"] == ids(answer)[0]


def test_hits_come_group_after_group(shops: InProcess) -> None:
    body = {"vector": [1, 0], "group_by": {"field": "city", "groups": 2, "size": 3}}
    points = shops.post(QUERY, body).json()["points"]
    assert [(point["group"], point["id"]) for point in points] == [
        ("c", 29), ("c", 26), ("c", 23), ("a", 28), ("a", 25), ("a", 22)
    ]  # fmt: skip
    second = {**body, "offset": 1, "group_by": {"field": "city", "groups": 1, "size": 1}}
    assert ids(shops.post(QUERY, second)) == [28]


def test_groups_of_a_fused_list_are_those_among_its_candidates(shops: InProcess) -> None:
    sources = [{"vector": [1, 0], "k": 3}, {"vector": [-1, 0], "k": 1}]
    body = {"prefetch": sources, "group_by": {"field": "city", "groups": 3, "size": 2}}
    points = shops.post(QUERY, body).json()["points"]
    assert [(point["group"], point["id"]) for point in points] == [
        ("b", 0), ("b", 27), ("c", 29), ("a", 28)
    ]  # fmt: skip


def test_groups_of_points_near_a_place(shops: InProcess) -> None:
    area = {"$geoRadius": {"lat": 0, "lon": 0, "radius": 250_000}}
    body = {"order_by": "rank", "filter": {"at": area}, "group_by": "city", "k": 10}
    points = shops.post(QUERY, body).json()["points"]
    assert {point["id"] for point in points} == {13, 14, 15, 16, 17}
    assert len({point["group"] for point in points}) == 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"group_by": "city"}, "/group_by"),
        ({"vector": [1, 0], "group_by": "city", "rerank": {"query": "a"}}, "/group_by"),
        ({"vector": [1, 0], "order_by": []}, "/order_by"),
    ],
)
def test_what_makes_no_sense_is_refused(shops: InProcess, body: Any, pointer: str) -> None:
    problem = shops.post(QUERY, body).json()
    assert (problem["status"], problem["pointer"]) == (422, pointer), problem
