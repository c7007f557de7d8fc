"""Building a navigable small-world graph from eight-bit codes alone.

Theory of operation
-------------------
The algorithm is HNSW's (Malkov & Yashunin, arXiv 1603.09320: algorithm 1 inserts, 2 searches a
level, 4 chooses diverse neighbours), with two changes that make it faster:

- Distances are of codes (`app.kernels.codes`), a quarter of the bytes: row i stands as int16 t, row
  j as int8 c, and their distance is  a[i] + b[j] − g[i] Σ t[i] c[j],  with a, b, g of the metric.
- A list of neighbours may grow half as long again before it is cut back by algorithm 4, instead of
  being cut at each new neighbour; a last pass cuts those that are still too long. Much of the time
  of HNSW goes into those cuts.

One thread builds one graph. Levels are drawn by the caller, so a build repeats exactly.

    t, c           int16[n, d], int8[n, d]
    a, b, g        float32[n]
    first_upper    int64[n], the first *upper* of a node (see `app.kernels.graph`); that of level l
                   is first_upper + l − 1
    links          uint32[n, 3M], counts int32[n]: the ground level
    upper_links    uint32[uppers, 3M / 2], upper_counts int32[uppers]
    state          int64[2]: the entry's node, and its level
"""

from __future__ import annotations

import numba as nb
import numpy as np

from app.kernels.distance import row_product
from app.kernels.heap import key_of, number_of, pop_min, push_max, push_min, replace_max, value_of
from app.kernels.prefetch import prefetch_row
from app.types import F32, I8, I16, I32, I64, U32, U64

PREFETCHED_LINES = 8  # of a row of codes: the whole of it up to 512 dimensions


@nb.njit
def _between(t: I16, c: I8, a: F32, b: F32, g: F32, one: int, other: int) -> np.float32:
    distance: np.float32 = a[one] + b[other] - g[one] * np.float32(row_product(t, one, c, other))
    return distance


@nb.njit
def _key(distance: np.float32, node: int) -> np.uint64:
    """Order by distance, then the latest node first: of many equal rows each is linked to those
    just before it, not all to the same first ones."""
    key: np.uint64 = key_of(distance, 0xFFFFFFFF - node)
    return key


@nb.njit
def _node(key: np.uint64) -> np.int64:
    node: np.int64 = 0xFFFFFFFF - number_of(key)
    return node


@nb.njit
def _row(base: I64, lift: int, node: int) -> int:
    """Find the row of a node's links: base[node] + lift, or the node itself if `base` is empty."""
    return base[node] + lift if base.shape[0] > 0 else node


@nb.njit
def _search_level(
    t: I16,
    c: I8,
    a: F32,
    b: F32,
    g: F32,
    links: U32,
    counts: I32,
    base: I64,
    lift: int,
    query: int,
    entry: int,
    ef: int,
    seen: U32,
    tag: np.uint32,
    frontier: U64,
    results: U64,
) -> int:
    """Find the `ef` nearest of a level to row `query`: keys in `results`, ascending; their number.

    base, lift   node → row of `links`, see `_row`
    seen, tag    nodes met by this search are marked with its tag
    frontier     uint64[≥ n]
    """
    lines = min((c.shape[1] + 63) // 64, PREFETCHED_LINES)
    key = _key(_between(t, c, a, b, g, query, entry), entry)
    seen[entry] = tag
    frontier[0] = results[0] = key
    waiting = found = 1
    while waiting > 0:
        key = pop_min(frontier, waiting)
        waiting -= 1
        if found == ef and key > results[0]:
            break
        node = _node(key)
        row = _row(base, lift, node)
        for j in range(counts[row]):
            n = np.int64(links[row, j])
            if seen[n] != tag:
                for line in range(lines):
                    prefetch_row(c, n, line)
        for j in range(counts[row]):
            n = np.int64(links[row, j])
            if seen[n] == tag:
                continue
            seen[n] = tag
            key = _key(_between(t, c, a, b, g, query, n), n)
            if found < ef:
                push_max(results, found, key)
                found += 1
            elif key < results[0]:
                replace_max(results, found, key)
            else:
                continue
            push_min(frontier, waiting, key)
            waiting += 1
            prefetch_row(links, _row(base, lift, n), 0)
    results[:found].sort()
    return found


@nb.njit
def _choose(
    t: I16,
    c: I8,
    a: F32,
    b: F32,
    g: F32,
    node: int,
    keys: U64,
    count: int,
    limit: int,
    chosen: U32,
) -> int:
    """Choose up to `limit` of some candidates, nearest first, each nearer to `node` than to any
    chosen before it; `keys` ascend. All of them if they are fewer than the limit.

    At most half are equal to the node: among many equal rows there must be links that lead away.
    """
    if count < limit:
        for i in range(count):
            chosen[i] = np.uint32(_node(keys[i]))
        return count
    itself = _between(t, c, a, b, g, node, node)
    picked = equals = 0
    for i in range(count):
        candidate = _node(keys[i])
        if value_of(keys[i]) <= itself:
            if equals >= limit // 2:
                continue
            equals += 1
        # As the candidate sees it, like the distances that follow: errors are the same then.
        near = _between(t, c, a, b, g, candidate, node)
        diverse = True
        for j in range(picked):
            if _between(t, c, a, b, g, candidate, np.int64(chosen[j])) < near:
                diverse = False
                break
        if diverse:
            chosen[picked] = np.uint32(candidate)
            picked += 1
            if picked == limit:
                break
    return picked


@nb.njit
def _cut(
    t: I16,
    c: I8,
    a: F32,
    b: F32,
    g: F32,
    links: U32,
    counts: I32,
    row: int,
    node: int,
    limit: int,
    keys: U64,
    chosen: U32,
) -> None:
    """Cut the neighbours of a node back to the best `limit`."""
    count = counts[row]
    for j in range(count):
        n = np.int64(links[row, j])
        keys[j] = _key(_between(t, c, a, b, g, node, n), n)
    keys[:count].sort()
    picked = _choose(t, c, a, b, g, node, keys, count, limit, chosen)
    for j in range(picked):
        links[row, j] = chosen[j]
    counts[row] = picked


@nb.njit(nogil=True, cache=True, boundscheck=False)
def insert_rows(
    t: I16,
    c: I8,
    a: F32,
    b: F32,
    g: F32,
    levels: I64,
    first_upper: I64,
    links: U32,
    counts: I32,
    upper_links: U32,
    upper_counts: I32,
    state: I64,
    start: int,
    end: int,
    m: int,
    ef: int,
) -> None:
    """Insert rows start … end − 1 into a graph of the rows before them; see the module.

    ef   width of the search for neighbours
    """
    n = t.shape[0]
    seen = np.zeros(n, np.uint32)
    tag = np.uint32(0)
    frontier = np.empty(n + 1, np.uint64)
    results = np.empty(max(ef, 1), np.uint64)
    keys = np.empty(links.shape[1] + 1, np.uint64)
    chosen = np.empty(max(ef, links.shape[1]) + 1, np.uint32)
    again = np.empty(links.shape[1] + 1, np.uint32)
    ground = first_upper[:0]
    for node in range(start, end):
        level = levels[node]
        if node == 0:
            state[0], state[1] = 0, level
            continue
        entry, top = state[0], state[1]
        for lift in range(top - 1, -2, -1):  # of level lift + 1
            at = lift + 1
            width = ef if at <= level else 1
            tag += np.uint32(1)
            if at > 0:
                lists, lengths, base, limit = upper_links, upper_counts, first_upper, m
            else:
                lists, lengths, base, limit = links, counts, ground, 2 * m
            found = _search_level(
                t, c, a, b, g, lists, lengths, base, lift, node, entry, width, seen, tag,
                frontier, results,
            )  # fmt: skip
            entry = _node(results[0])
            if at > level:
                continue
            picked = _choose(t, c, a, b, g, node, results, found, m, chosen)
            _connect(
                t, c, a, b, g, lists, lengths, base, lift, node, chosen, picked, limit, keys, again,
            )  # fmt: skip
        if level > top:
            state[0], state[1] = node, level
    if end == n:
        for node in range(n):
            if counts[node] > 2 * m:
                _cut(t, c, a, b, g, links, counts, node, node, 2 * m, keys, again)
            for lift in range(levels[node]):
                row = first_upper[node] + lift
                if upper_counts[row] > m:
                    _cut(t, c, a, b, g, upper_links, upper_counts, row, node, m, keys, again)


@nb.njit
def _connect(
    t: I16,
    c: I8,
    a: F32,
    b: F32,
    g: F32,
    links: U32,
    counts: I32,
    base: I64,
    lift: int,
    node: int,
    chosen: U32,
    picked: int,
    limit: int,
    keys: U64,
    again: U32,
) -> None:
    """Link a node and its chosen neighbours both ways; cut lists that are full."""
    row = _row(base, lift, node)
    for j in range(picked):
        links[row, j] = chosen[j]
    counts[row] = picked
    for j in range(picked):
        n = np.int64(chosen[j])
        other = _row(base, lift, n)
        if counts[other] == links.shape[1]:
            _cut(t, c, a, b, g, links, counts, other, n, limit, keys, again)
        links[other, counts[other]] = np.uint32(node)
        counts[other] += 1
