"""One suite for every backend: the promises of `app.backends.base`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.backends.base import Backend, Lifetime, Search, Selection
from app.errors import (
    CollectionNotFound,
    DefinitionDiffers,
    DimensionMismatch,
    InvalidAttributes,
    InvalidQuery,
    PointNotFound,
    SchemaConflict,
    SchemaViolation,
    UnknownVector,
)
from app.types import Definition, IndexSettings, Metric, Point, Projection, VectorField
from tests.builders import (
    Clock,
    definition,
    everything,
    found_ids,
    point,
    search,
    vector,
    where,
)


def test_creating_twice_is_idempotent_and_differing_is_refused(backend: Backend) -> None:
    first, created = backend.create("c", definition())
    again, created_again = backend.create("c", definition())
    assert (created, created_again) == (True, False)
    assert again.created_at == first.created_at
    with pytest.raises(DefinitionDiffers):
        backend.create("c", definition(dimension=5))


def test_collections_are_listed_by_name_and_dropped(backend: Backend) -> None:
    for name in ("b", "a"):
        backend.create(name, definition())
    assert [info.name for info in backend.describe_all()] == ["a", "b"]
    backend.drop("a")
    assert [info.name for info in backend.describe_all()] == ["b"]
    for call in (lambda: backend.drop("a"), lambda: backend.describe("a")):
        with pytest.raises(CollectionNotFound):
            call()


def test_statistics_add_up_to_the_points(filled: Backend) -> None:
    filled.create("empty", definition())
    filled.delete("c", Selection(ids=(0, 1)))
    statistics = filled.statistics()
    sizes = {one.name: one for one in statistics.collections}
    assert {name: one.points for name, one in sizes.items()} == {"c": 9, "empty": 0}
    assert (statistics.broken, statistics.building) in ((0, 0), (0, 1))
    filled.drop("empty")
    assert [one.name for one in filled.statistics().collections] == ["c"]


def test_an_answer_says_how_many_pieces_were_searched(filled: Backend) -> None:
    (answer,) = filled.search("c", [search([1, 0, 0, 0])])
    assert answer.parts >= 1


def test_a_disk_is_told_with_what_is_free_of_it(backend: Backend) -> None:
    storage = backend.storage()
    if storage is not None:
        assert 0 < storage.free_bytes <= storage.size_bytes
        assert storage.writable


def test_a_recreated_collection_is_empty(filled: Backend) -> None:
    filled.drop("c")
    filled.create("c", definition())
    assert filled.count("c", None) == 0
    assert found_ids(filled, "c", search([1, 0, 0, 0])) == []


def test_writes_are_seen_at_once(filled: Backend) -> None:
    filled.upsert("c", [point("new", [99, 0, 0, 0])])
    assert found_ids(filled, "c", search([1, 0, 0, 0], k=1)) == ["new"]


def test_an_upsert_replaces_the_whole_point(filled: Backend) -> None:
    assert filled.upsert("c", [point(3, [0, 0, 5, 0], other=True)]) == 1
    (record,) = filled.get("c", [3], Projection(with_vectors=True))
    assert record.attributes == {"other": True}
    assert record.text is None
    assert record.vectors is not None
    np.testing.assert_array_equal(record.vectors["v"], vector(0, 0, 5, 0))
    assert filled.count("c", None) == 11
    assert filled.count("c", where(n=3)) == 0


def test_integer_and_string_ids_differ(filled: Backend) -> None:
    filled.upsert("c", [point("3", [0, 0, 0, 1])])
    assert filled.count("c", None) == 12
    assert filled.delete("c", Selection(ids=("3",))) == 1
    assert [record.id for record in filled.get("c", [3], Projection())] == [3]


def test_get_keeps_the_order_of_ids_and_leaves_out_unknown_ones(filled: Backend) -> None:
    records = filled.get("c", ["ten", 404, 2], Projection())
    assert [record.id for record in records] == ["ten", 2]
    assert records[1].text == "text 2"


def test_projections_cut_records(filled: Backend) -> None:
    narrow = Projection(fields=frozenset({"n"}), with_text=False)
    (record,) = filled.get("c", [2], narrow)
    assert (record.attributes, record.text, record.vectors) == ({"n": 2}, None, None)
    (answer,) = filled.search("c", [search([1, 0, 0, 0], k=1, projection=narrow)])
    assert answer.hits[0].record.attributes == {"n": 10}
    nothing = Projection(fields=frozenset(), with_text=False)
    (answer,) = filled.search("c", [search([1, 0, 0, 0], k=1, projection=nothing)])
    assert answer.hits[0].record.id == "ten"
    assert answer.hits[0].record.attributes == {}


def test_deleting_by_id_and_by_filter(filled: Backend) -> None:
    assert filled.delete("c", Selection(ids=(1, 1, 404))) == 1
    assert filled.delete("c", Selection(filter=where(even=True))) == 6
    assert everything(filled, "c").keys() == {3, 5, 7, 9}
    assert found_ids(filled, "c", search([1, 0, 0, 0])) == [9, 7, 5, 3]


def test_patching_sets_and_removes_attributes(filled: Backend) -> None:
    changed = filled.patch("c", Selection(ids=(1, 404)), set_={"color": "red"}, unset=["n"])
    assert changed == 1
    (record,) = filled.get("c", [1], Projection(with_vectors=True))
    assert record.attributes == {"even": False, "color": "red"}
    assert record.text == "text 1"
    assert filled.patch("c", Selection(filter=where(even=True)), set_={"n": None}, unset=[]) == 6
    assert filled.count("c", where(n={"$eq": None})) == 6
    assert found_ids(filled, "c", search([1, 0, 0, 0], where(color="red"))) == [1]


def test_scrolling_goes_through_all_points_in_id_order(filled: Backend) -> None:
    assert list(everything(filled, "c")) == [*range(10), "ten"]
    page = filled.scroll("c", filter=where(even=True), limit=2, after=2, projection=Projection())
    assert [record.id for record in page.records] == [4, 6]
    assert page.next_after == 6
    last = filled.scroll("c", filter=where(even=True), limit=2, after=6, projection=Projection())
    assert [record.id for record in last.records] == [8, "ten"]
    assert last.next_after is None


def test_results_come_best_first_and_pages_join(filled: Backend) -> None:
    whole = found_ids(filled, "c", search([1, 0, 0, 0], k=11))
    assert whole == ["ten", *range(9, -1, -1)]
    paged = [
        id_
        for offset in range(0, 12, 4)
        for id_ in found_ids(filled, "c", search([1, 0, 0, 0], k=4, offset=offset))
    ]
    assert paged == whole


def test_there_are_min_k_matches_results_and_matches_are_counted(filled: Backend) -> None:
    (answer,) = filled.search("c", [search([1, 0, 0, 0], where(even=True), k=100)])
    assert len(answer.hits) == answer.matches == 6
    (none,) = filled.search("c", [search([1, 0, 0, 0], where(n=404))])
    assert (none.hits, none.matches, none.plan, none.exact) == ([], 0, "empty", True)


def test_ties_are_ordered_by_id_integers_first(backend: Backend) -> None:
    backend.create("c", definition())
    ids = ["b", 10, "a", 9, "10"]
    backend.upsert("c", [point(id_, [1, 2, 3, 4]) for id_ in ids])
    assert found_ids(backend, "c", search([1, 1, 1, 1])) == [9, 10, "10", "a", "b"]
    assert found_ids(backend, "c", search([1, 1, 1, 1], k=2)) == [9, 10]


def test_a_score_threshold_cuts_the_tail(filled: Backend) -> None:
    (answer,) = filled.search("c", [search([1, 0, 0, 0], score_threshold=8.0)])
    assert [hit.score for hit in answer.hits] == [10.0, 9.0, 8.0]


def test_an_excluded_point_never_appears(filled: Backend) -> None:
    (answer,) = filled.search("c", [search([1, 0, 0, 0], k=20, exclude=("ten",))])
    assert answer.hits[0].record.id == 9
    assert answer.matches == 10


@pytest.mark.parametrize(
    ("metric", "query", "expected"),
    [
        (Metric.COSINE, (2, 0), [("a", 1.0), ("b", 0.6), ("c", -1.0)]),
        (Metric.IP, (2, 0), [("b", 12.0), ("a", 2.0), ("c", -4.0)]),
        (Metric.L2, (2, 0), [("a", -1.0), ("c", -4.0), ("b", -8.94427191)]),
    ],
)
def test_scores_are_higher_for_better_in_every_metric(
    backend: Backend, metric: Metric, query: tuple[float, float], expected: list[tuple[str, float]]
) -> None:
    backend.create("c", definition(2, metric))
    backend.upsert("c", [point("a", [1, 0]), point("b", [6, 8]), point("c", [-2, 0])])
    (answer,) = backend.search("c", [search(query)])
    assert [hit.record.id for hit in answer.hits] == [id_ for id_, _ in expected]
    np.testing.assert_allclose([hit.score for hit in answer.hits], [s for _, s in expected], 1e-6)


def test_each_search_of_a_batch_has_its_own_filter(filled: Backend) -> None:
    answers = filled.search("c", [search([1, 0, 0, 0], where(n=n), k=3) for n in (4, 404, 7)])
    assert [[hit.record.id for hit in answer.hits] for answer in answers] == [[4], [], [7]]


def test_points_may_lack_some_of_the_named_vectors(backend: Backend) -> None:
    two = Definition({"a": VectorField("a", 2, Metric.IP), "b": VectorField("b", 3, Metric.L2)})
    backend.create("c", two)
    backend.upsert(
        "c",
        [
            Point(1, {"a": vector(1, 0)}, {}),
            Point(2, {"b": vector(0, 0, 1)}, {}),
            Point(3, {"a": vector(3, 0), "b": vector(0, 0, 2)}, {}),
        ],
    )
    (by_a,) = backend.search("c", [Search(vector(1, 0), "a")])
    (by_b,) = backend.search("c", [Search(vector(0, 0, 0), "b")])
    assert [hit.record.id for hit in by_a.hits] == [3, 1]
    assert [hit.record.id for hit in by_b.hits] == [2, 3]
    assert by_a.matches == by_b.matches == 2
    records = backend.get("c", [1, 2, 3], Projection(with_vectors=True))
    assert [sorted(record.vectors or {}) for record in records] == [["a"], ["b"], ["a", "b"]]
    with pytest.raises(UnknownVector):
        backend.search("c", [Search(vector(1, 0), "nope")])


def test_a_declared_schema_is_enforced_and_nothing_is_written(backend: Backend) -> None:
    backend.create("c", definition(schema={"year": "integer"}))
    backend.upsert("c", [point(1, [1, 0, 0, 0], year=2020), point(2, [1, 0, 0, 0])])
    with pytest.raises(SchemaViolation) as failed:
        backend.upsert("c", [point(3, [1, 0, 0, 0]), point(4, [1, 0, 0, 0], year="x")])
    assert failed.value.pointer == "/1/attributes/year"
    with pytest.raises(SchemaViolation) as failed:
        backend.patch("c", Selection(ids=(1,)), set_={"year": "x"}, unset=[])
    assert failed.value.pointer == "/set/year"
    assert everything(backend, "c") == {1: {"year": 2020}, 2: {}}


def test_a_schema_is_declared_later_only_if_stored_points_fit(filled: Backend) -> None:
    with pytest.raises(SchemaConflict):
        filled.alter("c", schema={"n": "keyword"}, index=None)
    info = filled.alter("c", schema={"n": "integer"}, index=lambda _: IndexSettings(8, 100))
    assert info.definition.schema == {"n": "integer"}
    assert info.definition.index == IndexSettings(8, 100)
    with pytest.raises(SchemaViolation):
        filled.upsert("c", [point(1, [1, 0, 0, 0], n="x")])
    filled.alter("c", schema={"n": None}, index=None)
    filled.upsert("c", [point(1, [1, 0, 0, 0], n="x")])
    assert filled.count("c", where(n="x")) == 1


@pytest.mark.parametrize("metric", [Metric.IP, Metric.COSINE])
def test_short_vectors_are_told_apart(backend: Backend, metric: Metric) -> None:
    """Under the inner product 1 − q·x would round all of these to one distance."""
    backend.create("c", definition(4, metric))
    backend.upsert("c", [point(n, [n * 1e-5, 1e-4, 0, 0]) for n in range(1, 30)])
    assert found_ids(backend, "c", search([1e-4, 0, 0, 0], k=29)) == list(range(29, 0, -1))


def test_many_ties_at_the_cut_are_settled_by_id(backend: Backend) -> None:
    backend.create("c", definition())
    backend.upsert("c", [point(n, [1, 0, 0, 0]) for n in range(200, 0, -1)])
    backend.upsert("c", [point("best", [2, 0, 0, 0])])
    assert found_ids(backend, "c", search([1, 0, 0, 0], k=4)) == ["best", 1, 2, 3]
    assert found_ids(backend, "c", search([1, 0, 0, 0], k=2, offset=100)) == [100, 101]


def test_a_selective_scroll_over_many_points_gives_each_once(backend: Backend) -> None:
    backend.create("c", definition(2))
    backend.upsert("c", [point(n, [1, 1], n=n, odd=n % 2) for n in range(4000)])
    for n in (10, 2500, 3500):
        page = backend.scroll(
            "c", filter=where(n=n), limit=100, after=None, projection=Projection()
        )
        assert [record.id for record in page.records] == [n]
    page = backend.scroll(
        "c", filter=where(odd=1), limit=1500, after=None, projection=Projection(frozenset(), False)
    )
    assert [record.id for record in page.records] == list(range(1, 3000, 2))


def test_vectors_of_another_length_are_refused(filled: Backend) -> None:
    """The collection may have been dropped and made anew since the caller looked at it."""
    with pytest.raises(DimensionMismatch):
        filled.search("c", [search([1, 0])])
    with pytest.raises(DimensionMismatch):
        filled.upsert("c", [point(1, [1, 0])])
    assert filled.count("c", None) == 11


def test_a_search_now_is_a_search_or_nothing(filled: Backend) -> None:
    asked = [search([1, 0, 0, 0], k=3), search([1, 0, 0, 0], where(even=True), k=2, offset=1)]
    found = filled.search_now("c", asked)
    assert found is None or found == filled.search("c", asked)


def test_a_search_may_start_from_a_point_which_is_left_out(filled: Backend) -> None:
    by_id, by_vector = filled.search(
        "c", [Search(3, "v", k=3), search([3, 1, 0, 0], k=3, exclude=(3,))]
    )
    assert by_id == by_vector
    assert by_id.matches == 10
    for missing in (404, "3"):
        with pytest.raises(PointNotFound) as failed:
            filled.search("c", [search([1, 0, 0, 0]), Search(missing, "v")])
        assert failed.value.pointer == "/1/id"


def test_a_search_cannot_start_from_a_vector_that_its_point_lacks(backend: Backend) -> None:
    two = Definition({"a": VectorField("a", 2, Metric.IP), "b": VectorField("b", 3, Metric.L2)})
    backend.create("c", two)
    backend.upsert("c", [Point(1, {"a": vector(1, 0)}, {})])
    with pytest.raises(InvalidQuery) as failed:
        backend.search("c", [Search(1, "b")])
    assert failed.value.pointer == "/0/id"


def test_points_and_searches_meant_for_a_dropped_collection_miss_its_successor(
    filled: Backend,
) -> None:
    mark = filled.definition("c").mark
    filled.alter("c", schema={"n": "integer"}, index=None)
    filled.upsert("c", [point(1, [1, 0, 0, 0])], mark)
    filled.drop("c")
    filled.create("c", definition())
    assert filled.definition("c").mark != mark
    with pytest.raises(CollectionNotFound):
        filled.upsert("c", [point(1, [1, 0, 0, 0])], mark)
    with pytest.raises(CollectionNotFound):
        filled.search("c", [search([1, 0, 0, 0])], mark)
    assert filled.count("c", None) == 0


def test_of_two_changes_to_the_settings_neither_undoes_the_other(filled: Backend) -> None:
    filled.alter("c", schema=None, index=lambda present: replace(present, m=8))
    info = filled.alter(
        "c", schema=None, index=lambda present: replace(present, ef_construction=99)
    )
    assert info.definition.index == IndexSettings(8, 99)


def test_the_definition_is_what_is_described(backend: Backend) -> None:
    backend.create("c", definition(schema={"n": "integer"}))
    assert backend.definition("c") == backend.describe("c").definition
    with pytest.raises(CollectionNotFound):
        backend.definition("nobody")


# ── points that expire ───────────────────────────────────────────────────────────────────────


def lasting(n: int, expires_at: int | None) -> Point:
    return Point(n, {"v": vector(n, 1, 0, 0)}, {"n": n}, expires_at=expires_at)


def test_a_point_is_gone_from_every_read_at_the_time_of_its_expiry(
    backend: Backend, clock: Clock
) -> None:
    backend.create("c", definition())
    backend.upsert("c", [lasting(1, clock.in_ms(10)), lasting(2, None), lasting(3, clock.in_ms(5))])
    assert found_ids(backend, "c", search([1, 0, 0, 0])) == [3, 2, 1]
    clock.now_s += 4.999
    assert backend.count("c", None) == 3
    clock.now_s += 0.001
    assert found_ids(backend, "c", search([1, 0, 0, 0])) == [2, 1]
    (answer,) = backend.search("c", [search([1, 0, 0, 0], where(n={"$gte": 2}))])
    assert answer.matches == 1
    assert [record.id for record in backend.get("c", [1, 2, 3], Projection())] == [1, 2]
    assert backend.count("c", None) == backend.describe("c").points == 2
    assert backend.count("c", where(n=3)) == 0
    assert everything(backend, "c").keys() == {1, 2}
    assert backend.patch("c", Selection(ids=(3,)), set_={"n": 0}, unset=[]) == 0
    assert backend.patch("c", Selection(filter=where(n=3)), set_={"n": 0}, unset=[]) == 0
    assert backend.delete("c", Selection(ids=(1, 3))) == 1
    assert backend.delete("c", Selection(filter=where(n=3))) == 0
    clock.now_s += 1e6
    assert everything(backend, "c").keys() == {2}


def test_records_show_when_they_expire_whatever_the_projection(
    backend: Backend, clock: Clock
) -> None:
    at = clock.in_ms(10)
    backend.create("c", definition())
    backend.upsert("c", [lasting(1, at), lasting(2, None)])
    ids_only = Projection(fields=frozenset(), with_text=False)
    for projection in (Projection(), ids_only, Projection(with_vectors=True)):
        for records in (
            backend.get("c", [2, 1], projection),
            [
                h.record
                for h in backend.search("c", [search([1, 0, 0, 0], k=2, projection=projection)])[
                    0
                ].hits
            ],
        ):
            assert [record.expires_at for record in records] == [None, at]


def test_an_upsert_sets_or_ends_a_lifetime_and_a_patch_keeps_it(
    backend: Backend, clock: Clock
) -> None:
    at = clock.in_ms(10)
    backend.create("c", definition())

    def expiry() -> int | None:
        return backend.get("c", [1], Projection())[0].expires_at

    def patch(lifetime: Lifetime | None) -> None:
        assert backend.patch("c", Selection(ids=(1,)), set_={}, unset=[], lifetime=lifetime) == 1

    backend.upsert("c", [lasting(1, at)])
    patch(None)
    assert expiry() == at
    backend.upsert("c", [lasting(1, None)])
    assert expiry() is None
    patch(Lifetime(at))
    assert expiry() == at
    patch(Lifetime(None))
    clock.now_s += 20
    assert expiry() is None


def test_a_point_that_is_written_expired_replaces_and_is_gone(
    backend: Backend, clock: Clock
) -> None:
    backend.create("c", definition())
    backend.upsert("c", [lasting(1, None)])
    assert backend.upsert("c", [lasting(1, clock.in_ms(-1))]) == 1
    assert backend.count("c", None) == 0
    backend.upsert("c", [lasting(1, None)])
    assert found_ids(backend, "c", search([1, 0, 0, 0])) == [1]


def test_expired_points_hold_up_no_schema(backend: Backend, clock: Clock) -> None:
    backend.create("c", definition())
    backend.upsert("c", [lasting(1, clock.in_ms(1)), lasting(2, None)])
    backend.patch("c", Selection(ids=(1,)), set_={"n": "text"}, unset=[])
    with pytest.raises(SchemaConflict):
        backend.alter("c", schema={"n": "integer"}, index=None)
    clock.now_s += 1
    backend.alter("c", schema={"n": "integer"}, index=None)


def test_a_patch_leaves_no_point_with_more_attributes_than_are_allowed(backend: Backend) -> None:
    backend.create("c", definition())
    backend.upsert("c", [point(1, [1, 0, 0, 0], a="x" * 60), point(2, [1, 0, 0, 0])])

    def patch(n: int, set_: dict[str, str], unset: list[str] | None = None) -> None:
        backend.patch(
            "c", Selection(ids=(n, 2)), set_=set_, unset=unset or [], max_attributes_bytes=50
        )

    with pytest.raises(InvalidAttributes, match="at most 50 bytes"):
        patch(1, {"b": "x"})
    assert backend.get("c", [2], Projection())[0].attributes == {}, "all or nothing"
    patch(2, {"b": "x" * 30})
    with pytest.raises(InvalidAttributes):
        patch(2, {"c": "x" * 30})
    patch(1, {"b": "y"}, ["a"])
    assert backend.get("c", [1], Projection())[0].attributes == {"b": "y"}
