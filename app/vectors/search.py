"""Searching one column of vectors: exactly over chosen rows, or through a graph.

Thread-safe and free of the GIL while it works. Scratch memory is reused per thread.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from app.kernels import scan as kernels
from app.kernels.bits import slots_of
from app.kernels.codes import HUGE
from app.kernels.distance import DOT, SQUARED
from app.kernels.graph import search_graph
from app.kernels.ranking import rank_rows
from app.types import F32, I8, U32, U64, Bits, Metric
from app.vectors.arrays import read_only
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.row_file import RowFile

_scratch = threading.local()
_NOTHING: F32 = read_only(np.empty(0, dtype=np.float32))
_NO_CODES = (None, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


class Walk(NamedTuple):
    """What a graph search found and what it cost.

    slots, distances   uint32[kept], float32[kept], nearest first, all allowed: the wanted ones, and
                       those that tie with the last of them
    found              allowed rows met, at most `ef`
    taken              distances computed
    expanded           nodes whose neighbours were looked at
    stopped            whether the budget ended the search before it was done
    """

    slots: U32
    distances: F32
    found: int
    taken: int
    expanded: int
    stopped: bool


class Scan(NamedTuple):
    """What an exact scan found, as in `Walk`, and how many rows it compared in float32."""

    slots: U32
    distances: F32
    compared: int


def scan(metric: Metric, query: F32, column: Column, allowed: Bits, *, wanted: int) -> Scan:
    """Find the `wanted` nearest of all `allowed` rows (bits over rows), exactly."""
    kind, codes = _kind(metric), _codes(metric, query, column)
    if column.file is not None and codes[0] is None:
        slots = slots_of(allowed)
        return Scan(*_ranked(kind, query, column.file, slots, wanted), slots.size)
    found = Scan(*kernels.scan(kind, query, column.vectors, *codes, _frozen(allowed), wanted))
    if column.file is None:
        return found
    return Scan(*_ranked(kind, query, column.file, found.slots, wanted), found.compared)


def walk(
    metric: Metric,
    query: F32,
    column: Column,
    graph: Graph,
    allowed: Bits,
    *,
    ef: int,
    wanted: int,
    budget: int,
) -> Walk:
    """Search a graph for about the `wanted` nearest rows among `allowed` (bits over rows).

    ef       search width: rows to have found before the walk may end
    budget   most distances to compute; past it the walk ends with `stopped`
    """
    kind, codes = _kind(metric), _codes(metric, query, column)
    if column.file is not None and codes[0] is None:  # nothing at hand to walk by
        return Walk(slots_of(allowed[:0]), _NOTHING, 0, 0, 0, stopped=True)
    nodes = graph.nodes
    found = Walk(
        *search_graph(
            kind,
            query,
            column.vectors,
            *codes,
            graph.slots,
            graph.links,
            graph.upper_links,
            graph.upper_node,
            graph.upper_down,
            graph.entry,
            graph.levels,
            _frozen(allowed),
            max(1, min(ef, nodes)),
            max(1, min(wanted, ef, nodes)),
            budget,
            _visited(nodes),
        )
    )
    if column.file is None:
        return found
    slots, distances = _ranked(kind, query, column.file, found.slots, wanted)
    return found._replace(slots=slots, distances=distances)


def _ranked(kind: int, query: F32, file: RowFile, slots: U32, wanted: int) -> tuple[U32, F32]:
    """Compare rows that are on disk, and keep the nearest, as the kernels do with those at hand."""
    rows = read_only(file.read(slots))
    order, distances = rank_rows(kind, query, rows, np.arange(slots.size, dtype=np.uint32), wanted)
    return slots[order], distances


def _codes(metric: Metric, query: F32, column: Column) -> tuple[I8 | None, F32, F32, F32, F32]:
    """Give the codes that this query can be compared by, as the kernels take them."""
    if column.codes is None:
        return _NO_CODES
    if metric is not Metric.COSINE and not np.abs(query).max() < HUGE:
        return _NO_CODES
    return column.codes.arrays


def _frozen(allowed: Bits) -> Bits:
    """Give bits as read-only: kernels that took either would be compiled, and loaded, twice."""
    return read_only(allowed) if allowed.flags.writeable else allowed


def _kind(metric: Metric) -> int:
    return SQUARED if metric is Metric.L2 else DOT


def _visited(nodes: int) -> U64:
    """Lend this thread's visited marks: uint64[≥ ceil(nodes / 64)], all zero, returned all zero."""
    words = (nodes + 63) // 64
    marks: U64 | None = getattr(_scratch, "visited", None)
    if marks is None or marks.shape[0] < words:
        marks = np.zeros(max(words, 1024), dtype=np.uint64)
        _scratch.visited = marks
    return marks
