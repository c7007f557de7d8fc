"""Run a batch as a whole, or each of its inputs by itself where neighbours would change it.

Why some graphs must not be batched is told in `app.encoders.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.encoders.manifest import BuiltGraph, Manifest

Given = TypeVar("Given")
Made = TypeVar("Made")


def runs_alone(manifest: Manifest) -> bool:
    """Whether a text's numbers depend on those beside it in a batch."""
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return graph.variant == "int8"
    return graph is not None and graph.batch == "alone"


class Runner:
    """Hands batches to `work`, whole or one by one on threads of its own.

    threads  how many cores one batch may use
    """

    def __init__(self, manifest: Manifest, *, threads: int) -> None:
        alone = runs_alone(manifest)
        self.graph_threads = 1 if alone else threads
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix=f"encode-{manifest.name}")
            if alone
            else None
        )

    def run(
        self, work: Callable[[Sequence[Given]], list[Made]], batch: Sequence[Given]
    ) -> list[Made]:
        """What `work` makes of a batch, in its order."""
        if self._pool is None or len(batch) == 1:
            return work(batch)
        return [made for (made,) in self._pool.map(lambda one: work([one]), batch)]

    def close(self) -> None:
        """End the threads. Nothing may be running."""
        if self._pool is not None:
            self._pool.shutdown()
