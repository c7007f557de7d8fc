"""Builds graphs from eight-bit codes: faster than from vectors, and as good to search.

For graphs over a part of the rows (`app.segments.covers`). The whole graph comes from
`app.vectors.builder`, which can also extend one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.kernels.build import insert_rows
from app.types import F32, U32, IndexSettings, Metric
from app.vectors.codes import LEVEL, Codes
from app.vectors.graph import NONE, Graph

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all) from the building thread."""

_CHUNK = 4096  # rows between two progress calls
_SEED = 100  # of the level draw: builds repeat exactly


def build_from_codes(
    codes: Codes,
    rows: U32,
    metric: Metric,
    settings: IndexSettings,
    *,
    progress: Progress | None = None,
) -> Graph:
    """Build a graph over some rows, uint32[nodes ≥ 1], ascending: `slots` of the graph are these.

    Takes 3d + 12m bytes a node for its duration, and one thread, without the GIL.
    """
    c = codes.codes[rows]
    t, a, b, g = _operands(codes, rows, metric)
    m, nodes = settings.m, len(rows)
    # Exponentially fewer nodes a level: section 4.1 of arXiv 1603.09320, with its mL = 1 / ln M.
    drawn = 1.0 - np.random.default_rng(_SEED).random(nodes)
    levels = np.floor(-np.log(drawn) / np.log(m)).astype(np.int64)
    first_upper = np.cumsum(levels) - levels
    uppers = int(levels.sum())
    links = np.empty((nodes, 3 * m), dtype=np.uint32)
    counts = np.zeros(nodes, dtype=np.int32)
    upper_links = np.empty((uppers, 3 * m // 2), dtype=np.uint32)
    upper_counts = np.zeros(uppers, dtype=np.int32)
    state = np.zeros(2, dtype=np.int64)
    for start in range(0, nodes, _CHUNK):
        end = min(start + _CHUNK, nodes)
        insert_rows(
            t, c, a, b, g, levels, first_upper, links, counts, upper_links, upper_counts, state,
            start, end, m, settings.ef_construction,
        )  # fmt: skip
        if progress is not None:
            progress(end, nodes)
    upper_node = np.repeat(np.arange(nodes), levels)
    lifts = np.arange(uppers) - first_upper[upper_node]
    linked = np.arange(upper_links.shape[1])[None, :] < upper_counts[:, None]
    to = first_upper[np.where(linked, upper_links, 0)] + lifts[:, None]  # nodes to their uppers
    upper_links[linked] = to[linked]
    upper_down = np.arange(uppers) - 1
    upper_down[first_upper[levels > 0]] = np.flatnonzero(levels)
    top = int(state[1])
    return Graph(
        links=_padded(links, counts, 2 * m),
        upper_links=_padded(upper_links, upper_counts, m),
        upper_node=upper_node.astype(np.uint32),
        upper_down=upper_down.astype(np.uint32),
        slots=rows,
        entry=int(first_upper[state[0]]) + top - 1 if top else int(state[0]),
        levels=top,
    )


def _operands(codes: Codes, rows: U32, metric: Metric) -> tuple[np.ndarray, F32, F32, F32]:
    """Make t, a, b, g of `app.kernels.build` from the rows' codes."""
    dimension = len(codes.steps)
    most = min(32767, (2**31 - 1) // (LEVEL * dimension))
    t = np.empty((len(rows), dimension), dtype=np.int16)
    g = np.empty(len(rows), dtype=np.float32)
    a = np.zeros(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        row = codes.codes[rows[part]] * codes.steps
        if metric is not Metric.L2:
            row += codes.middles
            a[part] = -(row @ codes.middles)
        row *= codes.steps
        factors = np.abs(row).max(axis=1) / most
        factors[factors == 0] = 1.0
        t[part] = np.rint(row / factors[:, None]).astype(np.int16)
        g[part] = factors
    if metric is not Metric.L2:
        return t, a, np.zeros_like(a), g
    norms = codes.norms[rows]
    return t, norms, norms, 2 * g


def _padded(links: U32, counts: np.ndarray, width: int) -> U32:
    """Cut lists to `width`, the most that they hold, and pad them with NONE."""
    cut = np.ascontiguousarray(links[:, :width])
    cut[np.arange(width)[None, :] >= counts[:, None]] = NONE
    return cut
