"""Sparse vectors through both clients, against a real service."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from likewise import InvalidRequestError, Query, SparseVector
from likewise._queries import query_to_wire

_numbers = itertools.count()

WEIGHTS: dict[int, dict[int, float]] = {
    1: {3: 2.0, 70_000: 1.0},
    2: {3: 1.0, 2**32 - 1: -4.0},
    3: {9: 5.0},
    4: {70_000: 0.5},
}


@pytest.fixture
def terms(connect: Callable[[str], Any], service: str) -> Iterator[Any]:
    """Four points with sparse "terms", and a dense "place" beside them."""
    client = connect(service)
    name = f"sparse-{next(_numbers)}"
    vectors = {"terms": {"kind": "sparse"}, "place": {"dimension": 2, "metric": "ip"}}
    collection = client.create_collection(name, vectors=vectors)
    collection.upsert(
        {
            "id": id_,
            "vectors": {
                "terms": SparseVector(list(weights), list(weights.values())),
                "place": [id_, 1],
            },
            "attributes": {"even": id_ % 2 == 0},
        }
        for id_, weights in WEIGHTS.items()
    )
    yield collection
    collection.drop()


def scores(found: Any) -> list[tuple[object, float]]:
    return [(hit.id, hit.score) for hit in found]


ASKED = [
    SparseVector([70_000, 3], [1, 2]),
    SparseVector(np.array([70_000, 3]), np.array([1.0, 2.0])),
    {"indices": [70_000, 3], "values": [1, 2]},
    {"indices": np.array([70_000, 3]), "values": np.array([1.0, 2.0])},
]


@pytest.mark.parametrize("asked", ASKED)
def test_a_query_is_sent_in_any_form(asked: Any) -> None:
    (first, *_) = ASKED
    wire = query_to_wire(Query(query={"sparse": asked}))
    assert wire == query_to_wire(Query(query={"sparse": first}))
    assert set(wire["query"]["sparse"]) == {"indices", "values"}  # type: ignore[index]


def test_a_filter_of_those_names_is_left_as_it_is() -> None:
    source = {"text": "a", "filter": {"indices": 1, "values": 2}}
    wire = query_to_wire(Query(prefetch=[source]))
    assert wire["prefetch"] == [source]


def test_points_are_found_by_weights_by_id_and_in_company(terms: Any) -> None:
    expected = [(1, 5.0), (2, 2.0), (4, 0.5)]
    for asked in ASKED:
        assert scores(terms.query(query={"sparse": asked})) == expected
    found = terms.query(query={"sparse": ASKED[0]}, filter={"even": True}, k=1, explain=True)
    assert (scores(found), found.matches, found.exact) == ([(2, 2.0)], 2, True)
    assert scores(terms.query(id=1, using="terms")) == [(2, 2.0), (4, 0.5)]
    fused = terms.query(
        prefetch=[{"sparse": ASKED[1]}, {"vector": np.array([1.0, 0.0]), "using": "place"}],
        fuse={"method": "sum", "weights": [10, 1]},
    )
    assert scores(fused) == [(1, 51.0), (2, 22.0), (4, 9.0), (3, 8.0)]
    rescored = terms.query(
        vector=[1, 0], using="place", rescore={"sparse": ASKED[3], "using": "terms"}, k=2
    )
    assert scores(rescored) == expected[:2]


def test_several_queries_are_answered_on_one_state(terms: Any) -> None:
    queries = [
        Query(query={"sparse": SparseVector([9], [2])}),
        {"vector": [0, 1], "using": "place", "k": 1},
        Query(query={"sparse": SparseVector([], [])}),
    ]
    first, second, third = terms.query_batch(queries)
    assert (scores(first), scores(second), scores(third)) == ([(3, 10.0)], [(1, 1.0)], [])


def test_vectors_come_back_exported_and_imported(terms: Any, tmp_path: Path) -> None:
    path = tmp_path / "points.ndjson"
    assert terms.export_ndjson(path) == 4
    terms.delete(ids=[1, 2, 3, 4])
    assert scores(terms.query(query={"sparse": ASKED[0]})) == []
    assert terms.import_ndjson(path).upserted == 4
    for hit in terms.query(query={"sparse": ASKED[0]}, with_vectors=True):
        stored = hit.vectors["terms"]
        assert isinstance(stored, SparseVector)
        assert dict(zip(stored.indices, stored.values, strict=True)) == WEIGHTS[hit.id]


def test_a_vector_of_another_kind_is_refused_with_its_place(terms: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        terms.query(query={"sparse": ASKED[0]}, using="place")
    assert caught.value.pointer == "/query/sparse"
