"""Laws of rounds and batches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.encoders.packing import count_round, pack

LENGTHS = st.lists(st.integers(1, 512), max_size=60)


@given(tokens=LENGTHS, budget=st.integers(1, 2048))
def test_every_text_is_in_exactly_one_batch(tokens: list[int], budget: int) -> None:
    packed = [text for batch in pack(tokens, budget) for text in batch]
    assert sorted(packed) == list(range(len(tokens)))


@given(tokens=LENGTHS, budget=st.integers(1, 2048))
def test_only_a_single_text_may_exceed_the_budget(tokens: list[int], budget: int) -> None:
    for batch in pack(tokens, budget):
        padded = len(batch) * max(tokens[text] for text in batch)
        assert padded <= budget or len(batch) == 1


@given(tokens=LENGTHS, budget=st.integers(1, 2048))
def test_batches_ascend_in_length(tokens: list[int], budget: int) -> None:
    lengths = [tokens[text] for batch in pack(tokens, budget) for text in batch]
    assert lengths == sorted(lengths)


@given(tokens=LENGTHS, budget=st.integers(1, 2048))
def test_no_two_neighbouring_batches_would_have_fitted_into_one(
    tokens: list[int], budget: int
) -> None:
    batches = pack(tokens, budget)
    for one, other in pairwise(batches):
        assert (len(one) + 1) * tokens[other[0]] > budget


@given(chars=st.lists(st.integers(0, 500), max_size=30), budget=st.integers(1, 2000))
def test_a_round_is_the_longest_beginning_within_its_budget_but_never_empty(
    chars: list[int], budget: int
) -> None:
    count = count_round(iter(chars), budget)
    assert count >= min(1, len(chars))
    assert count <= 1 or sum(chars[:count]) <= budget
    assert count == len(chars) or sum(chars[: count + 1]) > budget
