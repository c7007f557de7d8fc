"""Filtered search of one navigable small-world graph, without a callback and without the GIL.

Theory of operation
-------------------
The graph is HNSW (Malkov & Yashunin, arXiv 1603.09320) kept as plain arrays, so that any number of
graphs can share one array of vectors:

    vectors      float32[slots, d]     one row per slot, and their codes (`app.kernels.codes`)
    slots        uint32[nodes] or [0]  node → slot; empty means node = slot
    links        uint32[nodes, 2M]     ground-level neighbours, padded with NONE at the end;
                                       or uint16, where NONE is 0xFFFF
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

Where there are codes the walk compares by them, and only what can still be among the nearest is
compared again in float32 (`app.kernels.ranking`). Heap entries are keys of `app.kernels.heap`.

Memory latency dominates: before any distance of a neighbourhood is taken, the first cache lines
of every unvisited neighbour's row are prefetched.

When the layout changes, `app.vectors.graph` (which writes these arrays) and the plain twin in
`tests/kernels/reference.py` change with it.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.codes import encode_query, value
from app.kernels.heap import key_of, number_of, pop_min, push_max, push_min, replace_max, value_of
from app.kernels.prefetch import prefetch_row
from app.kernels.ranking import rank
from app.types import F32, I8, U16, U32, U64, Bits

NONE = np.uint32(0xFFFFFFFF)
PREFETCHED_LINES = 4  # of a neighbour's vector: measured best of 1, 2, 4, 8 at 384 dimensions
PREFETCHED_CODE_LINES = 8  # of its codes: the whole row up to 512 dimensions


@nb.njit(nogil=True, cache=True, boundscheck=False)
def search_graph(
    kind: int,
    query: F32,
    vectors: F32,
    codes: I8 | None,
    middles: F32,
    steps: F32,
    norms: F32,
    bounds: F32,
    slots: U32,
    links: U32 | U16,
    upper_links: U32,
    upper_node: U32,
    upper_down: U32,
    entry: int,
    levels: int,
    allowed: Bits,
    ef: int,
    wanted: int,
    budget: int,
    visited: U64,
) -> tuple[U32, F32, int, int, int, bool]:
    """Find about the `wanted` nearest allowed rows, and those that tie with the last of them.

    entry          upper (levels > 0) or node (levels = 0) where the search starts
    levels         levels above the ground
    allowed        bits over slots: what may be returned
    ef             search width, at least `wanted`
    wanted         rows to return, at least 1
    budget         most distances to take before giving up
    visited        uint64[ceil(nodes / 64)], all zero; left all zero
    returns        slots uint32[kept], distances float32[kept], nearest first; allowed rows that the
                   walk found (at most `ef`); distances taken; nodes expanded; whether the budget
                   ended the search

    Source: algorithms 2 and 5 of arXiv 1603.09320, with the filter on the result heap only.
    """
    mapped = slots.shape[0] > 0
    t, factor, margin = encode_query(kind, query, codes, middles, steps, bounds)
    dimension = query.shape[0]
    if codes is None:
        lines = min((dimension * 4 + 63) // 64, PREFETCHED_LINES)
    else:
        lines = min((dimension + 63) // 64, PREFETCHED_CODE_LINES)
    width = links.shape[1]
    none = NONE if links.itemsize == 4 else np.uint32(0xFFFF)
    taken = 1
    expanded = 0
    stopped = False

    current = np.int64(entry)
    if levels > 0:
        node = np.int64(upper_node[current])
        slot = np.int64(slots[node]) if mapped else node
        best = value(kind, query, vectors, t, factor, codes, norms, slot)
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
                    d = value(kind, query, vectors, t, factor, codes, norms, slot)
                    taken += 1
                    if d < best:
                        best = d
                        current = np.int64(link)
                        moved = True
            current = np.int64(upper_down[current])

    slot = np.int64(slots[current]) if mapped else current
    key = key_of(value(kind, query, vectors, t, factor, codes, norms, slot), current)

    frontier = np.empty(1024, np.uint64)
    results = np.empty(ef, np.uint64)
    seen = np.empty(2048, np.uint32)
    frontier[0] = key
    waiting = 1
    found = 0
    marked = 1
    seen[0] = np.uint32(current)
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
            stopped = True
            break
        node = number_of(key)
        expanded += 1

        if marked + width > seen.shape[0]:
            more_seen = np.empty(2 * seen.shape[0] + width, np.uint32)
            more_seen[:marked] = seen[:marked]
            seen = more_seen
        first = marked
        for j in range(width):
            link = np.uint32(links[node, j])
            if link == none:
                break
            n = np.int64(link)
            word = visited[n >> 6]
            bit = np.uint64(1) << np.uint64(n & 63)
            if word & bit:
                continue
            visited[n >> 6] = word | bit
            seen[marked] = link
            marked += 1
            slot = np.int64(slots[n]) if mapped else n
            for line in range(lines):
                if codes is None:
                    prefetch_row(vectors, slot, line)
                else:
                    prefetch_row(codes, slot, line)

        if waiting + marked - first > frontier.shape[0]:
            grown = np.empty(2 * frontier.shape[0] + width, np.uint64)
            grown[:waiting] = frontier[:waiting]
            frontier = grown

        for j in range(first, marked):
            n = np.int64(seen[j])
            slot = np.int64(slots[n]) if mapped else n
            key = key_of(value(kind, query, vectors, t, factor, codes, norms, slot), n)
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
        taken += marked - first

    for j in range(marked):  # not the whole array: it grows with the graph, the walk hardly does
        visited[seen[j] >> 6] = np.uint64(0)

    results[:found].sort()
    close = found
    if codes is not None and found > wanted:
        limit = value_of(results[wanted - 1]) + margin
        close = wanted
        while close < found and value_of(results[close]) <= limit:
            close += 1
    candidates = np.empty(close, np.uint32)
    for i in range(close):
        node = number_of(results[i])
        candidates[i] = slots[node] if mapped else np.uint32(node)
    kept, distances = rank(kind, query, vectors, candidates, wanted)
    if codes is not None:
        taken += close
    return kept, distances, found, taken, expanded, stopped
