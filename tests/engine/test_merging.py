"""When builds are due and what they merge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.engine.merging import GROWTH, Merge, Size, choose_merge


def healthy(*slots: int) -> list[Size]:
    return [Size(n, n) for n in slots]


def test_nothing_is_due_below_the_threshold() -> None:
    assert choose_merge([], 999, head_points=1000, idle=False) is None
    assert choose_merge(healthy(50_000), 999, head_points=1000, idle=False) is None


def test_the_first_full_head_becomes_a_segment() -> None:
    assert choose_merge([], 1000, head_points=1000, idle=False) == Merge((), None)


def test_a_segment_of_like_size_is_extended() -> None:
    assert choose_merge(healthy(5000), 1000, head_points=1000, idle=False) == Merge((0,), 0)


def test_a_much_larger_segment_is_left_alone_until_enough_has_gathered() -> None:
    large = 1000 * GROWTH + 1
    assert choose_merge(healthy(large), 1000, head_points=1000, idle=False) == Merge((), None)
    gathered = healthy(large, 1000)
    assert choose_merge(gathered, 1000, head_points=1000, idle=False) == Merge((0, 1), 0)


def test_a_segment_with_many_dead_slots_is_rebuilt_without_being_the_base() -> None:
    assert choose_merge([Size(1000, 700)], 0, head_points=100, idle=False) == Merge((0,), None)


def test_an_idle_collection_is_tidied_into_one_segment() -> None:
    assert choose_merge(healthy(100_000, 1000), 0, head_points=1000, idle=True) == Merge((0, 1), 0)
    assert choose_merge(healthy(100_000), 600, head_points=1000, idle=True) == Merge((0,), 0)


def test_a_pause_is_no_reason_to_copy_a_large_segment_for_a_few_points() -> None:
    assert choose_merge(healthy(10**6), 600, head_points=1000, idle=True) == Merge((), None)
    assert choose_merge(healthy(10**6, 600), 0, head_points=1000, idle=True) is None


def test_an_empty_sick_segment_is_dropped_alone() -> None:
    gone = [Size(100_000, 100_000), Size(500, 0)]
    assert choose_merge(gone, 0, head_points=1000, idle=False) == Merge((1,), None)


def test_a_small_idle_collection_stays_exact() -> None:
    assert choose_merge([], 999, head_points=1000, idle=True) is None
    assert choose_merge(healthy(100_000), 10, head_points=1000, idle=True) is None


@given(
    st.lists(st.integers(1, 10**6), max_size=6),
    st.integers(0, 10**5),
    st.booleans(),
)
def test_repeating_the_choice_comes_to_rest(slots: list[int], head: int, idle: bool) -> None:
    segments = healthy(*slots)
    for _ in range(10):
        merge = choose_merge(segments, head, head_points=1000, idle=idle)
        if merge is None:
            return
        total = head + sum(segments[number].live for number in merge.sources)
        segments = [s for number, s in enumerate(segments) if number not in merge.sources]
        segments.append(Size(total, total))
        head = 0
    raise AssertionError("it never comes to rest")
