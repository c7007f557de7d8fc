"""The graph search in plain Python: the compiled kernel's slow twin, written from the paper.

Sets, lists and the standard heap; no packing, no prefetching, no cleverness.
"""

from __future__ import annotations

import heapq

import numpy as np

from app.types import F32
from app.vectors.graph import NONE, Graph


def distance(kind: str, query: F32, row: F32) -> float:
    """Squared Euclidean distance, or minus the inner product, in float64."""
    q, x = query.astype(np.float64), row.astype(np.float64)
    return float(((q - x) ** 2).sum()) if kind == "l2" else float(-(q @ x))


def search(
    kind: str, query: F32, vectors: F32, graph: Graph, allowed: set[int], ef: int
) -> list[tuple[float, int]]:
    """Find about the `ef` nearest allowed slots: (distance, slot), nearest first."""

    def slot_of(node: int) -> int:
        return int(graph.slots[node]) if graph.slots.size else node

    def far(node: int) -> float:
        return distance(kind, query, vectors[slot_of(node)])

    current = graph.entry
    if graph.levels:
        for _ in range(graph.levels):
            best = far(int(graph.upper_node[current]))
            while True:
                links = [link for link in graph.upper_links[current].tolist() if link != NONE]
                near = min(((far(int(graph.upper_node[to])), to) for to in links), default=None)
                if near is None or near[0] >= best:
                    break
                best, current = near
            current = int(graph.upper_down[current])

    seen = {current}
    start = (far(current), current)
    frontier = [start]
    results: list[tuple[float, int]] = []
    if slot_of(current) in allowed:
        results.append(start)
    while frontier:
        d, node = heapq.heappop(frontier)
        if len(results) == ef and (d, node) > max(results):
            break
        for link in graph.links[node].tolist():
            if link == NONE:
                break
            if link in seen:
                continue
            seen.add(link)
            found = (far(link), link)
            if len(results) < ef or found < max(results):
                heapq.heappush(frontier, found)
                if slot_of(link) in allowed:
                    results.append(found)
                    if len(results) > ef:
                        results.remove(max(results))
    return [(d, slot_of(node)) for d, node in sorted(results)]
