from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.tally import Histogram

VALUES = st.lists(st.floats(0, 10, allow_nan=False), max_size=50)


@given(VALUES)
def test_a_bucket_holds_the_values_up_to_its_bound_and_above_the_one_before(
    values: list[float],
) -> None:
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in values:
        histogram.note(value)
    assert [sum(histogram.counts[: place + 1]) for place in range(4)] == [
        sum(value <= bound for value in values) for bound in (1.0, 2.0, 5.0, float("inf"))
    ]
    assert histogram.count == len(values)


@given(VALUES, VALUES)
def test_accounts_add_up(first: list[float], second: list[float]) -> None:
    parts = Histogram((1.0, 2.0)), Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    for value in first:
        parts[0].note(value)
        parts[2].note(value)
    for value in second:
        parts[1].note(value)
        parts[2].note(value)
    parts[0].add(parts[1])
    assert parts[0].counts == parts[2].counts
