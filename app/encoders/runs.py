"""Work on a batch in runs: which of its texts go through the graph together.

Why batches are cut, and why some texts must not run together, is told in `app.encoders.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.encoders.manifest import BuiltGraph, Manifest
from app.encoders.packing import cut_runs

RUN_TOKENS = 256  # measured with 64 to 1,024 (docs/decisions/0018): flat from here on
SPARE_TOKENS = 8  # one more call costs as much as eight tokens of padding


class Runs:
    """How batches of one encoder are cut. The graph's own session should have one thread."""

    def __init__(self, manifest: Manifest) -> None:
        self._limit_tokens, self._spare_tokens = _togetherness(manifest)

    def each(self, lengths: Sequence[int], work: Callable[[list[int]], None]) -> None:
        """Call `work` with the positions of each run, one after the other.

        lengths  tokens of each text of the batch

        Raises what `work` raises.
        """
        for run in cut_runs(lengths, self._limit_tokens, self._spare_tokens):
            work(run)


def _togetherness(manifest: Manifest) -> tuple[int, int]:
    """Most tokens and most padding of one run."""
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return RUN_TOKENS, 0 if graph.variant == "int8" else SPARE_TOKENS
    alone = graph is not None and graph.batch == "alone"
    return (0, 0) if alone else (RUN_TOKENS, SPARE_TOKENS)
