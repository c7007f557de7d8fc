"""Windows: ranges that hold given spans of an attribute's elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attributes.index import AttributeIndex
from app.attributes.matches import matches
from app.types import Attributes

SPANS = ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.125, 0.375))
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 3),
    st.sampled_from([0.5, -0.5, 1.0]),
)
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"a": st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3))}),
        st.just({}),
        st.just({"a": "text"}),
    ),
    min_size=1,
    max_size=40,
)


@given(ROWS)
def test_a_window_keeps_the_rows_that_its_range_matches(rows: list[Attributes]) -> None:
    windows = AttributeIndex.build(rows).windows("a", "numbers", SPANS)
    for window, slots in windows:
        expected = [n for n, row in enumerate(rows) if matches(window, n, row)]
        assert slots.tolist() == expected
    assert len({window for window, _ in windows}) == len(windows)


def test_windows_of_different_values_hold_the_spans_that_were_asked() -> None:
    order = np.random.default_rng(1).permutation(1000)
    index = AttributeIndex.build([{"a": int(n)} for n in order])
    found = {
        (window.low, window.high): slots.size
        for window, slots in index.windows("a", "numbers", SPANS)
    }
    assert found == {
        (None, 499): 500, (250, 749): 500, (500, None): 500, (125, 374): 250,
    }  # fmt: skip


def test_a_window_never_cuts_a_value_in_two() -> None:
    index = AttributeIndex.build([{"a": n // 400} for n in range(1000)])
    (window, slots), *others = index.windows("a", "numbers", ((0.25, 0.75),))
    assert others == []
    assert (window.low, window.high) == (None, 1)
    assert slots.size == 800


@pytest.mark.parametrize("field", ["a", "b"])
def test_a_field_without_such_elements_has_no_windows(field: str) -> None:
    index = AttributeIndex.build([{"a": "text"}, {"a": None}])
    assert index.windows(field, "numbers", SPANS) == []
    assert index.windows(field, "instants", SPANS) == []


def test_instants_have_windows() -> None:
    index = AttributeIndex.build([{"a": f"20{n:02}-01-01T00:00:00Z"} for n in range(40)])
    (_, slots), *_ = index.windows("a", "instants", SPANS)
    assert slots.tolist() == list(range(20))
