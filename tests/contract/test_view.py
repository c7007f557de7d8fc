"""What every backend's view shows of one state: the promises of `app.backends.base.View`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from app.attributes.filter import Filter
from app.attributes.matches import matches
from app.backends.base import Backend, Recall, Recalled, Selection, View
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


def test_rows_are_held_against_a_filter(filled: Backend) -> None:
    def work(view: View) -> list[bool]:
        rows = view.find([3, "ten", 4, 0, 3])
        found: list[bool] = view.passes(rows, where(even=True)).tolist()
        return found

    assert filled.view("c", work) == [False, True, True, True, False]


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


# ── sparse vectors ───────────────────────────────────────────────────────────────────────────


def sparse(weights: dict[int, float]) -> Sparse:
    indices = sorted(weights)
    return Sparse(np.array(indices, np.int64), vector(*(weights[index] for index in indices)))


def weights_of(id_: int, version: int = 0) -> dict[int, float] | None:
    """The weights of a point of `with_terms`: thirds, so that sums are rounded. Every fifth point
    has no vector, every seventh one without weights."""
    if id_ % 5 == 4:
        return None
    if id_ % 7 == 6:
        return {}
    drawn = np.random.default_rng(100 * version + id_ % 20)  # twenties of equal vectors: ties
    chosen = drawn.choice(12, size=1 + id_ % 6, replace=False)
    return {2**32 - 1 - int(one) * 7: (int(drawn.integers(-3, 9)) or 5) / 3 for one in chosen}


LIVE = {id_: weights_of(id_, 1 if 10 <= id_ < 15 else 0) for id_ in range(60) if id_ not in (3, 47)}
"""What lives in the end."""


@pytest.fixture
def with_terms(backend: Backend) -> Backend:
    """Collection "c" of the points of `LIVE`, some written twice, in graphs and in the head."""
    backend.create("c", Definition({"v": VectorField("v", 2), "terms": TERMS}))

    def written(ids: range, version: int = 0) -> list[Point]:
        points = []
        for id_ in ids:
            weights = weights_of(id_, version)
            own = {"v": vector(1, id_)} | ({} if weights is None else {"terms": sparse(weights)})
            points.append(Point(id_, own, {"n": id_, "odd": id_ % 2 == 1}))
        return points

    backend.upsert("c", written(range(25)))
    settle(backend, "c")
    backend.upsert("c", written(range(25, 50)))
    settle(backend, "c")
    backend.upsert("c", [*written(range(50, 60)), *written(range(10, 15), 1)])
    backend.delete("c", Selection(ids=(3, 47)))
    return backend


def product(query: dict[int, float], weights: dict[int, float] | None) -> float | None:
    """The sum in the order of indices of float32 products in float64; None without a shared one."""
    shared = sorted(query.keys() & (weights or {}).keys())
    assert weights is not None or not shared
    parts = [float(np.float32(query[i])) * float(np.float32(weights[i])) for i in shared]  # type: ignore[index]  # there are none then
    return sum(parts) if parts else None


QUERIES = [
    {2**32 - 1: 1.0},
    {2**32 - 1 - 7 * n: (n - 3) / 3 for n in range(12) if n != 3},
    {2**32 - 1 - 7 * n: 0.7 for n in range(12)} | dict.fromkeys(range(50), 1.0),
    {5: 1.0},
    {},
]


FILTERS: list[Filter | None] = [None, where(odd=True), where(n={"$in": [2, 8, 55]})]


def expected_of(query: dict[int, float], filter: Filter | None) -> list[tuple[float, PointId]]:
    """Every match but point 8, negated: best first, ties by id."""
    found: list[tuple[float, PointId]] = []
    for id_, weights in LIVE.items():
        score = product(query, weights)
        passes = filter is None or matches(filter, id_, {"n": id_, "odd": id_ % 2 == 1})
        if score is not None and passes and id_ != 8:
            found.append((-score, id_))
    return sorted(found)


def recall(backend: Backend, wanted: Recall) -> Recalled:
    return backend.view("c", lambda view: view.recall(wanted))


def test_points_are_recalled_by_inner_products_exactly(with_terms: Backend) -> None:
    for query, filter, k in itertools.product(QUERIES, FILTERS, (1, 7, 100)):
        expected = expected_of(query, filter)
        wanted = Recall(sparse(query), "terms", filter, k=k, exclude=(8, "no such"), explain=True)
        found = recall(with_terms, wanted)
        assert found.matches == len(expected)
        assert (found.exact, found.plan) == (True, "exact" if expected else "empty")
        given = zip(found.candidates.scores.tolist(), found.candidates.keys, strict=True)
        assert [(-score, id_from_key(key)) for score, key in given] == expected[:k]
        if found.facts:  # the plain backend has no postings to tell of
            parts = found.facts["parts"]
            assert (found.facts["by"], found.facts["terms"]) == ("postings", len(query))
            assert sum(part["matches"] for part in parts) == found.matches
            assert sum(part["postings"] for part in parts) == found.facts["postings"]
            assert found.facts["postings"] >= found.matches


def test_products_with_chosen_points_come_in_their_order(with_terms: Backend) -> None:
    ids: list[PointId] = [55, 4, 6, 12, 0, 31, 30, 2]
    query = QUERIES[1]

    def work(view: View) -> None:
        found, has = view.products("terms", sparse(query), view.find(ids))
        assert has.tolist() == [LIVE[int(id_)] is not None for id_ in ids]
        assert found.tolist() == [product(query, LIVE[int(id_)]) or 0 for id_ in ids]
        nothing, none = view.products("terms", sparse({}), view.find(ids[:2]))
        assert (nothing.tolist(), none.tolist()) == ([0, 0], [True, False])

    with_terms.view("c", work)


def test_products_are_of_sparse_fields_alone(backend: Backend) -> None:
    backend.create("c", Definition({"v": VectorField("v", 2), "terms": TERMS}))
    query = sparse({1: 1.0})
    with pytest.raises(InvalidVector):
        backend.view("c", lambda view: view.products("v", query, view.find([])))
    with pytest.raises(InvalidVector):
        backend.view("c", lambda view: view.recall(Recall(vector(1, 2), "terms")))
    with pytest.raises(UnknownVector):
        backend.view("c", lambda view: view.products("none", query, view.find([])))
