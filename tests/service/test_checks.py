from __future__ import annotations

import base64
import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    DimensionMismatch,
    DuplicateId,
    InvalidCursor,
    InvalidId,
    InvalidName,
    LikewiseError,
    VectorNotFinite,
    ZeroVector,
)
from app.service.checks import check_id, check_ids, check_name, check_unique, check_vector, place
from app.service.cursor import cursor_after, id_from_cursor
from app.types import Metric, PointId, VectorField

ids = st.integers(0, 2**64 - 1) | st.text(min_size=1, max_size=128)
sane = st.floats(2.0**-20, 2.0**40, width=32).flatmap(lambda x: st.sampled_from([x, -x]))


def field(dimension: int, metric: Metric = Metric.COSINE) -> VectorField:
    return VectorField("v", dimension, metric)


@given(st.lists(sane, min_size=1, max_size=40))
def test_numbers_and_base64_of_the_same_vector_are_read_alike(numbers: list[float]) -> None:
    encoded = base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()
    one = check_vector(numbers, field(len(numbers)), "/vector")
    two = check_vector(encoded, field(len(numbers)), "/vector")
    np.testing.assert_array_equal(one, two)
    for vector in (one, two):
        assert vector.dtype == np.float32
        assert vector.flags.c_contiguous
        assert vector.flags.writeable


@given(st.lists(st.floats(width=32) | st.floats() | st.integers(-(10**40), 10**40), min_size=1))
def test_what_passes_has_finite_distances_and_what_fails_says_where(numbers: list[float]) -> None:
    pointer = None
    try:
        vector = check_vector(numbers, field(len(numbers), Metric.L2), "/vector")
    except VectorNotFinite as error:
        pointer = error.pointer
    if pointer is None:
        farthest = vector - -vector
        assert math.isfinite(float(farthest @ farthest))
        return
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array([float(number) for number in numbers]).astype(np.float32)
        if pointer == "/vector":
            assert not values @ values < 8e37
        else:
            assert not np.isfinite(values[int(pointer.rpartition("/")[2])])


def test_a_direction_needs_a_length_under_cosine_only() -> None:
    for numbers in ([0, 0], [1e-25, 0]):
        with pytest.raises(ZeroVector):
            check_vector(numbers, field(2), "/vector")
        check_vector(numbers, field(2, Metric.L2), "/vector")
        check_vector(numbers, field(2, Metric.IP), "/vector")


def test_a_dimension_mismatch_says_both_numbers() -> None:
    with pytest.raises(DimensionMismatch) as caught:
        check_vector([1, 2], field(3), "/vector")
    assert caught.value.context == {"expected": 3, "received": 2}


@given(st.binary(max_size=64).map(lambda octets: base64.b64encode(octets).decode()) | st.text())
def test_no_string_makes_the_vector_reader_fail(text: str) -> None:
    pointer: str | None = "/vector"
    try:
        check_vector(text, field(2), "/vector")
    except LikewiseError as error:
        pointer = error.pointer
    assert pointer == "/vector"


@given(ids)
def test_ids_in_range_pass_unchanged(point_id: PointId) -> None:
    checked = check_id(point_id, "/id")
    assert checked == point_id
    assert type(checked) is type(point_id)


@given(ids)
def test_a_cursor_leads_back_to_its_id(point_id: PointId) -> None:
    back = id_from_cursor(cursor_after(point_id))
    assert back == point_id
    assert type(back) is type(point_id)


@given(st.text() | st.binary().map(lambda octets: base64.urlsafe_b64encode(octets).decode()))
def test_a_made_up_cursor_is_refused_or_read(cursor: str) -> None:
    with contextlib.suppress(InvalidCursor):
        id_from_cursor(cursor)


@pytest.mark.parametrize(
    "bad", ["", "\ud800", "x" * 513, "é" * 257, -1, 2**64, 1.0, True, None, [], {}, b"x"]
)
def test_ids_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(InvalidId):
        check_id(bad, "/id")


def test_repeated_ids_are_read_once_and_written_never() -> None:
    assert check_ids([1, "1", 1, "a", "1"], limit=5, pointer="/ids") == (1, "1", "a")
    check_unique([1, "1"], "/points")
    with pytest.raises(DuplicateId) as caught:
        check_unique([1, "1", 1], "/points")
    assert caught.value.pointer == "/points/2/id"


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "0", "x" * 64])
def test_ordinary_names_pass(name: str) -> None:
    assert check_name(name, "vector") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "a\n", "x" * 65, "٣"]
)
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_name(name, "vector")


@given(st.lists(st.text(), max_size=4))
def test_a_pointer_can_be_taken_apart_again(parts: list[str]) -> None:
    pointer = place("", *parts)
    again = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    assert again == parts
