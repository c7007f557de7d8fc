"""What every backend's view shows of one state: the promises of `app.backends.base.View`."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.base import Backend, Recall, Selection, View
from app.errors import DimensionMismatch, UnknownVector
from app.keys import id_from_key
from app.types import Definition, Metric, Point, PointId, Projection, VectorField
from tests.builders import point, vector, where

QUERY = vector(1, 0, 0, 0)


def recalled(view: View, **wanted: object) -> list[tuple[PointId, float]]:
    found = view.recall(Recall(QUERY, "v")._replace(**wanted)).candidates  # type: ignore[arg-type]  # names of its own
    return [
        (id_from_key(key), score)
        for key, score in zip(found.keys, found.scores.tolist(), strict=True)
    ]


def test_recall_gives_the_nearest_that_pass_best_first(filled: Backend) -> None:
    found = filled.view("c", lambda view: recalled(view, k=3, filter=where(even=True)))
    assert found == [("ten", 10.0), (8, 8.0), (6, 6.0)]


def test_recall_leaves_excluded_points_out_and_is_still_full(filled: Backend) -> None:
    found = filled.view("c", lambda view: recalled(view, k=2, exclude=("ten", 8, "no such")))
    assert [id_ for id_, _ in found] == [9, 7]


def test_recall_counts_what_matches_whatever_was_asked_for(filled: Backend) -> None:
    def work(view: View) -> int:
        return view.recall(Recall(QUERY, "v", where(even=True), k=1)).matches

    assert filled.view("c", work) == 6


def test_rows_lead_from_ids_to_vectors_keys_attributes_and_records(filled: Backend) -> None:
    ids: list[PointId] = ["ten", 3, "no such", 0]

    def work(view: View) -> None:
        rows = view.find(ids)
        assert rows[2] == -1
        rows = rows[rows >= 0]
        vectors, has = view.vectors("v", rows)
        assert vectors.tolist() == [[10, 1, 0, 0], [3, 1, 0, 0], [0, 1, 0, 0]]
        assert has.all()
        assert [id_from_key(key) for key in view.keys(rows)] == ["ten", 3, 0]
        assert [attributes["n"] for attributes in view.attributes(rows)] == [10, 3, 0]
        records = view.records(rows, Projection())
        assert [record.text for record in records] == [None, "text 3", "text 0"]

    filled.view("c", work)


def test_points_without_the_vector_are_told_apart(backend: Backend) -> None:
    fields = {name: VectorField(name, 2, Metric.COSINE) for name in ("a", "b")}
    backend.create("c", Definition(vectors=fields))
    backend.upsert(
        "c",
        [
            Point(1, {"a": vector(3, 4)}, {}),
            Point(2, {"b": vector(0, 2)}, {}),
        ],
    )

    def work(view: View) -> None:
        vectors, has = view.vectors("a", view.find([1, 2]))
        assert has.tolist() == [True, False]
        np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0]], atol=1e-7)
        assert view.mean("b", None)[1] == 1
        assert view.sample("b", None, 5, 0).tolist() == view.find([2]).tolist()

    backend.view("c", work)


def test_the_mean_is_that_of_what_passes(filled: Backend) -> None:
    def work(view: View) -> None:
        mean, count = view.mean("v", where(even=True))
        assert count == 6
        np.testing.assert_allclose(mean, [5, 1, 0, 0], atol=1e-6)
        nothing, none = view.mean("v", where(n=77))
        assert none == 0
        assert not nothing.any()

    filled.view("c", work)


def test_a_sample_is_without_repetition_and_the_same_for_a_seed(filled: Backend) -> None:
    def work(view: View) -> None:
        drawn = view.sample("v", None, 4, 7)
        assert len(set(drawn.tolist())) == 4
        assert drawn.tolist() == view.sample("v", None, 4, 7).tolist()
        assert view.sample("v", where(even=True), 100, 7).size == 6

    filled.view("c", work)


def test_a_view_does_not_move_while_others_write(filled: Backend) -> None:
    before: list[list[tuple[PointId, float]]] = []

    def work(view: View) -> list[tuple[PointId, float]]:
        first = recalled(view, k=3)
        if not before:  # once: the second time nothing overtakes
            before.append(first)
            filled.upsert("c", [point(77, [77, 1, 0, 0], n=77, even=False)])
            filled.delete("c", Selection(ids=(9,)))
        rows = view.find([id_ for id_, _ in first])
        view.records(rows, Projection())
        assert recalled(view, k=3) == first
        return first

    filled.view("c", work)
    assert before[0] == [("ten", 10.0), (9, 9.0), (8, 8.0)]


def test_what_does_not_go_with_the_field_is_refused(filled: Backend) -> None:
    with pytest.raises(UnknownVector):
        filled.view("c", lambda view: recalled(view, using="none"))
    with pytest.raises(DimensionMismatch):
        filled.view("c", lambda view: recalled(view, query=vector(1, 2)))
    with pytest.raises(UnknownVector):
        filled.view("c", lambda view: view.vectors("none", view.find([1])))
