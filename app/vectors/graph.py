"""A navigable graph over some rows of a vector array, as plain arrays that can be mapped.

The arrays are described in `app.kernels.graph`. A graph never holds vectors: any number of graphs
can stand over the same ones. On disk each array is a `.npy` file; the two numbers (`entry`,
`levels`) are kept by whoever keeps the file list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.errors import CorruptFile
from app.types import U16, U32
from app.vectors.arrays import map_array, save_array

NONE = 0xFFFFFFFF
"""Pads neighbour lists; no node has this number. In 16 bits it is 0xFFFF."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph.

    links        uint32 or uint16 [nodes, 2m], neighbours on the ground level, then NONE
    upper_links  uint32[uppers, m], neighbours on the levels above, as uppers
    upper_node   uint32[uppers], the node of an upper
    upper_down   uint32[uppers], the same node one level below: an upper, or a node on level 1
    slots        uint32[nodes], the vector row of a node; empty where node = row
    entry        where searches start: an upper, or a node if `levels` is 0
    levels       levels above the ground
    """

    links: U32 | U16
    upper_links: U32
    upper_node: U32
    upper_down: U32
    slots: U32
    entry: int
    levels: int

    @property
    def nodes(self) -> int:
        """Count the graph's nodes."""
        return int(self.links.shape[0])

    @property
    def nbytes(self) -> int:
        """Sum the bytes of the arrays."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS)

    def save(self, folder: Path, prefix: str) -> list[Path]:
        """Write the arrays as new files `{prefix}.{array}.npy`; the caller syncs them."""
        paths = []
        for name in _ARRAYS:
            path = folder / f"{prefix}.{name}.npy"
            save_array(path, getattr(self, name))
            paths.append(path)
        return paths

    @classmethod
    def open(cls, folder: Path, prefix: str, *, entry: int, levels: int, rows: int) -> Graph:
        """Map the arrays read-only. Raises CorruptFile where they do not fit together.

        rows   of the vectors that the graph stands over

        All that a walk goes by is checked, since compiled code follows links without looking: a
        checksum says that a file is the one that was written, not that it was written well.
        """
        arrays = {
            name: map_array(
                folder / f"{prefix}.{name}.npy",
                (np.uint32, np.uint16) if name == "links" else (np.uint32,),
                2 if "links" in name else 1,
            )
            for name in _ARRAYS
        }
        uppers = arrays["upper_node"].shape[0]
        nodes = arrays["links"].shape[0]
        whole = (
            arrays["upper_down"].shape == (uppers,)
            and arrays["upper_links"].shape[0] == uppers
            and arrays["slots"].shape[0] in (0, nodes)
            and levels >= 0
            and 0 <= entry < (uppers if levels else nodes)
        )
        graph = cls(entry=entry, levels=levels, **arrays)
        if not whole or not _stays_inside(graph, rows):
            raise CorruptFile(f"the arrays of graph {prefix!r} do not fit together")
        return graph


_ARRAYS = ("links", "upper_links", "upper_node", "upper_down", "slots")

_CHECKED = 1 << 16  # rows of links looked at together, for the memory of a copy


def _stays_inside(graph: Graph, rows: int) -> bool:
    """Tell whether no walk can leave the arrays."""
    nodes, uppers = graph.nodes, int(graph.upper_node.shape[0])
    if graph.links.dtype == np.uint16 and nodes > np.iinfo(np.uint16).max:
        return False
    for start in range(0, nodes, _CHECKED):
        if not _lead_inside(graph.links[start : start + _CHECKED], nodes):
            return False
    if graph.slots.shape[0]:
        if int(graph.slots.max()) >= rows:
            return False
    elif nodes > rows:
        return False
    if not graph.levels:
        return True
    if int(graph.upper_node.max()) >= nodes or not _lead_inside(graph.upper_links, uppers):
        return False
    # However uppers are numbered, those of one node ascend with their levels.
    order = np.argsort(graph.upper_node, kind="stable")
    node = graph.upper_node[order].astype(np.int64)
    first = np.r_[True, node[1:] != node[:-1]]
    place = np.arange(uppers)
    level = np.empty(uppers, dtype=np.int64)
    level[order] = place - np.maximum.accumulate(np.where(first, place, 0)) + 1
    down = np.empty(uppers, dtype=np.int64)
    down[order] = np.where(first, node, np.r_[0, order[:-1]])
    linked = graph.upper_links != NONE
    to = np.where(linked, graph.upper_links, 0)
    return bool(
        (graph.upper_down == down).all()
        and ((level[to] == level[:, None]) | ~linked).all()
        and level[graph.entry] == graph.levels
    )


def _lead_inside(links: U32 | U16, end: int) -> bool:
    """Tell whether all links are below `end`, or NONE, which one more makes 0."""
    return not links.size or int((links + links.dtype.type(1)).max()) <= end


def link_bytes(nodes: int) -> int:
    """Count the bytes of a compact ground link: 2 where 16 bits can number the nodes, else 4."""
    return 2 if nodes <= np.iinfo(np.uint16).max else 4


def compact(graph: Graph) -> Graph:
    """Keep the ground links in as few bytes as they need."""
    if link_bytes(graph.nodes) == graph.links.itemsize:
        return graph
    # NONE, cut to 16 bits, is the NONE of 16 bits.
    return replace(graph, links=graph.links.astype(np.uint16))
