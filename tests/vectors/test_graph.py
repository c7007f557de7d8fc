"""Graphs that lead out of their arrays are refused when opened, whatever checksums say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.errors import CorruptFile
from app.types import IndexSettings, Metric
from app.vectors.builder import build_graph
from app.vectors.graph import Graph

NODES = 500


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    vectors = np.random.default_rng(0).normal(size=(NODES, 4)).astype(np.float32)
    scratch = tmp_path_factory.mktemp("scratch")
    built = build_graph(vectors, Metric.L2, IndexSettings(4, 20), scratch=scratch)
    assert built.levels >= 2
    return built


def opened(graph: Graph, folder: Path, rows: int = NODES) -> Graph:
    graph.save(folder, "g")
    return Graph.open(folder, "g", entry=graph.entry, levels=graph.levels, rows=rows)


def test_a_graph_that_was_built_is_opened(graph: Graph, tmp_path: Path) -> None:
    assert opened(graph, tmp_path).nodes == NODES


def changed(name: str, place: tuple[int, ...], value: int) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        array = getattr(graph, name).copy()
        array[place] = value
        return replace(graph, **{name: array})

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("links", (7, 3), NODES),
        changed("links", (NODES - 1, 0), 2**32 - 2),
        changed("upper_links", (0, 0), 10_000),
        changed("upper_links", (0, 0), -1 % 2**32 - 1),
        changed("upper_node", (0,), NODES),
        changed("upper_node", (0,), 2**32 - 1),
        changed("upper_down", (0,), NODES - 1),
        lambda graph: changed("upper_links", (0, 0), graph.entry)(graph),  # another level
        lambda graph: changed("upper_down", (graph.entry,), NODES - 1)(graph),
        lambda graph: replace(graph, entry=0),
        lambda graph: replace(graph, entry=-1),
        lambda graph: replace(graph, levels=graph.levels + 1),
        lambda graph: replace(graph, levels=-1),
        lambda graph: replace(graph, slots=np.full(NODES, NODES, np.uint32)),
        lambda graph: replace(graph, slots=np.zeros(NODES - 1, np.uint32)),
    ],
)
def test_a_graph_that_leads_outside_is_refused(
    graph: Graph, tmp_path: Path, change: Callable[[Graph], Graph]
) -> None:
    with pytest.raises(CorruptFile, match="do not fit together"):
        opened(change(graph), tmp_path)


def test_a_graph_over_more_rows_than_there_are_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        opened(graph, tmp_path, rows=NODES - 1)
