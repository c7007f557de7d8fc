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
    def open(cls, folder: Path, prefix: str, *, entry: int, levels: int) -> Graph:
        """Map the arrays read-only. Raises CorruptFile where they do not fit together.

        Contents are trusted to the checksums kept beside them: a link outside the graph would be
        read by compiled code without a check.
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
            and 0 <= entry < (uppers if levels else nodes)
        )
        if not whole:
            raise CorruptFile(f"the arrays of graph {prefix!r} do not fit together")
        return cls(entry=entry, levels=levels, **arrays)


_ARRAYS = ("links", "upper_links", "upper_node", "upper_down", "slots")


def link_bytes(nodes: int) -> int:
    """Count the bytes of a compact ground link: 2 where 16 bits can number the nodes, else 4."""
    return 2 if nodes <= np.iinfo(np.uint16).max else 4


def compact(graph: Graph) -> Graph:
    """Keep the ground links in as few bytes as they need."""
    if link_bytes(graph.nodes) == graph.links.itemsize:
        return graph
    # NONE, cut to 16 bits, is the NONE of 16 bits.
    return replace(graph, links=graph.links.astype(np.uint16))
