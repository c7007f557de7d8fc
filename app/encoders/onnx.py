"""Run an ONNX graph on batches of token ids; the only importer of ONNX Runtime's sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.types import F32


class OnnxSession:
    """A graph in memory, on the CPU. `run` may be called from several threads at once.

    threads  ONNX Runtime's own threads for one call

    Raises ValueError if the graph wants inputs that are none of ours, or has no such output.
    """

    def __init__(self, path: Path, *, threads: int, output: str = "") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning would take the cores away from searches between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Patterns pay for fixed shapes only. The arena stays: it holds the largest batch so far,
        # which the token budget bounds, where malloc kept twice that (docs/decisions/0005).
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        # Its kernel takes eight times as long as the Add and the LayerNormalization that it
        # replaces (docs/decisions/0018).
        disabled = ["SkipLayerNormFusion"]
        self._session = onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=disabled,
        )
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise ValueError(f"the graph has inputs that a text cannot fill: {sorted(unknown)}")
        outputs = [entry.name for entry in self._session.get_outputs()]
        if output and output not in outputs:
            raise ValueError(f"the graph has no output {output!r}, but {outputs}")
        self._output = output or outputs[0]

    def run(self, tokens: Sequence[Sequence[int]]) -> tuple[F32, NDArray[np.int64]]:
        """Run one batch, padded to its longest text.

        returns  the graph's output, [text, dim] or [text, token, dim], and the mask that was
                 used, [text, token]
        """
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        # Types stay 0: one text, never a pair.
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (out,) = self._session.run([self._output], {name: feeds[name] for name in self._inputs})
        return np.asarray(out, np.float32), mask
