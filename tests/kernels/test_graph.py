"""The compiled graph search against its plain twin and against the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernels import bits as bitset
from app.kernels.graph import ordered, unordered
from app.types import F32, IndexSettings, Metric
from app.vectors.builder import build_graph
from app.vectors.graph import Graph
from app.vectors.search import distances, walk
from tests.kernels import reference

ROWS, DIMENSION = 600, 12
UNBOUNDED = 1 << 60


def unit(vectors: F32) -> F32:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> F32:
    return unit(np.random.default_rng(7).normal(size=(ROWS, DIMENSION)).astype(np.float32))


@pytest.fixture(scope="module", params=[Metric.IP, Metric.L2], ids=lambda m: m.value)
def metric(request: pytest.FixtureRequest) -> Metric:
    return Metric(request.param)


@pytest.fixture(scope="module")
def graph(vectors: F32, metric: Metric, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    scratch = tmp_path_factory.mktemp("graph")
    return build_graph(vectors, metric, IndexSettings(m=6, ef_construction=60), scratch=scratch)


def allowed_bits(chosen: set[int], slots: int = ROWS) -> np.ndarray:
    bits = bitset.empty(slots)
    bitset.set_slots(bits, np.array(sorted(chosen), dtype=np.uint32))
    return bits


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("ef", [1, 10, 50])
def test_the_kernel_agrees_with_its_plain_twin(
    vectors: F32, graph: Graph, metric: Metric, share: float, ef: int
) -> None:
    rng = np.random.default_rng(int(share * 1000) + ef)
    for _ in range(8):
        query = unit(rng.normal(size=(1, DIMENSION)).astype(np.float32))[0]
        allowed = set(np.flatnonzero(rng.random(ROWS) < share).tolist())
        slow = reference.search(metric.value, query, vectors, graph, allowed, ef)
        fast = walk(metric, query, vectors, graph, allowed_bits(allowed), ef=ef, budget=UNBOUNDED)
        assert fast.slots.tolist() == [slot for _, slot in slow]
        # float32 sums of a dozen terms against float64
        np.testing.assert_allclose(fast.distances, [d for d, _ in slow], atol=1e-5)
        assert not fast.stopped


def test_only_allowed_rows_are_returned_and_none_twice(
    vectors: F32, graph: Graph, metric: Metric
) -> None:
    allowed = set(range(0, ROWS, 7))
    found = walk(metric, vectors[3], vectors, graph, allowed_bits(allowed), ef=64, budget=UNBOUNDED)
    slots = found.slots.tolist()
    assert set(slots) <= allowed
    assert len(slots) == len(set(slots)) == 64


def test_recall_is_high_when_every_row_is_allowed(
    vectors: F32, graph: Graph, metric: Metric
) -> None:
    everyone = np.arange(ROWS, dtype=np.uint32)
    hits = 0
    for query in vectors[:100]:
        truth = np.argsort(distances(metric, query, vectors, everyone), kind="stable")[:10]
        found = walk(
            metric, query, vectors, graph, bitset.full(ROWS), ef=50, budget=UNBOUNDED
        ).slots[:10]
        hits += len(set(truth.tolist()) & set(found.tolist()))
    assert hits >= 980  # of 1000; fixed seeds: 995 and more when written


def test_the_budget_ends_a_walk_and_says_so(vectors: F32, graph: Graph, metric: Metric) -> None:
    rare = allowed_bits({5})
    found = walk(metric, vectors[100], vectors, graph, rare, ef=10, budget=100)
    assert found.stopped
    assert 100 <= found.taken <= 100 + graph.links.shape[1]


def test_visited_marks_are_clean_after_every_search(
    vectors: F32, graph: Graph, metric: Metric
) -> None:
    first = walk(metric, vectors[0], vectors, graph, bitset.full(ROWS), ef=20, budget=UNBOUNDED)
    walk(metric, vectors[0], vectors, graph, bitset.full(ROWS), ef=20, budget=50)
    again = walk(metric, vectors[0], vectors, graph, bitset.full(ROWS), ef=20, budget=UNBOUNDED)
    assert first.slots.tolist() == again.slots.tolist()
    assert first.taken == again.taken


def test_a_graph_over_some_rows_finds_only_those(
    vectors: F32, metric: Metric, tmp_path: Path
) -> None:
    own = np.arange(1, ROWS, 3, dtype=np.uint32)
    graph = build_graph(vectors[own], metric, IndexSettings(m=6), scratch=tmp_path)
    partial = replace(graph, slots=own)
    found = walk(metric, vectors[4], vectors, partial, bitset.full(ROWS), ef=30, budget=UNBOUNDED)
    assert set(found.slots.tolist()) <= set(own.tolist())
    assert found.slots[0] == 4
    slow = reference.search(metric.value, vectors[4], vectors, partial, set(range(ROWS)), 30)
    assert found.slots.tolist() == [slot for _, slot in slow]


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_packed_distances_keep_their_order(a: float, b: float) -> None:
    first, second = np.float32(a), np.float32(b)
    if first < second:
        assert ordered(first) < ordered(second)
    assert unordered(ordered(first)) == first
