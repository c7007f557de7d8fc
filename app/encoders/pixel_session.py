"""Run an ONNX graph on batches of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.encoders.session import first_output, open_session
from app.types import F32


class PixelSession:
    """A graph of one input, [picture, 3, height, width] float32. Thread-safe.

    threads  ONNX Runtime's own threads for one call
    outputs  names of the graph's outputs to use; "" takes the first

    Raises ValueError if the graph wants other inputs, or has no such output.
    """

    def __init__(self, path: Path, *, threads: int, outputs: tuple[str, ...]) -> None:
        self._session = open_session(path, threads)
        inputs = [entry.name for entry in self._session.get_inputs()]
        if len(inputs) != 1:
            raise ValueError(f"expected a graph of one input, the pixels; it has {inputs}")
        self._input = inputs[0]
        first = first_output(self._session, outputs)
        self._outputs = [name or first for name in outputs]

    def run(self, pixels: F32, place: int) -> F32:
        """Run one batch: the output at this place of `outputs`, [picture, …] float32."""
        (found,) = self._session.run([self._outputs[place]], {self._input: pixels})
        return np.asarray(found, np.float32)
