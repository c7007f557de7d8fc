"""An index holds exactly what was put in, on disk as in memory, grown as built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import CorruptFile
from app.postings.postings import Lists, Postings
from tests.postings.oracles import Row, growing_sparse, sparse_postings

TERMS = st.integers(0, 12) | st.integers(0, 2**64 - 1)
WEIGHTS = st.floats(-8, 8, width=32).filter(bool)
ROWS = st.lists(st.dictionaries(TERMS, WEIGHTS, max_size=8), max_size=40)


def held(lists: Lists, number: int) -> list[tuple[int, float]]:
    run = slice(lists.starts[number], lists.ends[number])
    return list(zip(lists.slots[run].tolist(), lists.weights[run, 0].tolist(), strict=True))


def truth(rows: list[Row], term: int) -> list[tuple[int, float]]:
    return [(slot, row[term]) for slot, row in enumerate(rows) if term in row]


@settings(deadline=None)  # the first call compiles
@given(ROWS, st.lists(TERMS, unique=True))
def test_a_term_s_postings_are_the_slots_that_hold_it(rows: list[Row], terms: list[int]) -> None:
    wanted = np.array(terms, dtype=np.uint64)
    lists = sparse_postings(rows).lists(wanted)
    for number, term in enumerate(terms):
        assert held(lists, number) == truth(rows, term)


@settings(deadline=None)  # the first call compiles
@given(ROWS, st.data())
def test_a_view_of_growing_postings_is_a_prefix_that_never_changes(
    rows: list[Row], data: st.DataObject
) -> None:
    seen = data.draw(st.integers(0, len(rows)))
    growing = growing_sparse(rows[:seen])
    view = growing.view(seen)
    for slot, row in enumerate(rows[seen:], start=seen):
        weights = np.array(list(row.values()), dtype=np.float32)[:, None]
        growing.append(slot, np.array(list(row), dtype=np.uint64), weights)
    terms = sorted({term for row in rows for term in row} | {5})
    lists = view.lists(np.array(terms, dtype=np.uint64))
    for number, term in enumerate(terms):
        assert held(lists, number) == truth(rows[:seen], term)


def test_growing_postings_outgrow_every_array() -> None:
    rows = [{term: float(slot + 1) for term in range(slot % 7, 3000, 7)} for slot in range(40)]
    lists = growing_sparse(rows).view(40).lists(np.arange(3000, dtype=np.uint64))
    for term in range(3000):
        assert held(lists, term) == truth(rows, term)


@settings(deadline=None)  # the first call compiles
@given(ROWS)
def test_rows_come_back_out_of_an_index(rows: list[Row]) -> None:
    bounds, terms, weights = sparse_postings(rows).by_slot(len(rows))
    assert len(bounds) == len(rows) + 1
    for slot, row in enumerate(rows):
        run = slice(bounds[slot], bounds[slot + 1])
        back = list(zip(terms[run].tolist(), weights[run, 0].tolist(), strict=True))
        assert back == sorted(row.items())


def test_saved_postings_are_the_ones_opened(tmp_path: Path) -> None:
    rows: list[Row] = [{7: 1.5, 2**63: -2.0}, {}, {7: 0.25}]
    postings = sparse_postings(rows)
    names = [path.name for path in postings.save(tmp_path, "p")]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    opened = Postings.open(tmp_path, "p", 3)
    assert opened.bytes == postings.bytes
    wanted = np.array([7, 2**63, 8], dtype=np.uint64)
    for number, term in enumerate(wanted.tolist()):
        assert held(opened.lists(wanted), number) == truth(rows, term)


@pytest.mark.parametrize("slots", [2, 1])
def test_an_index_of_other_slots_is_refused(tmp_path: Path, slots: int) -> None:
    sparse_postings([{7: 1.0}, {}, {7: 1.0}]).save(tmp_path, "p")
    with pytest.raises(CorruptFile):
        Postings.open(tmp_path, "p", slots)


def test_an_empty_index_is_one(tmp_path: Path) -> None:
    sparse_postings([{}, {}]).save(tmp_path, "p")
    assert Postings.open(tmp_path, "p", 2).lists(np.array([1], dtype=np.uint64)).ends.tolist() == [
        0
    ]
