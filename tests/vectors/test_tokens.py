"""Sets of tokens: pooled, kept in half precision, read back ragged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CorruptFile
from app.types import F32
from app.vectors.arrays import save_array
from app.vectors.token_column import GrowingTokens, TokenColumn, TokenFile
from app.vectors.tokens import pooled, token_set, widened


def unit(vectors: F32) -> F32:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    found: F32 = (vectors / lengths).astype(np.float32)
    return found


def drawn(tokens: int, dimension: int, seed: int = 0) -> F32:
    normal = np.random.default_rng(seed).normal(size=(tokens, dimension))
    return normal.astype(np.float32)


def test_half_precision_is_widened_to_the_same_value_whatever_it_is() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    found = widened(finite)
    np.testing.assert_array_equal(found, finite.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(finite))


def test_what_half_precision_costs_a_cosine_is_below_what_the_docs_say() -> None:
    tokens, queries = unit(drawn(3200, 128)), unit(drawn(3200, 128, 1))
    kept = widened(token_set(tokens).tokens)
    assert np.abs(tokens @ queries[0] - kept @ queries[0]).max() < 2.5e-4
    exact = (queries.reshape(100, 32, 128) @ tokens.T).reshape(100, 32, 100, 32).max(-1).mean(1)
    rounded = (queries.reshape(100, 32, 128) @ kept.T).reshape(100, 32, 100, 32).max(-1).mean(1)
    assert np.abs(exact - rounded).max() < 4e-5


def test_a_pool_is_the_mean_direction_whatever_the_lengths() -> None:
    tokens = np.array([[2, 0], [0, 5]], dtype=np.float32)
    np.testing.assert_allclose(pooled(tokens), [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(pooled(tokens * 1e18), pooled(tokens * 1e-18), rtol=1e-6)


def test_tokens_that_cancel_each_other_out_have_no_pool() -> None:
    token = drawn(1, 8)
    assert not pooled(np.concatenate([token, -token])).any()


counts = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def ragged(sizes: list[int], seed: int = 0) -> list[F32 | None]:
    return [drawn(size, 3, seed + at) if size else None for at, size in enumerate(sizes)]


def written(folder: Path, parts: list[F32 | None], base: TokenColumn | None = None) -> TokenColumn:
    slots = len(parts) + (0 if base is None else base.offsets.size - 1)
    with TokenFile(folder, "v0", 3) as file:
        if base is not None:
            file.copy(base)
        for part in parts:
            file.append(None if part is None else token_set(part).tokens)
    return TokenColumn.open(folder, "v0", slots=slots, dimension=3)


def grown(parts: list[F32 | None]) -> TokenColumn:
    tokens = GrowingTokens(3)
    for part in parts:
        tokens.append(None if part is None else token_set(part).tokens)
    return tokens.view()


@given(sizes=counts, data=st.data())
def test_rows_are_read_in_the_order_asked_for(sizes: list[int], data: st.DataObject) -> None:
    parts = ragged(sizes)
    slots = data.draw(st.lists(st.integers(0, len(sizes) - 1), unique=True))
    found, begins = grown(parts).rows(np.array(slots, dtype=np.uint32))
    assert begins.tolist() == [
        sum(sizes[slot] for slot in slots[:n]) for n in range(len(slots) + 1)
    ]
    for n, slot in enumerate(slots):
        part = parts[slot]
        expected = np.empty((0, 3)) if part is None else unit(part)
        np.testing.assert_allclose(found[begins[n] : begins[n + 1]], expected, atol=5e-4)


def test_a_file_holds_what_grew_in_memory_and_can_be_carried_on(tmp_path: Path) -> None:
    parts = ragged([2, 0, 3, 0])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = written(tmp_path / "a", parts)
    more = ragged([0, 4, 1], seed=50)
    second = written(tmp_path / "b", more, base=first)
    every = grown(parts + more)
    np.testing.assert_array_equal(second.tokens, every.tokens)
    np.testing.assert_array_equal(second.offsets, every.offsets)


def test_a_view_does_not_change_while_the_head_grows() -> None:
    tokens = GrowingTokens(3)
    tokens.append(token_set(drawn(2, 3)).tokens)
    view = tokens.view()
    before = view.tokens.copy()
    for seed in range(3000):
        tokens.append(token_set(drawn(1, 3, seed)).tokens)
    np.testing.assert_array_equal(view.tokens, before)
    assert view.offsets.tolist() == [0, 2]
    assert tokens.view().offsets[-1] == 3002


@pytest.mark.parametrize(
    "offsets", [[0, 1], [0, 3, 2, 5], [1, 2, 3, 5], [0, 1, 2, 6], [0, 1, 2, -5]]
)
def test_offsets_that_do_not_fit_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    written(tmp_path, ragged([2, 2, 1]))
    path = tmp_path / "v0.offsets.npy"
    path.unlink()
    save_array(path, np.array(offsets, dtype=np.int64))
    with pytest.raises(CorruptFile):
        TokenColumn.open(tmp_path, "v0", slots=3, dimension=3)


def test_tokens_of_another_dimension_are_refused(tmp_path: Path) -> None:
    written(tmp_path, ragged([2, 2, 1]))
    with pytest.raises(CorruptFile):
        TokenColumn.open(tmp_path, "v0", slots=3, dimension=5)
