"""What every backend's view shows of one state: the promises of `app.backends.base.View`."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.base import Backend, Recall, Selection, View
from app.errors import DimensionMismatch, InvalidQuery, InvalidVector, UnknownVector
from app.keys import id_from_key
from app.types import (
    F32,
    Definition,
    Metric,
    Point,
    PointId,
    Projection,
    Sparse,
    VectorField,
    VectorKind,
)
from tests.builders import point, settle, vector, where

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


# ── tokens ───────────────────────────────────────────────────────────────────────────────────

WORDS = VectorField("words", 3, kind=VectorKind.TOKENS)
TERMS = VectorField("terms", 0, Metric.IP, kind=VectorKind.SPARSE)


def tokens_of(id_: int) -> F32 | None:
    """The tokens of a point of `with_tokens`; every fourth has none."""
    if id_ % 4 == 3:
        return None
    drawn = np.random.default_rng(id_).normal(size=(1 + id_ % 3, 3)) * (1 + id_)
    return drawn.astype(np.float32)


@pytest.fixture
def with_tokens(backend: Backend) -> Backend:
    """Collection "c" of points 0 … 39 in graphs and in the head, some of them written twice."""
    backend.create("c", Definition({"v": VectorField("v", 2), "words": WORDS, "terms": TERMS}))
    points = []
    for id_ in range(40):
        tokens = tokens_of(id_)
        vectors = {"v": vector(1, id_)} | ({} if tokens is None else {"words": tokens})
        points.append(Point(id_, vectors, {"n": id_}))
    backend.upsert("c", points[:30])
    settle(backend, "c")
    backend.upsert("c", [*points[30:], *points[5:8]])
    return backend


def test_tokens_come_in_the_order_of_rows_at_unit_length(with_tokens: Backend) -> None:
    ids: list[PointId] = [35, 3, 6, 0, 29, 33, 1]

    def work(view: View) -> None:
        tokens, begins = view.tokens("words", view.find(ids))
        assert begins[0] == 0
        for at, id_ in enumerate(ids):
            given = tokens_of(int(id_))
            found = tokens[begins[at] : begins[at + 1]]
            if given is None:
                assert found.shape == (0, 3)
                continue
            expected = given / np.linalg.norm(given, axis=1, keepdims=True)
            np.testing.assert_allclose(found, expected, atol=5e-4)
        assert begins[-1] == len(tokens)
        nothing, begins = view.tokens("words", view.find([]))
        assert (nothing.shape, begins.tolist()) == ((0, 3), [0])

    with_tokens.view("c", work)


def test_points_are_recalled_by_the_pool_of_their_tokens(with_tokens: Backend) -> None:
    query = tokens_of(8)
    assert query is not None
    having = [id_ for id_ in range(40) if tokens_of(id_) is not None]

    def pool(tokens: F32 | None) -> F32:
        assert tokens is not None
        mean: F32 = (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).mean(axis=0)
        return mean / np.linalg.norm(mean)

    scores = {id_: float(pool(query) @ pool(tokens_of(id_))) for id_ in having}
    best = sorted(having, key=lambda id_: -scores[id_])[:5]

    def work(view: View) -> None:
        found = view.recall(Recall(query, "words", k=5))
        assert found.matches == len(having)
        assert [id_from_key(key) for key in found.candidates.keys] == best
        np.testing.assert_allclose(
            found.candidates.scores, [scores[id_] for id_ in best], atol=1e-6
        )
        pools, has = view.vectors("words", view.find([8, 3]))
        assert has.tolist() == [True, False]
        np.testing.assert_allclose(pools, [pool(query), np.zeros(3)], atol=1e-6)

    with_tokens.view("c", work)


def test_tokens_that_cancel_out_find_everything_equally_far(with_tokens: Backend) -> None:
    query = np.array([[1, 2, 3], [-1, -2, -3]], dtype=np.float32)
    found = with_tokens.view("c", lambda view: view.recall(Recall(query, "words", k=3)))
    assert found.candidates.scores.tolist() == [0, 0, 0]
    assert [id_from_key(key) for key in found.candidates.keys] == [0, 1, 2]


def test_kinds_of_vectors_are_not_taken_for_each_other(with_tokens: Backend) -> None:
    def refused(work: object, error: type[Exception] = InvalidVector) -> None:
        with pytest.raises(error):
            with_tokens.view("c", work)  # type: ignore[arg-type]  # what it gives is no matter

    one, several = vector(1, 2, 3), vector(1, 2, 3)[None]
    refused(lambda view: view.recall(Recall(one, "words")))
    refused(lambda view: view.recall(Recall(several, "v")))
    refused(lambda view: view.recall(Recall(several[:0], "words")))
    refused(lambda view: view.recall(Recall(several[:, :2], "words")), DimensionMismatch)
    terms = Sparse(np.array([1]), vector(1))
    refused(lambda view: view.recall(Recall(terms, "v")))
    refused(lambda view: view.tokens("v", view.find([1])), InvalidQuery)
    refused(lambda view: view.vectors("terms", view.find([1])), InvalidQuery)
    refused(lambda view: view.tokens("none", view.find([1])), UnknownVector)


def test_what_is_remembered_is_of_one_state(filled: Backend) -> None:
    made: list[int] = []

    def points(view: View) -> int:
        def make() -> tuple[int]:
            made.append(1)
            return (view.mean("v", None)[1],)

        (count,), _ = view.remembered("points", make)
        return count

    assert [filled.view("c", points) for _ in range(3)] == [11, 11, 11]
    filled.upsert("c", [point(99, [1, 1, 1, 1])])
    before = len(made)
    assert filled.view("c", points) == 12
    assert len(made) == before + 1  # nothing of the older state was taken
