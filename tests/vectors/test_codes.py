"""Eight-bit codes: a scan through them stays exact, and misleading ones are not kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import CorruptFile
from app.kernels import bits as bitset
from app.types import F32, IndexSettings, Metric
from app.vectors.arrays import read_only, save_array
from app.vectors.builder import build_graph
from app.vectors.codes import Codes
from app.vectors.column import Column
from app.vectors.metric import prepare
from app.vectors.row_file import RowFile
from app.vectors.search import scan, walk


def drawn(seed: int, rows: int, dimension: int, scale: float, shift: float) -> F32:
    rng = np.random.default_rng(seed)
    widths = rng.lognormal(0, 1, dimension)
    vectors = rng.normal(size=(rows, dimension)) * widths * scale + shift * scale
    return np.ascontiguousarray(vectors, dtype=np.float32)


@settings(deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    metric=st.sampled_from(Metric),
    rows=st.integers(30, 300),
    dimension=st.integers(1, 40),
    scale=st.sampled_from([1e-20, 1e-6, 1.0, 1e6, 1e15]),
    shift=st.sampled_from([0.0, 1.0, 100.0]),
    wanted=st.integers(1, 12),
)
@example(3, Metric.L2, 100, 8, 1.0, 1e4, 5)
def test_a_scan_by_codes_gives_what_a_scan_of_the_vectors_gives(
    seed: int, metric: Metric, rows: int, dimension: int, scale: float, shift: float, wanted: int
) -> None:
    vectors = read_only(prepare(metric, drawn(seed, rows, dimension, scale, shift)))
    codes = Codes.made(vectors, metric)
    if codes is None:
        return
    rng = np.random.default_rng(seed + 1)
    queries = [
        vectors[int(rng.integers(rows))].copy(),
        prepare(metric, drawn(seed + 2, 1, dimension, scale * 3, -shift))[0],
    ]
    allowed = bitset.empty(rows)
    bitset.set_slots(allowed, np.flatnonzero(rng.random(rows) < 0.8).astype(np.uint32))
    for query in queries:
        by_codes = scan(metric, query, Column(vectors, codes), allowed, wanted=wanted)
        by_vectors = scan(metric, query, Column(vectors), allowed, wanted=wanted)
        assert by_codes.slots.tolist() == by_vectors.slots.tolist()
        assert by_codes.distances.tolist() == by_vectors.distances.tolist()


@pytest.mark.parametrize("metric", list(Metric))
def test_few_rows_have_to_be_compared_again(metric: Metric) -> None:
    vectors = read_only(prepare(metric, drawn(1, 2000, 64, 1.0, 0.0)))
    codes = Codes.made(vectors, metric)
    assert codes is not None
    found = scan(metric, vectors[7].copy(), Column(vectors, codes), bitset.full(2000), wanted=10)
    assert 10 <= found.compared <= 200


def test_all_rows_that_tie_with_the_last_are_found() -> None:
    vectors = np.repeat(drawn(4, 20, 16, 1.0, 0.0), 30, axis=0)
    codes = Codes.made(vectors, Metric.L2)
    assert codes is not None
    column = Column(read_only(vectors), codes)
    found = scan(Metric.L2, vectors[40].copy(), column, bitset.full(600), wanted=10)
    assert found.slots.tolist() == list(range(30, 60))


def test_a_row_that_stretches_the_ranges_too_far_leaves_the_column_without_codes() -> None:
    vectors = drawn(2, 500, 16, 1.0, 0.0)
    assert Codes.made(vectors, Metric.L2) is not None
    vectors[3] *= 1e5
    assert Codes.made(vectors, Metric.L2) is None


def test_rows_whose_squares_overflow_are_not_coded() -> None:
    assert Codes.made(drawn(2, 50, 16, 1e20, 0.0), Metric.IP) is None


def test_a_query_whose_squares_overflow_is_answered_from_the_vectors() -> None:
    vectors = read_only(drawn(2, 200, 8, 1.0, 0.0))
    codes = Codes.made(vectors, Metric.IP)
    assert codes is not None
    query = vectors[5] * np.float32(1e30)
    found = scan(Metric.IP, query, Column(vectors, codes), bitset.full(200), wanted=3)
    assert found.slots.tolist() == np.argsort(-(vectors @ query))[:3].tolist()


def test_constant_columns_are_coded() -> None:
    vectors = drawn(6, 300, 8, 1.0, 0.0)
    vectors[:, 2] = 5.0
    codes = Codes.made(vectors, Metric.L2)
    assert codes is not None
    rebuilt = codes.middles + codes.steps * codes.codes
    assert np.abs(rebuilt[:, 2] - 5.0).max() == 0
    assert np.linalg.norm(vectors - rebuilt, axis=1).max() <= codes.bounds[0]


def test_saved_codes_open_as_they_were_and_misfits_are_refused(tmp_path: Path) -> None:
    codes = Codes.made(drawn(1, 40, 6, 1.0, 0.0), Metric.L2)
    assert codes is not None
    codes.save(tmp_path, "v0")
    again = Codes.open(tmp_path, "v0", 40, 6)
    for one, other in zip(codes.arrays, again.arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(CorruptFile):
        Codes.open(tmp_path, "v0", 41, 6)


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_on_disk_give_the_same_answers(metric: Metric, tmp_path: Path) -> None:
    vectors = read_only(prepare(metric, drawn(8, 400, 24, 1.0, 0.5)))
    save_array(tmp_path / "v.npy", vectors)
    codes = Codes.made(vectors, metric)
    assert codes is not None
    near, far = Column(vectors, codes), Column.on_disk(RowFile(tmp_path / "v.npy"), codes)
    graph = build_graph(vectors, metric, IndexSettings(8, 60), scratch=tmp_path)
    everyone = bitset.full(400)
    for query in vectors[::20].copy():
        exact = scan(metric, query, near, everyone, wanted=7)
        again = scan(metric, query, far, everyone, wanted=7)
        walked = walk(metric, query, near, graph, everyone, ef=30, wanted=7, budget=1 << 60)
        too = walk(metric, query, far, graph, everyone, ef=30, wanted=7, budget=1 << 60)
        for one, other in ((exact, again), (walked, too)):
            assert one.slots.tolist() == other.slots.tolist()
            assert one.distances.tolist() == other.distances.tolist()
            assert one[2:] == other[2:]


def test_vectors_on_disk_serve_queries_that_codes_cannot(tmp_path: Path) -> None:
    vectors = read_only(drawn(2, 200, 8, 1.0, 0.0))
    save_array(tmp_path / "v.npy", vectors)
    codes = Codes.made(vectors, Metric.IP)
    assert codes is not None
    column = Column.on_disk(RowFile(tmp_path / "v.npy"), codes)
    graph = build_graph(vectors, Metric.IP, IndexSettings(8, 60), scratch=tmp_path)
    query = vectors[5] * np.float32(1e30)
    found = scan(Metric.IP, query, column, bitset.full(200), wanted=3)
    assert found.slots.tolist() == np.argsort(-(vectors @ query))[:3].tolist()
    walked = walk(Metric.IP, query, column, graph, bitset.full(200), ef=9, wanted=3, budget=99)
    assert walked.stopped


def test_a_file_of_vectors_that_ends_early_is_noticed(tmp_path: Path) -> None:
    save_array(tmp_path / "v.npy", drawn(2, 10, 8, 1.0, 0.0))
    file = RowFile(tmp_path / "v.npy")
    assert file.read(np.array([3, 0], dtype=np.uint32)).shape == (2, 8)
    with (tmp_path / "v.npy").open("r+b") as cut:
        cut.truncate(300)
    with pytest.raises(CorruptFile):
        file.read(np.array([9], dtype=np.uint32))
