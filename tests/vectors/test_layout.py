"""hnswlib's file: what we read from it, what we write back, what we refuse."""

from __future__ import annotations

import struct
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from app.errors import CorruptFile, IncompatibleFormat
from app.kernels import bits as bitset
from app.types import F32, IndexSettings, Metric
from app.vectors.arrays import read_only
from app.vectors.builder import build_graph
from app.vectors.column import Column
from app.vectors.graph import NONE, Graph
from app.vectors.layout import read_graph, write_graph
from app.vectors.search import walk

ROWS, DIMENSION = 500, 8


@pytest.fixture(scope="module")
def vectors() -> F32:
    return np.random.default_rng(3).normal(size=(ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def saved(vectors: F32, tmp_path: Path) -> tuple[Path, hnswlib.Index]:
    """A file whose rows stand in another order than their labels."""
    index = hnswlib.Index(space="l2", dim=DIMENSION)
    index.init_index(max_elements=ROWS, M=5, ef_construction=50, random_seed=1)
    order = np.random.default_rng(4).permutation(ROWS)
    index.add_items(vectors[order], order, num_threads=1)
    path = tmp_path / "index.hnsw"
    index.save_index(str(path))
    return path, index


def test_a_walk_over_the_links_answers_as_hnswlib_does(
    vectors: F32, saved: tuple[Path, hnswlib.Index]
) -> None:
    path, index = saved
    graph = read_graph(path, DIMENSION)
    index.set_ef(40)
    column = Column(read_only(vectors))
    for query in vectors[:50] + np.float32(0.1):
        labels, _ = index.knn_query(query, k=10, num_threads=1)
        found = walk(
            Metric.L2, query, column, graph, bitset.full(ROWS), ef=40, wanted=10, budget=1 << 60
        )
        assert found.slots[:10].tolist() == labels[0].tolist()


def test_a_written_file_reads_back_as_the_same_graph(
    vectors: F32, saved: tuple[Path, hnswlib.Index], tmp_path: Path
) -> None:
    graph = read_graph(saved[0], DIMENSION)
    write_graph(tmp_path / "again.hnsw", graph, vectors, ef_construction=50)
    again = read_graph(tmp_path / "again.hnsw", DIMENSION)
    assert (again.entry, again.levels) == (graph.entry, graph.levels)
    for name in ("links", "upper_links", "upper_node", "upper_down", "slots"):
        np.testing.assert_array_equal(getattr(again, name), getattr(graph, name))


def test_hnswlib_answers_from_a_written_file(
    vectors: F32, saved: tuple[Path, hnswlib.Index], tmp_path: Path
) -> None:
    path, index = saved
    write_graph(tmp_path / "again.hnsw", read_graph(path, DIMENSION), vectors, ef_construction=50)
    loaded = hnswlib.Index(space="l2", dim=DIMENSION)
    loaded.load_index(str(tmp_path / "again.hnsw"))
    for one in (index, loaded):
        one.set_ef(30)
    for query in vectors[:20]:
        expected, _ = index.knn_query(query, k=5)
        labels, _ = loaded.knn_query(query, k=5)
        assert labels.tolist() == expected.tolist()


def test_an_extended_graph_keeps_the_recall_of_a_whole_one(vectors: F32, tmp_path: Path) -> None:
    settings = IndexSettings(m=5, ef_construction=60)
    base = build_graph(vectors[:350], Metric.L2, settings, scratch=tmp_path)
    graph = build_graph(vectors, Metric.L2, settings, scratch=tmp_path, base=base)
    assert graph.nodes == ROWS
    column = Column(read_only(vectors))
    hits = 0
    for query in vectors[::5]:
        truth = np.argsort(((vectors - query) ** 2).sum(axis=1))[:10]
        found = walk(
            Metric.L2, query, column, graph, bitset.full(ROWS), ef=40, wanted=10, budget=1 << 60
        )
        hits += len(set(truth.tolist()) & set(found.slots.tolist()))
    assert hits >= 970  # of 1000


def test_builds_with_one_thread_repeat_exactly(vectors: F32, tmp_path: Path) -> None:
    settings = IndexSettings(m=5, ef_construction=60)
    first, second = (
        build_graph(vectors, Metric.L2, settings, scratch=tmp_path, threads=1) for _ in range(2)
    )
    np.testing.assert_array_equal(first.links, second.links)
    np.testing.assert_array_equal(first.upper_links, second.upper_links)


def test_every_link_names_a_node(saved: tuple[Path, hnswlib.Index]) -> None:
    graph = read_graph(saved[0], DIMENSION)
    assert graph.links[graph.links != NONE].max() < ROWS
    uppers = graph.upper_links[graph.upper_links != NONE]
    assert uppers.size == 0 or uppers.max() < graph.upper_node.size


def test_graphs_survive_saving_and_mapping(
    saved: tuple[Path, hnswlib.Index], tmp_path: Path
) -> None:
    graph = read_graph(saved[0], DIMENSION)
    graph.save(tmp_path, "g")
    opened = Graph.open(tmp_path, "g", entry=graph.entry, levels=graph.levels, rows=graph.nodes)
    np.testing.assert_array_equal(opened.links, graph.links)
    with pytest.raises(ValueError, match="read-only"):
        opened.links[0, 0] = 1


def _broken(path: Path, change: str) -> None:
    raw = bytearray(path.read_bytes())
    if change == "short header":
        raw = raw[:50]
    elif change == "short rows":
        raw = raw[: 96 + 1000]
    elif change == "short tail":
        raw = raw[:-3]
    elif change == "long tail":
        raw += b"\0" * 8
    elif change == "link too large":
        struct.pack_into("<I", raw, 96 + 4, ROWS + 5)
    elif change == "label twice":
        size = struct.unpack_from("<6Q", raw)[3]
        label = 96 + size - 8
        raw[label : label + 8] = raw[label + size : label + size + 8]
    elif change == "entry outside":
        struct.pack_into("<I", raw, 52, ROWS)
    elif change == "count of nothing":
        struct.pack_into("<Q", raw, 16, 0)
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("short header", CorruptFile),
        ("short rows", CorruptFile),
        ("short tail", CorruptFile),
        ("long tail", CorruptFile),
        ("link too large", CorruptFile),
        ("label twice", CorruptFile),
        ("entry outside", IncompatibleFormat),
        ("count of nothing", IncompatibleFormat),
    ],
)
def test_a_file_that_does_not_add_up_is_refused(
    saved: tuple[Path, hnswlib.Index], change: str, error: type[Exception]
) -> None:
    _broken(saved[0], change)
    with pytest.raises(error):
        read_graph(saved[0], DIMENSION)


def test_a_file_of_another_dimension_is_refused(saved: tuple[Path, hnswlib.Index]) -> None:
    with pytest.raises(IncompatibleFormat):
        read_graph(saved[0], DIMENSION + 1)
