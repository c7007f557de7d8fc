"""Filtered search of one navigable small-world graph, without a callback and without the GIL.

Theory of operation
-------------------
The graph is HNSW (Malkov & Yashunin, arXiv 1603.09320) kept as plain arrays, so that any number of
graphs can share one array of vectors:

    vectors      float32[slots, d]     one row per slot
    slots        uint32[nodes] or [0]  node → slot; empty means node = slot
    links        uint32[nodes, 2M]     ground-level neighbours, padded with NONE at the end
    upper_links  uint32[uppers, M]     neighbours on the higher levels; every (node, level) pair is
                                       one *upper*, and links stay within a level
    upper_node   uint32[uppers]        upper → node
    upper_down   uint32[uppers]        upper → the same node one level below (a node on level 1)

A search descends greedily from the entry (algorithm 2 of the paper with ef = 1), then runs a
best-first search on the ground level: a min-heap of nodes to expand, a max-heap of the `ef` best
*allowed* nodes found. Nodes that the filter rejects are walked through but never enter the
results, so a filter cannot cut the graph apart; the price is that the walk grows as matches get
rarer, which is why `budget` bounds the number of distances: past it the search stops and says so,
and the caller answers exactly instead.

Heap entries are single uint64: the distance's bits, made order-preserving, above the node number.
One comparison orders by distance and breaks ties by node, so results are reproducible.

Memory latency dominates: before any distance of a neighbourhood is taken, the first cache lines
of every unvisited neighbour's vector are prefetched.

When the layout changes, `app.vectors.graph` (which writes these arrays) and the plain twin in
`tests/kernels/reference.py` change with it.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.distance import distance
from app.kernels.prefetch import prefetch_row
from app.types import F32, I64, U32, U64, Bits

NONE = np.uint32(0xFFFFFFFF)
PREFETCHED_LINES = 4  # of a neighbour's vector: measured best of 1, 2, 4, 8 at 384 dimensions


@nb.njit
def ordered(value: np.float32) -> np.uint64:
    """Map a float32 to a uint32 (as uint64) of the same order, negative numbers included."""
    word = np.int64(np.float32(value).view(np.int32))
    if word < 0:
        return np.uint64(~word & 0xFFFFFFFF)
    return np.uint64(word | 0x80000000)


@nb.njit
def unordered(key: np.uint64) -> np.float32:
    """Invert `ordered`."""
    word = np.int64(key)
    if word & 0x80000000:
        return np.int32(word & 0x7FFFFFFF).view(np.float32)
    return np.int32(~word).view(np.float32)


@nb.njit
def push_min(heap: U64, size: int, key: np.uint64) -> None:
    """Sift `key` into the min-heap `heap[:size]`, which grows to `size + 1`."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] <= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@nb.njit
def pop_min(heap: U64, size: int) -> np.uint64:
    """Take the least key out of the min-heap `heap[:size]`, which shrinks to `size − 1`."""
    top: np.uint64 = heap[0]
    last = heap[size - 1]
    size -= 1
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return top


@nb.njit
def push_max(heap: U64, size: int, key: np.uint64) -> None:
    """Sift `key` into the max-heap `heap[:size]`, which grows to `size + 1`."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent] >= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


@nb.njit
def replace_max(heap: U64, size: int, key: np.uint64) -> None:
    """Replace the greatest key of the max-heap `heap[:size]` by `key`."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = key


@nb.njit(nogil=True, cache=True, fastmath=True, boundscheck=False)
def search_graph(
    kind: int,
    query: F32,
    vectors: F32,
    slots: U32,
    links: U32,
    upper_links: U32,
    upper_node: U32,
    upper_down: U32,
    entry: int,
    levels: int,
    allowed: Bits,
    ef: int,
    budget: int,
    visited: U64,
    out_slots: U32,
    out_distances: F32,
    counters: I64,
) -> int:
    """Find about the `ef` nearest allowed rows; return how many were found, nearest first.

    entry          upper (levels > 0) or node (levels = 0) where the search starts
    levels         levels above the ground
    allowed        bits over slots: what may be returned
    ef             search width, at least 1
    budget         most distances to take before giving up
    visited        uint64[ceil(nodes / 64)], all zero; left all zero
    out_slots      uint32[≥ ef], receives slots; out_distances float32[≥ ef] likewise
    counters       int64[3], receives: distances taken, nodes expanded, and 1 if the budget ended
                   the search

    Source: algorithms 2 and 5 of arXiv 1603.09320, with the filter on the result heap only.
    """
    mapped = slots.shape[0] > 0
    dimension = query.shape[0]
    lines = min((dimension * 4 + 63) // 64, PREFETCHED_LINES)
    width = links.shape[1]
    taken = 0
    expanded = 0
    stopped = 0

    current = np.int64(entry)
    if levels > 0:
        node = np.int64(upper_node[current])
        slot = np.int64(slots[node]) if mapped else node
        best = distance(kind, query, vectors[slot])
        taken += 1
        for _ in range(levels):
            moved = True
            while moved:
                moved = False
                row = current
                for j in range(upper_links.shape[1]):
                    link = upper_links[row, j]
                    if link == NONE:
                        break
                    node = np.int64(upper_node[link])
                    slot = np.int64(slots[node]) if mapped else node
                    d = distance(kind, query, vectors[slot])
                    taken += 1
                    if d < best:
                        best = d
                        current = np.int64(link)
                        moved = True
            current = np.int64(upper_down[current])

    slot = np.int64(slots[current]) if mapped else current
    d = distance(kind, query, vectors[slot])
    taken += 1
    key = (ordered(d) << np.uint64(32)) | np.uint64(current)

    frontier = np.empty(1024, np.uint64)
    results = np.empty(ef, np.uint64)
    fresh = np.empty(width, np.int64)
    frontier[0] = key
    waiting = 1
    found = 0
    visited[current >> 6] |= np.uint64(1) << np.uint64(current & 63)
    if (allowed[slot >> 6] >> np.uint64(slot & 63)) & np.uint64(1):
        results[0] = key
        found = 1

    while waiting > 0:
        key = pop_min(frontier, waiting)
        waiting -= 1
        if found == ef and key > results[0]:
            break
        if taken >= budget:
            stopped = 1
            break
        node = np.int64(key & np.uint64(0xFFFFFFFF))
        expanded += 1

        unseen = 0
        for j in range(width):
            link = links[node, j]
            if link == NONE:
                break
            n = np.int64(link)
            word = visited[n >> 6]
            bit = np.uint64(1) << np.uint64(n & 63)
            if word & bit:
                continue
            visited[n >> 6] = word | bit
            fresh[unseen] = n
            unseen += 1
            slot = np.int64(slots[n]) if mapped else n
            for line in range(lines):
                prefetch_row(vectors, slot, line)

        if waiting + unseen > frontier.shape[0]:
            grown = np.empty(2 * frontier.shape[0] + width, np.uint64)
            grown[:waiting] = frontier[:waiting]
            frontier = grown

        for j in range(unseen):
            n = fresh[j]
            slot = np.int64(slots[n]) if mapped else n
            d = distance(kind, query, vectors[slot])
            key = (ordered(d) << np.uint64(32)) | np.uint64(n)
            if found < ef or key < results[0]:
                push_min(frontier, waiting, key)
                waiting += 1
                prefetch_row(links, n, 0)
                prefetch_row(links, n, 1)
                if (allowed[slot >> 6] >> np.uint64(slot & 63)) & np.uint64(1):
                    if found < ef:
                        push_max(results, found, key)
                        found += 1
                    else:
                        replace_max(results, found, key)
        taken += unseen

    visited[:] = np.uint64(0)
    results[:found].sort()
    for i in range(found):
        node = np.int64(results[i] & np.uint64(0xFFFFFFFF))
        out_slots[i] = slots[node] if mapped else np.uint32(node)
        out_distances[i] = unordered(results[i] >> np.uint64(32))
    counters[0] = taken
    counters[1] = expanded
    counters[2] = stopped
    return found
