"""Run an ONNX graph on batches of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from app.types import F32


class PixelSession:
    """A graph of one input, [picture, 3, height, width] float32. Thread-safe.

    threads  ONNX Runtime's own threads for one call
    outputs  names of the graph's outputs that will be asked for; "" is the first

    Raises ValueError if the graph wants other inputs, or has no such output.
    """

    def __init__(self, path: Path, *, threads: int, outputs: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning would take the cores away from searches between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = [entry.name for entry in self._session.get_inputs()]
        if len(inputs) != 1:
            raise ValueError(f"expected a graph of one input, the pixels; it has {inputs}")
        self._input = inputs[0]
        known = [entry.name for entry in self._session.get_outputs()]
        for name in filter(None, outputs):
            if name not in known:
                raise ValueError(f"the graph has no output {name!r}, but {known}")
        self._first = known[0]

    def run(self, pixels: F32, outputs: Sequence[str]) -> list[F32]:
        """Run one batch: these outputs, [picture, …] float32 each."""
        names = [name or self._first for name in outputs]
        found = self._session.run(names, {self._input: pixels})
        return [np.asarray(one, np.float32) for one in found]
