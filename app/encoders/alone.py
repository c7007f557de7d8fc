"""Run a batch as a whole, or each of its inputs by itself where neighbours would change it.

Why some graphs must not be batched is told in `app.encoders.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Hands batches to `work`, whole or one by one, on the caller's thread.

    threads        how many cores the encoder may use
    graph_threads  how many of them one call of the graph is to use itself
    parallel       how many calls of `run` at once use them all
    """

    def __init__(self, manifest: Manifest, *, threads: int) -> None:
        self._alone = runs_alone(manifest)
        self.graph_threads = 1 if self._alone else threads
        self.parallel = threads if self._alone else 1

    def run(
        self, work: Callable[[Sequence[Given]], list[Made]], batch: Sequence[Given]
    ) -> list[Made]:
        """What `work` makes of a batch, in its order."""
        if not self._alone or len(batch) == 1:
            return work(batch)
        return [made for one in batch for made in work([one])]
