"""Work on a batch in runs: which of its texts go through the graph together, and on which thread.

Why batches are cut, and why some texts must not run together, is told in `app.encoders.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.encoders.manifest import BuiltGraph, Manifest
from app.encoders.packing import cut_runs

RUN_TOKENS = 256  # measured with 64 to 1,024 (docs/decisions/0018): flat from here on
FEWEST_RUN_TOKENS = 64  # below, splitting for another thread costs more than it saves
SPARE_TOKENS = 8  # one more call costs as much as eight tokens of padding


class Runs:
    """The threads of one encoder. The graph's own session should have one thread.

    threads  how many cores one batch may use
    """

    def __init__(self, manifest: Manifest, *, threads: int) -> None:
        self._limit_tokens, self._spare_tokens = _togetherness(manifest)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"encode-{manifest.name}")

    def each(self, lengths: Sequence[int], work: Callable[[list[int]], None]) -> None:
        """Call `work` with the positions of each run, on several threads if there are several.

        lengths  tokens of each text of the batch

        Raises what `work` raises.
        """
        share = max(sum(lengths) // self._threads, FEWEST_RUN_TOKENS)
        runs = cut_runs(lengths, min(self._limit_tokens, share), self._spare_tokens)
        if len(runs) == 1:
            work(runs[0])
        else:
            for _ in self._pool.map(work, runs):
                pass

    def close(self) -> None:
        """End the threads. Nothing may be running."""
        self._pool.shutdown()


def _togetherness(manifest: Manifest) -> tuple[int, int]:
    """Most tokens and most padding of one run."""
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return RUN_TOKENS, 0 if graph.variant == "int8" else SPARE_TOKENS
    alone = graph is not None and graph.batch == "alone"
    return (0, 0) if alone else (RUN_TOKENS, SPARE_TOKENS)
