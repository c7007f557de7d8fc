"""Laws of batches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.encoders.packing import cut_runs, pack

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


@given(tokens=LENGTHS, limit=st.integers(0, 2048), spare=st.integers(0, 64))
def test_every_text_is_in_exactly_one_run(tokens: list[int], limit: int, spare: int) -> None:
    ran = [text for run in cut_runs(tokens, limit, spare) for text in run]
    assert sorted(ran) == list(range(len(tokens)))


@given(tokens=LENGTHS, limit=st.integers(0, 2048), spare=st.integers(0, 64))
def test_runs_keep_to_their_tokens_and_their_padding(
    tokens: list[int], limit: int, spare: int
) -> None:
    for run in cut_runs(tokens, limit, spare):
        lengths = [tokens[text] for text in run]
        padded = len(run) * max(lengths)
        assert padded <= limit or len(run) == 1
        assert padded - sum(lengths) <= spare


@given(tokens=LENGTHS, limit=st.integers(0, 2048), spare=st.integers(0, 64))
def test_the_largest_runs_come_first(tokens: list[int], limit: int, spare: int) -> None:
    runs = cut_runs(tokens, limit, spare)
    sizes = [len(run) * max(tokens[text] for text in run) for run in runs]
    assert sizes == sorted(sizes, reverse=True)


def test_texts_of_one_length_share_runs_and_with_a_spare_neighbours_do() -> None:
    tokens = [5, 9, 5, 9, 5, 6]
    assert cut_runs(tokens, 100, 0) == [[1, 3], [0, 2, 4], [5]]
    assert cut_runs(tokens, 100, 3) == [[0, 2, 4, 5], [1, 3]]
    assert cut_runs(tokens, 0, 0) == [[1], [3], [5], [0], [2], [4]]
