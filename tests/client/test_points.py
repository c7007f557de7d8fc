"""Points are packed into requests in order, within both limits, and no earlier than needed."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likewise import Point, points_from_columns
from likewise._json import to_json
from likewise._points import Batch, batches, point_to_wire
from likewise._vectors import vector_to_base64

texts = st.lists(st.text(max_size=30), max_size=30)


def _packed(points: Any, most_points: int = 1000, most_bytes: int = 10_000) -> list[Batch]:
    return list(batches(points, most_points=most_points, most_bytes=most_bytes))


@given(texts, st.integers(1, 8), st.integers(1, 300))
def test_batches_keep_every_point_in_order_within_both_limits(
    texts: list[str], most_points: int, most_bytes: int
) -> None:
    points = [{"id": i, "text": text} for i, text in enumerate(texts)]
    packed = _packed(points, most_points, most_bytes)
    bodies = [json.loads(batch.body)["points"] for batch in packed]
    assert [point for body in bodies for point in body] == points
    for batch, body in zip(packed, bodies, strict=True):
        assert batch.points == len(body) <= most_points
        assert len(batch.body) <= most_bytes or batch.points == 1


@given(texts, st.integers(1, 8), st.integers(20, 300))
def test_no_batch_could_have_taken_the_next_point(
    texts: list[str], most_points: int, most_bytes: int
) -> None:
    packed = _packed([{"id": 1, "text": text} for text in texts], most_points, most_bytes)
    for batch, following in itertools.pairwise(packed):
        first = to_json(json.loads(following.body)["points"][0])
        full = batch.points == most_points
        assert full or len(batch.body) + 1 + len(first) > most_bytes


def test_the_byte_limit_is_met_to_the_byte() -> None:
    points = [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]
    (together,) = _packed(points)
    longest = len(together.body)
    assert len(_packed(points, most_bytes=longest)) == 1
    assert len(_packed(points, most_bytes=longest - 1)) == 2


def test_a_generator_is_read_no_further_than_one_point_past_the_batch() -> None:
    read = 0

    def endless() -> Iterator[Point]:
        nonlocal read
        while True:
            read += 1
            yield Point(read, text="x")

    packed = batches(endless(), most_points=10, most_bytes=10_000)
    next(packed)
    assert read == 11
    next(packed)
    assert read == 21


def test_a_point_and_the_dict_with_its_keys_are_sent_alike() -> None:
    fields: dict[str, Any] = {
        "id": "a",
        "text": "t",
        "vector": [1.0],
        "vectors": {"title": [2.0]},
        "attributes": {"year": 1999, "gone": None},
    }
    wire = point_to_wire(Point(**fields))
    assert wire == point_to_wire(fields)
    assert wire == {
        **fields,
        "vector": vector_to_base64([1.0]),
        "vectors": {"title": vector_to_base64([2.0])},
    }


def test_attributes_may_be_dates_and_numpy_values() -> None:
    attributes = {
        "day": datetime.date(2020, 1, 2),
        "time": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "count": np.int64(3),
        "share": np.float32(0.5),
        "good": np.bool_(True),
        "sizes": np.array([1, 2]),
    }
    assert json.loads(to_json(attributes)) == {
        "day": "2020-01-02",
        "time": "2020-01-02T03:04:05+00:00",
        "count": 3,
        "share": 0.5,
        "good": True,
        "sizes": [1, 2],
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_values_that_json_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        to_json({"value": value})


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_json({"value": datetime.datetime(2020, 1, 2)})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_objects_without_a_json_form_are_refused_by_type(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        to_json({"value": value})


@pytest.mark.parametrize("points", [{"id": 1}, Point(1), "points"])
def test_one_point_is_no_list_of_points(points: object) -> None:
    with pytest.raises(TypeError, match="iterable of points"):
        _packed(points)


@pytest.mark.parametrize("point", [{"text": "no id"}, {"id": 1, "payload": {}}, 5, "a", None])
def test_what_is_no_point_is_refused_when_it_is_met(point: object) -> None:
    packed = batches([{"id": 0}, point], most_points=1, most_bytes=100)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        list(packed)


def test_columns_become_points_row_by_row() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    points = points_from_columns(
        ids=np.array([7, 8, 9]),  # type: ignore[arg-type]  # works, and is what people have
        texts=["a", "b", "c"],
        vector=matrix,
        attributes=[{"n": n} for n in range(3)],
    )
    (batch,) = _packed(points)
    assert json.loads(batch.body)["points"] == [
        {
            "id": 7 + row,
            "text": "abc"[row],
            "vector": vector_to_base64(matrix[row]),
            "attributes": {"n": row},
        }
        for row in range(3)
    ]


def test_named_columns_become_named_vectors() -> None:
    (point,) = points_from_columns(ids=["a"], vectors={"title": [[1.0]], "body": [[2.0]]})
    assert point.vectors == {"title": [1.0], "body": [2.0]}
    assert point.vector is None


@pytest.mark.parametrize(
    "column",
    [{"texts": ["a"]}, {"vector": np.zeros((3, 2))}, {"vectors": {"t": []}}, {"attributes": [{}]}],
)
def test_a_column_of_another_length_is_refused_before_anything_is_written(column: Any) -> None:
    with pytest.raises(ValueError, match="ids has 2 rows"):
        points_from_columns(ids=[1, 2], **column)
