"""The bitset kernels against Python sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernels import bits

sized = st.integers(0, 300).flatmap(
    lambda slots: st.tuples(
        st.just(slots),
        st.lists(st.integers(0, slots - 1), max_size=80) if slots else st.just([]),
        st.lists(st.integers(0, slots - 1), max_size=80) if slots else st.just([]),
    )
)


def array(slots: list[int]) -> np.ndarray:
    return np.array(slots, np.uint32)


@given(sized)
def test_the_kernels_agree_with_sets(drawn: tuple[int, list[int], list[int]]) -> None:
    slots, one, two = drawn
    held = bits.empty(slots)
    assert held.shape == (bits.words(slots),) == (-(-slots // 64),)
    bits.set_slots(held, array(one))
    assert bits.slots_of(held).tolist() == sorted(set(one))
    assert bits.count(held) == len(set(one))
    assert [s for s in range(slots) if bits.is_set(held, s)] == sorted(set(one))
    assert bits.keep(held, array(two), True).tolist() == [s for s in two if s in one]
    assert bits.keep(held, array(two), False).tolist() == [s for s in two if s not in one]
    bits.clear_slots(held, array(two))
    assert bits.slots_of(held).tolist() == sorted(set(one) - set(two))
    held.setflags(write=False)
    assert bits.count(held) == len(set(one) - set(two))


@given(st.integers(0, 300))
def test_full_ends_with_the_last_slot(slots: int) -> None:
    assert bits.slots_of(bits.full(slots)).tolist() == list(range(slots))


def test_slots_past_the_last_word_are_skipped() -> None:
    held = bits.empty(70)
    bits.set_slots(held, array([3, 128, 2**32 - 1]))
    bits.clear_slots(held, array([128, 2**32 - 1]))
    assert bits.slots_of(held).tolist() == [3]
    assert bits.keep(held, array([128, 3]), True).tolist() == [3]
    assert bits.keep(held, array([128, 3]), False).tolist() == [128]


def test_the_highest_bit_of_a_word_is_a_slot_like_any_other() -> None:
    held = bits.empty(128)
    bits.set_slots(held, array([63, 127]))
    assert bits.slots_of(held).tolist() == [63, 127]
    assert bits.is_set(held, 63)
    assert not bits.is_set(held, 62)


@given(st.integers(1, 300), st.data())
def test_prefixes_subtract_to_any_stretch(slots: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(slots)))
    held = array(order[: data.draw(st.integers(0, slots))])
    places = sorted({0, len(held), *data.draw(st.lists(st.integers(0, len(held)), max_size=5))})
    sets = bits.prefixes(held, np.array(places), slots)
    assert [bits.slots_of(one).tolist() for one in sets] == [
        sorted(held[:place].tolist()) for place in places
    ]
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(held))] * 2)))
    held.setflags(write=False)
    made = bits.between(sets, np.array(places), held, first, last)
    assert made.shape == (bits.words(slots),)
    assert bits.slots_of(made).tolist() == sorted(held[first:last].tolist())


@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [(np.int64, (-(2**63), -1, 2, 2**63 - 1)), (np.float64, (-np.inf, -0.0, 0.5, np.inf))],
)
def test_slots_inside_are_those_between_the_bounds_and_on_them(dtype: Any, bounds: Any) -> None:
    values = np.array(sorted(bounds) * 3, dtype)
    for low in bounds:
        for high in bounds:
            inside = [s for s, value in enumerate(values.tolist()) if low <= value <= high]
            every = array(list(range(len(values))))
            assert bits.slots_inside(values, every, low, high).tolist() == inside
