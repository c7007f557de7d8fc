"""The walk itself: hnswlib's search and ours over one graph, in turns, in one process on one core.

hnswlib builds an index, its file is read into our arrays (`app.vectors.layout`), and both search
the same links from the same entry. Each call is one query from Python: `knn_query` with one
thread there, `app.vectors.search.walk` here, with eight-bit codes and without. Nothing of the
engine around the walk takes part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.kernels import bits, warm
from app.planner.planner import UNBOUNDED
from app.types import Metric
from app.vectors.arrays import read_only
from app.vectors.codes import Codes
from app.vectors.column import Column
from app.vectors.graph import Graph
from app.vectors.layout import read_graph
from app.vectors.search import walk
from bench.measures import CODED, FLOATS, THEIRS, Point, found, percentile_ms
from bench.papers import Data, K, Truth
from bench.peers.base import EF_CONSTRUCTION, M
from bench.process import pinned

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
WARM_UPS = 20

F32 = NDArray[np.float32]
Walked = dict[str, list[dict[str, Any]]]


class Searcher(Protocol):
    """One way to search the graph."""

    def prepare(self, ef: int) -> None:
        """Set the width."""

    def search(self, query: F32) -> Sequence[int]:
        """Find the K nearest: what is timed."""


class Theirs:
    """hnswlib over its own memory: links and vector of a node are one block."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def prepare(self, ef: int) -> None:
        self._index.set_ef(ef)

    def search(self, query: F32) -> Sequence[int]:
        labels: Sequence[int] = self._index.knn_query(query, k=K, num_threads=1)[0][0]
        return labels


class Ours:
    """Our kernel over arrays that are read-only, as those of a segment are."""

    def __init__(self, graph: Graph, column: Column) -> None:
        self._graph = graph
        self._column = column
        self._allowed = read_only(bits.full(graph.nodes))

    def prepare(self, ef: int) -> None:
        self._ef = ef

    def search(self, query: F32) -> Any:
        walked = walk(
            Metric.COSINE,
            query,
            self._column,
            self._graph,
            self._allowed,
            ef=self._ef,
            wanted=K,
            budget=UNBOUNDED,
        )
        return walked.slots[:K]


def measure_walk(data: Data, due: Truth, folder: Path, *, cores: int, rounds: int) -> Walked:
    """Sweep `ef` over every system, in turns; the fastest of its rounds is a system's speed.

    due       what is due for every query, without a filter
    folder    for the index file
    returns   system → its points, in the order of `ef`
    """
    warm()
    searchers = built(data.vectors, folder, cores)
    names = list(searchers)
    points: Walked = {name: [] for name in names}
    with pinned():
        for ef in EFS:
            measured: dict[str, list[Point]] = {name: [] for name in names}
            for turn in range(rounds):
                first = turn % len(names)  # nobody always comes after the same one
                for name in names[first:] + names[:first]:
                    measured[name].append(asked(searchers[name], ef, data, due))
            for name in names:
                best = max(measured[name], key=lambda point: point.per_second)
                points[name].append(asdict(best))
    return points


def built(vectors: F32, folder: Path, cores: int) -> dict[str, Searcher]:
    """Build hnswlib's index of float32[rows, d] unit vectors, and read its graph."""
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(vectors, num_threads=cores)
    file = folder / "graph.hnsw"
    index.save_index(str(file))
    graph = read_graph(file, vectors.shape[1])
    file.unlink()
    graph = replace(
        graph,
        links=read_only(graph.links),
        upper_links=read_only(graph.upper_links),
        upper_node=read_only(graph.upper_node),
        upper_down=read_only(graph.upper_down),
        slots=read_only(graph.slots),
    )
    rows = read_only(vectors)
    codes = Codes.made(vectors, Metric.COSINE)
    if codes is None:
        raise ValueError("eight bits are too few for these vectors")
    codes = Codes(*(read_only(array) for array in codes.arrays))
    return {
        THEIRS: Theirs(index),
        CODED: Ours(graph, Column(rows, codes)),
        FLOATS: Ours(graph, Column(rows)),
    }


def asked(searcher: Searcher, ef: int, data: Data, due: Truth) -> Point:
    """Ask every question once, at one width."""
    searcher.prepare(ef)
    for query in data.queries[:WARM_UPS]:
        searcher.search(query)
    times: list[float] = []
    answers: list[Sequence[int]] = []
    for query in data.queries:
        begun = time.perf_counter()
        answer = searcher.search(query)
        times.append(time.perf_counter() - begun)
        answers.append(answer)
    hits = 0
    for query, rows, last, wanted in zip(data.queries, answers, due.last, due.wanted, strict=True):
        distinct = np.unique(np.asarray(rows, np.int64))
        hits += min(found(data.vectors[distinct] @ query, last), int(wanted))
    return Point(
        width=ef,
        recall=hits / int(due.wanted.sum()),
        per_second=len(times) / sum(times),
        p50_ms=percentile_ms(times, 50),
        p99_ms=percentile_ms(times, 99),
        queries=len(times),
    )
