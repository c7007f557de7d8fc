"""Vectors travel as base64 of little-endian float32, whatever they were."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likewise import to_numpy
from likewise._vectors import vector_from_base64, vector_to_base64

float32s = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20)


@given(float32s)
def test_every_kind_of_vector_is_sent_as_the_same_little_endian_float32(
    values: list[float],
) -> None:
    expected = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    kinds: list[Any] = [
        values,
        tuple(values),
        array("f", values),
        array("d", values),
        np.array(values, dtype=np.float32),
        np.array(values, dtype=np.float64),
        np.array(values, dtype=">f4"),
        np.array([values, values], dtype=np.float32).T[:, 0],  # strided: not contiguous
    ]
    assert [vector_to_base64(kind) for kind in kinds] == [expected] * len(kinds)


@given(float32s)
def test_vectors_survive_the_round_trip(values: list[float]) -> None:
    assert vector_from_base64(vector_to_base64(values)).tolist() == values


def test_numbers_beyond_float32_become_infinities_for_the_service_to_refuse() -> None:
    for vector in ([1e300], np.array([1e300])):
        assert vector_from_base64(vector_to_base64(vector)).tolist() == [float("inf")]


@pytest.mark.parametrize("vector", ["AACAPw==", b"\0\0\0\0", bytearray(4), ["a"], [[1.0]], [None]])
def test_what_is_not_numbers_is_no_vector(vector: object) -> None:
    with pytest.raises(TypeError):
        vector_to_base64(vector)  # type: ignore[arg-type]  # the mistake under test


def test_a_matrix_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        vector_to_base64(np.zeros((2, 3)))


@pytest.mark.parametrize("text", ["AACAP", "AACA", "?", 5])
def test_an_answer_that_is_no_vector_is_refused(text: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        vector_from_base64(text)  # type: ignore[arg-type]  # the fault under test


def test_one_answer_vector_becomes_numpy_without_a_copy() -> None:
    vector = array("f", [1, 2, 3])
    view = to_numpy(vector)
    assert view.dtype == np.float32
    vector[0] = 7
    assert view[0] == 7


def test_the_sdk_works_without_numpy() -> None:
    program = """
import sys
sys.modules["numpy"] = None  # what an import of a missing package does
import likewise
from likewise._vectors import vector_from_base64, vector_to_base64
assert vector_from_base64(vector_to_base64([1.5])).tolist() == [1.5]
try:
    likewise.to_numpy([1.0])
except ImportError as error:
    assert "likewise-client[numpy]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
