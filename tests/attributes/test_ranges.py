"""Joining ranges: a value is in the result exactly if it is in any, or in all, of them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from app.attributes.filter import Range
from app.attributes.matches import matches
from app.attributes.ranges import intersected, united
from tests.attributes.strategies import FLOATS, INTS

NUMBERS = (*INTS, *FLOATS, 0.25, 3, 2.5)
bounds = st.none() | st.sampled_from(NUMBERS) | st.integers(-3, 3)
several = st.lists(
    st.builds(
        Range, st.just("a"), st.just("numbers"), bounds, bounds, st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


def holds(range: Range, number: float) -> bool:
    return matches(range, "p", {"a": number})


@given(several)
@example([Range("a", "numbers", 0, 1), Range("a", "numbers", 1, 2, low_open=True)])
@example([Range("a", "numbers", 0, 1, high_open=True), Range("a", "numbers", 1, 2, low_open=True)])
@example([Range("a", "numbers", 2, 0), Range("a", "numbers", 1, 3)])
def test_the_union_holds_what_any_range_holds(ranges: list[Range]) -> None:
    joined = united(ranges)
    assert len(joined) <= len(ranges)
    for number in (*NUMBERS, *range_of_halves()):
        holding = [holds(range, number) for range in joined]
        assert any(holding) == any(holds(range, number) for range in ranges)
        assert sum(holding) <= 1


@given(several)
def test_the_intersection_holds_what_all_ranges_hold(ranges: list[Range]) -> None:
    common = intersected(ranges)
    for number in (*NUMBERS, *range_of_halves()):
        assert holds(common, number) == all(holds(range, number) for range in ranges)


def range_of_halves() -> list[float]:
    return [number / 2 for number in range(-8, 9)]


def test_overlapping_ranges_become_one() -> None:
    chain = [Range("a", "instants", low, low + 2) for low in range(50)]
    assert united(chain) == [Range("a", "instants", 0, 51)]
    halves = [Range("a", "numbers", 0, 1, high_open=True), Range("a", "numbers", 1, 2)]
    assert united(halves) == [Range("a", "numbers", 0, 2)]
    assert united([*chain, Range("a", "instants")]) == [Range("a", "instants")]
