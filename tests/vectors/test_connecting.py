"""Every node of a graph can be reached, whatever the links and the vectors are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernels import bits
from app.types import F32, I64, IndexSettings, Metric
from app.vectors.builder import build_graph
from app.vectors.column import Column
from app.vectors.connecting import connected
from app.vectors.graph import NONE, Graph
from app.vectors.metric import prepare
from app.vectors.search import walk


def reachable(graph: Graph, at: int) -> set[int]:
    """Walk from a node, one at a time."""
    seen, waiting = {at}, [at]
    while waiting:
        for link in graph.links[waiting.pop()].tolist():
            if link != NONE and link not in seen:
                seen.add(link)
                waiting.append(link)
    return seen


def flat(links: list[list[int]], width: int) -> Graph:
    """A graph of one level."""
    padded = [(own + [NONE] * width)[:width] for own in links]
    nothing = np.empty(0, dtype=np.uint32)
    return Graph(
        np.array(padded, dtype=np.uint32),
        np.empty((0, width // 2), dtype=np.uint32), nothing, nothing, nothing, entry=0, levels=0,
    )  # fmt: skip


def first(_: int, among: I64) -> int:
    return int(among[0])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes = draw(st.integers(1, 30))
    width = draw(st.sampled_from([2, 4]))
    others = [[other for other in range(nodes) if other != node] for node in range(nodes)]
    links = [
        draw(st.lists(st.sampled_from(own), max_size=width, unique=True)) if own else []
        for own in others
    ]
    return flat(links, width)


@given(graphs())
def test_every_node_can_be_reached_and_lists_stay_lists(graph: Graph) -> None:
    mended = connected(graph, first)
    for start in range(graph.nodes):
        assert reachable(mended, start) == set(range(graph.nodes))
    assert mended.links.shape == graph.links.shape
    for own in mended.links.tolist():
        used = [link for link in own if link != NONE]
        assert own == used + [NONE] * (len(own) - len(used)), "padding stands at the end"
        assert len(set(used)) == len(used)


def test_a_graph_that_holds_together_is_not_touched() -> None:
    graph = flat([[1], [2], [0]], 2)
    assert connected(graph, first) is graph


def test_a_full_neighbour_gives_up_a_link_that_is_not_needed() -> None:
    graph = flat([[1, 2], [0, 2], [0, 1], [1]], 2)
    mended = connected(graph, first)
    assert mended.links.tolist()[0] == [1, 2]
    assert 3 in mended.links[1]


def far_and_equal() -> F32:
    """Points of very different lengths, and two heaps of equal ones."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(2500, 32)) * rng.lognormal(sigma=0.5, size=(2500, 1))
    heaps = np.repeat(rng.normal(size=(2, 32)), 150, axis=0)
    return np.concatenate([spread, heaps]).astype(np.float32)


@pytest.mark.parametrize("metric", list(Metric))
def test_every_point_of_a_built_graph_is_found_by_a_wide_search(
    metric: Metric, tmp_path: Path
) -> None:
    vectors = prepare(metric, far_and_equal())
    settings = IndexSettings(m=4, ef_construction=20)
    graph = build_graph(vectors[:1000], metric, settings, scratch=tmp_path)
    graph = build_graph(vectors, metric, settings, scratch=tmp_path, base=graph)
    assert reachable(graph, len(vectors) - 1) == set(range(len(vectors)))
    everything = bits.full(len(vectors))
    everything.flags.writeable = False
    found = walk(
        metric, vectors[0], Column(vectors), graph, everything,
        ef=len(vectors), wanted=len(vectors), budget=1 << 60,
    )  # fmt: skip
    assert found.found == len(vectors)
