"""Searching one array of vectors: exactly over chosen rows, or through a graph.

Thread-safe and free of the GIL while it works. Scratch memory is reused per thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from app.kernels.distance import DOT, SQUARED
from app.kernels.graph import search_graph
from app.kernels.scan import distances_to
from app.types import F32, U32, U64, Bits, Metric
from app.vectors.graph import Graph

_scratch = threading.local()


@dataclass(frozen=True, slots=True)
class Walk:
    """What a graph search found and what it cost.

    slots, distances   uint32[found], float32[found], nearest first, all allowed
    taken              distances computed
    expanded           nodes whose neighbours were looked at
    stopped            whether the budget ended the search before it was done
    """

    slots: U32
    distances: F32
    taken: int
    expanded: int
    stopped: bool


def distances(metric: Metric, query: F32, vectors: F32, slots: U32) -> F32:
    """Compute the distances float32[n] of a prepared query to `vectors[slots]`."""
    out = np.empty(slots.shape[0], dtype=np.float32)
    distances_to(_kind(metric), query, vectors, slots, out)
    return out


def walk(
    metric: Metric, query: F32, vectors: F32, graph: Graph, allowed: Bits, *, ef: int, budget: int
) -> Walk:
    """Search a graph for about the `ef` nearest rows among `allowed` (bits over rows).

    budget   most distances to compute; past it the walk ends with `stopped`
    """
    ef = max(1, min(ef, graph.nodes))
    slots = np.empty(ef, dtype=np.uint32)
    found_distances = np.empty(ef, dtype=np.float32)
    counters = np.zeros(3, dtype=np.int64)
    found = search_graph(
        _kind(metric),
        query,
        vectors,
        graph.slots,
        graph.links,
        graph.upper_links,
        graph.upper_node,
        graph.upper_down,
        graph.entry,
        graph.levels,
        allowed,
        ef,
        budget,
        _visited(graph.nodes),
        slots,
        found_distances,
        counters,
    )
    taken, expanded, stopped = counters.tolist()
    return Walk(slots[:found], found_distances[:found], taken, expanded, bool(stopped))


def _kind(metric: Metric) -> int:
    return SQUARED if metric is Metric.L2 else DOT


def _visited(nodes: int) -> U64:
    """Lend this thread's visited marks: uint64[ceil(nodes / 64)], all zero, returned all zero."""
    words = (nodes + 63) // 64
    marks: U64 | None = getattr(_scratch, "visited", None)
    if marks is None or marks.shape[0] < words:
        marks = np.zeros(max(words, 1024), dtype=np.uint64)
        _scratch.visited = marks
    return marks[:words]
