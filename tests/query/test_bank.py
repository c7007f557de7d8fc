"""Banks as bytes: what is written is read, and whatever else comes in their place is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CorruptFile
from app.query.bank import Bank, bank_from
from app.query.fusing import stored_calibration
from app.ranking.calibration import platt


def bank(method: str = "sinkhorn") -> Bank:
    dice = np.random.default_rng(0)
    rows = dice.normal(size=5) if method == "sinkhorn" else None
    vectors = dice.normal(size=(5, 3)).astype(np.float32)
    return Bank("look", vectors, method, 0.5, 7, 0.05, True, {"gain": 0.1}, rows)


@pytest.mark.parametrize("method", ["sinkhorn", "csls", "center"])
def test_what_is_written_is_read(method: str) -> None:
    first = bank(method)
    again = bank_from(first.body())
    assert again.header() == first.header()
    np.testing.assert_array_equal(again.vectors, first.vectors)
    if first.log_rows is None:
        assert again.log_rows is None
    else:
        np.testing.assert_array_equal(again.log_rows, first.log_rows)


@given(data=st.data())
def test_damage_is_found_or_does_no_harm(data: st.DataObject) -> None:
    body = bytearray(bank().body())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = bank_from(bytes(body))
    except CorruptFile:
        return
    assert np.isfinite(read.vectors).all()
    assert read.vectors.shape == (read.header()["queries"], read.header()["dimension"])


@given(body=st.binary(max_size=200), cut=st.integers(0, 100))
def test_anything_else_is_refused(body: bytes, cut: int) -> None:
    whole = bank().body()
    for other in (body, whole[:cut], whole[:-1], whole + b"\0"):
        with pytest.raises(CorruptFile):
            bank_from(other)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "hub"},
        {"wins": 1},
        {"k": 0},
        {"tau": 0},
        {"tau": "x"},
        {"strength": -1},
        {"strength": None},
        {"queries": -5},
        {"queries": 5.0},
        {"dimension": 2**70},
        {"using": 3},
        {"measured": []},
    ],
)
def test_headers_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    whole = bank().body()
    size = int.from_bytes(whole[:4], "little")
    header = json.dumps(json.loads(whole[4 : 4 + size]) | change).encode()
    with pytest.raises(CorruptFile):
        bank_from(len(header).to_bytes(4, "little") + header + whole[4 + size :])


@given(body=st.binary(max_size=100))
def test_no_other_bytes_are_a_calibration(body: bytes) -> None:
    with pytest.raises(CorruptFile):
        stored_calibration(body)


def test_a_stored_calibration_is_read() -> None:
    curve = platt(np.array([0.1, 0.9]), np.array([False, True]))
    told = json.dumps({"curve": curve.json(), "pairs": 2}).encode()
    assert stored_calibration(told)[0].slope == curve.slope
    for wrong in (b"{}", b"[]", b"3", b'{"curve": 3}'):
        with pytest.raises(CorruptFile):
            stored_calibration(wrong)
