"""Run an ONNX graph on batches of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.encoders.session import first_output, open_session
from app.types import F32


class PixelSession:
    """A graph of one input, [picture, 3, height, width] float32. Thread-safe.

    threads  ONNX Runtime's own threads for one call
    outputs  names of the graph's outputs that will be asked for; "" is the first

    Raises ValueError if the graph wants other inputs, or has no such output.
    """

    def __init__(self, path: Path, *, threads: int, outputs: Sequence[str]) -> None:
        self._session = open_session(path, threads)
        inputs = [entry.name for entry in self._session.get_inputs()]
        if len(inputs) != 1:
            raise ValueError(f"expected a graph of one input, the pixels; it has {inputs}")
        self._input = inputs[0]
        self._first = first_output(self._session, outputs)

    def run(self, pixels: F32, outputs: Sequence[str]) -> list[F32]:
        """Run one batch: these outputs, [picture, …] float32 each."""
        names = [name or self._first for name in outputs]
        found = self._session.run(names, {self._input: pixels})
        return [np.asarray(one, np.float32) for one in found]
