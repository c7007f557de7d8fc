"""The compiled searches against their plain twins and against the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernels import bits as bitset
from app.kernels.heap import ordered, unordered
from app.types import F32, IndexSettings, Metric
from app.vectors.arrays import read_only
from app.vectors.builder import build_graph
from app.vectors.codes import Codes
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.search import scan, walk
from tests.kernels import reference

ROWS, DIMENSION = 600, 12
UNBOUNDED = 1 << 60


def unit(vectors: F32) -> F32:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> F32:
    drawn = np.random.default_rng(7).normal(size=(ROWS, DIMENSION)).astype(np.float32)
    return read_only(unit(drawn))


@pytest.fixture(scope="module")
def plain(vectors: F32) -> Column:
    return Column(vectors)


@pytest.fixture(scope="module")
def coded(vectors: F32, metric: Metric) -> Column:
    codes = Codes.made(vectors, metric)
    assert codes is not None
    return Column(vectors, codes)


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
    plain: Column, graph: Graph, metric: Metric, share: float, ef: int
) -> None:
    rng = np.random.default_rng(int(share * 1000) + ef)
    for _ in range(8):
        query = unit(rng.normal(size=(1, DIMENSION)).astype(np.float32))[0]
        allowed = set(np.flatnonzero(rng.random(ROWS) < share).tolist())
        slow = reference.search(metric.value, query, plain.vectors, graph, allowed, ef)
        fast = walk(
            metric, query, plain, graph, allowed_bits(allowed), ef=ef, wanted=ef, budget=UNBOUNDED
        )
        assert fast.slots.tolist() == [slot for _, slot in slow]
        # float32 sums of a dozen terms against float64
        np.testing.assert_allclose(fast.distances, [d for d, _ in slow], atol=1e-5)
        assert fast.found == len(slow)
        assert not fast.stopped


def test_a_walk_by_codes_returns_the_best_of_what_it_met(
    coded: Column, plain: Column, graph: Graph, metric: Metric
) -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        query = unit(rng.normal(size=(1, DIMENSION)).astype(np.float32))[0]
        everyone = bitset.full(ROWS)
        every = walk(metric, query, coded, graph, everyone, ef=40, wanted=40, budget=UNBOUNDED)
        best = walk(metric, query, coded, graph, everyone, ef=40, wanted=7, budget=UNBOUNDED)
        assert best.slots.tolist() == every.slots[:7].tolist()
        assert best.distances.tolist() == every.distances[:7].tolist()
        exact = scan(metric, query, plain, allowed_bits(set(every.slots.tolist())), wanted=7)
        assert best.distances.tolist() == exact.distances.tolist()  # bit for bit


def test_only_allowed_rows_are_returned_and_none_twice(
    plain: Column, graph: Graph, metric: Metric
) -> None:
    allowed = set(range(0, ROWS, 7))
    query = plain.vectors[3].copy()
    found = walk(
        metric, query, plain, graph, allowed_bits(allowed), ef=64, wanted=64, budget=UNBOUNDED
    )
    slots = found.slots.tolist()
    assert set(slots) <= allowed
    assert len(slots) == len(set(slots)) == 64


@pytest.mark.parametrize("kind", ["plain", "coded"])
def test_recall_is_high_when_every_row_is_allowed(
    kind: str, graph: Graph, metric: Metric, request: pytest.FixtureRequest
) -> None:
    column: Column = request.getfixturevalue(kind)
    everyone = bitset.full(ROWS)
    hits = 0
    for query in column.vectors[:100].copy():
        truth = scan(metric, query, column, everyone, wanted=10).slots
        found = walk(metric, query, column, graph, everyone, ef=50, wanted=10, budget=UNBOUNDED)
        hits += len(set(truth.tolist()) & set(found.slots.tolist()))
    assert hits >= 980  # of 1000; fixed seeds: 995 and more when written


def test_the_budget_ends_a_walk_and_says_so(plain: Column, graph: Graph, metric: Metric) -> None:
    query = plain.vectors[100].copy()
    found = walk(metric, query, plain, graph, allowed_bits({5}), ef=10, wanted=10, budget=100)
    assert found.stopped
    assert 100 <= found.taken <= 100 + graph.links.shape[1]


def test_visited_marks_are_clean_after_every_search(
    plain: Column, graph: Graph, metric: Metric
) -> None:
    query, everyone = plain.vectors[0].copy(), bitset.full(ROWS)
    first = walk(metric, query, plain, graph, everyone, ef=20, wanted=20, budget=UNBOUNDED)
    walk(metric, query, plain, graph, everyone, ef=20, wanted=20, budget=50)
    again = walk(metric, query, plain, graph, everyone, ef=20, wanted=20, budget=UNBOUNDED)
    assert first.slots.tolist() == again.slots.tolist()
    assert first.taken == again.taken


def test_a_graph_over_some_rows_finds_only_those(
    plain: Column, metric: Metric, tmp_path: Path
) -> None:
    own = np.arange(1, ROWS, 3, dtype=np.uint32)
    graph = build_graph(plain.vectors[own], metric, IndexSettings(m=6), scratch=tmp_path)
    partial = replace(graph, slots=own)
    query = plain.vectors[4].copy()
    found = walk(
        metric, query, plain, partial, bitset.full(ROWS), ef=30, wanted=30, budget=UNBOUNDED
    )
    assert set(found.slots.tolist()) <= set(own.tolist())
    assert found.slots[0] == 4
    slow = reference.search(metric.value, query, plain.vectors, partial, set(range(ROWS)), 30)
    assert found.slots.tolist() == [slot for _, slot in slow]


@settings(deadline=None)  # the first call may compile
@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_packed_distances_keep_their_order(a: float, b: float) -> None:
    first, second = np.float32(a), np.float32(b)
    if first < second:
        assert ordered(first) < ordered(second)
    assert unordered(ordered(first)) == first
