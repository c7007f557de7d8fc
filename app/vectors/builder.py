"""Graphs are built by hnswlib: from nothing, or by extending one. Its only importer.

hnswlib releases the GIL and uses its own threads. It copies the vectors into its index, so a build
needs about (4d + 8m + 20) bytes a row for its duration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import hnswlib
import numpy as np

from app.types import F32, I64, IndexSettings, Metric
from app.vectors.connecting import connected
from app.vectors.graph import Graph
from app.vectors.layout import read_graph, write_graph

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all) from the building thread."""

_CHUNK = 2048  # rows between two progress calls; large enough that threads are started rarely
_SEED = 100  # of the level draw: with one thread, builds repeat exactly


def build_graph(
    vectors: F32,
    metric: Metric,
    settings: IndexSettings,
    *,
    scratch: Path,
    threads: int = 1,
    base: Graph | None = None,
    progress: Progress | None = None,
) -> Graph:
    """Build a graph over all rows of vectors float32[rows ≥ 1, d], prepared for the metric.

    Every node can be reached from its entry (`app.vectors.connecting`).

    base      a graph over the first `base.nodes` of these rows, built with the same `m`: it is
              extended by the other rows instead of building anew
    scratch   a folder for the temporary index file, about the size of the vectors
    threads   1 gives the same graph each time; more are faster and vary slightly
    """
    rows, dimension = vectors.shape
    if metric is Metric.IP:
        vectors = vectors / _longest(vectors)
    index = hnswlib.Index(space="l2" if metric is Metric.L2 else "ip", dim=dimension)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        file = Path(folder) / "graph.hnsw"
        done = 0
        if base is None:
            index.init_index(
                max_elements=rows,
                M=settings.m,
                ef_construction=settings.ef_construction,
                random_seed=_SEED,
            )
        else:
            done = base.nodes
            write_graph(file, base, vectors[:done], ef_construction=settings.ef_construction)
            index.load_index(str(file), max_elements=rows)
        while done < rows:
            upto = min(done + _CHUNK, rows)
            index.add_items(vectors[done:upto], np.arange(done, upto), num_threads=threads)
            done = upto
            if progress is not None:
                progress(done, rows)
        index.save_index(str(file))
        del index
        graph = read_graph(file, dimension)

    def nearest(node: int, among: I64) -> int:
        others = vectors[among]
        if metric is Metric.L2:
            return int(among[np.argmin(((others - vectors[node]) ** 2).sum(axis=1))])
        return int(among[np.argmax(others @ vectors[node])])

    return connected(graph, nearest)


def _longest(vectors: F32) -> np.float32:
    """Find the largest length, or 1 if there is none.

    hnswlib compares 1 − q·x in float32, which cannot tell small products apart; dividing all rows
    by one number changes no order.
    """
    longest = max(
        float(np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64).max()))
        for part in np.array_split(vectors, max(1, len(vectors) // 65536))
    )
    return np.float32(longest or 1.0)
