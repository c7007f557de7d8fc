"""Open ONNX graphs to be run for callers: the settings of ONNX Runtime that all of them share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnxruntime

_DISABLED = ["SkipLayerNormFusion"]
"""Its kernel takes eight times as long as the Add and the LayerNormalization that it replaces
(docs/decisions/0018)."""


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load a graph into memory, on the CPU. It may be run by several threads at once.

    threads  ONNX Runtime's own threads for one run
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning would take the cores away from searches between two batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Patterns pay for fixed shapes only. The arena stays: it holds the largest batch so far, which
    # the token budget bounds, where malloc kept twice that (docs/decisions/0005).
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
    )


def first_output(session: onnxruntime.InferenceSession, wanted: Iterable[str]) -> str:
    """The name of a graph's first output. Raises ValueError unless it has all that are wanted.

    wanted  names of outputs; "" stands for the first
    """
    known = [entry.name for entry in session.get_outputs()]
    for name in filter(None, wanted):
        if name not in known:
            raise ValueError(f"the graph has no output {name!r}, but {known}")
    return str(known[0])
