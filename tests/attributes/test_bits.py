"""The bitset kernels against Python sets."""

from __future__ import annotations

import numpy as np
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
