"""The oracle is small enough to be read; these cases show what it was read for."""

from __future__ import annotations

import numpy as np
import pytest

from app.attributes.filter import parse_filter
from app.backends.base import Backend, Search, Selection
from app.errors import CollectionNotFound, SchemaViolation
from app.types import F32, Definition, Metric, Point, PointId, Projection, VectorField
from tests.reference_backend import ReferenceBackend, score


def vector(*numbers: float) -> F32:
    return np.array(numbers, dtype=np.float32)


@pytest.fixture
def backend() -> Backend:
    fields = {
        "a": VectorField("a", 2, Metric.L2),
        "b": VectorField("b", 2, Metric.COSINE),
    }
    backend = ReferenceBackend()
    backend.create("c", Definition(fields, {"n": "integer"}))
    ids: list[PointId] = ["b", 10, "1", 1, "a", 2]
    backend.upsert("c", [Point(i, {"a": vector(1, 0)}, {"n": n}) for n, i in enumerate(ids)])
    return backend


def test_ties_are_ordered_by_id_integers_first(backend: Backend) -> None:
    (answer,) = backend.search("c", [Search(vector(0, 0), "a")])
    assert [hit.record.id for hit in answer.hits] == [1, 2, 10, "1", "a", "b"]
    assert {hit.score for hit in answer.hits} == {-1.0}


def test_k_and_offset_count_what_passes(backend: Backend) -> None:
    kept = parse_filter({"n": {"$gte": 1}})
    search = Search(vector(0, 0), "a", kept, k=2, offset=1, exclude=(1,))
    (answer,) = backend.search("c", [search])
    assert ([hit.record.id for hit in answer.hits], answer.matches) == ([10, "1"], 4)


def test_points_without_the_vector_are_not_matches(backend: Backend) -> None:
    (answer,) = backend.search("c", [Search(vector(1, 0), "b")])
    assert (answer.hits, answer.matches, answer.plan) == ([], 0, "empty")


def test_the_three_scores() -> None:
    one, two = vector(3, 4), vector(6, 8)
    assert score(one, two, Metric.L2) == -5
    assert score(one, two, Metric.IP) == 50
    assert score(one, two, Metric.COSINE) == 1
    assert str(score(one, one, Metric.L2)) == "0.0"


def test_a_bad_point_leaves_the_others_unwritten(backend: Backend) -> None:
    good = Point(99, {"a": vector(0, 0)}, {"n": 1})
    bad = Point(98, {"a": vector(0, 0)}, {"n": "x"})
    with pytest.raises(SchemaViolation) as caught:
        backend.upsert("c", [good, bad])
    assert caught.value.pointer == "/1/attributes/n"
    assert backend.count("c", None) == 6


def test_a_scroll_goes_on_after_an_id_that_is_gone(backend: Backend) -> None:
    backend.delete("c", Selection(ids=(10,)))
    page = backend.scroll("c", filter=None, limit=2, after=10, projection=Projection())
    assert [record.id for record in page.records] == ["1", "a"]
    assert page.next_after == "a"


def test_unknown_collections_are_not_found() -> None:
    with pytest.raises(CollectionNotFound):
        ReferenceBackend().count("c", None)
