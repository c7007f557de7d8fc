"""Run an ONNX graph on batches of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoders.session import first_output, open_session
from app.types import F32

TEXT_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
"""What a text can fill."""


class TokenSession:
    """A graph in memory, on the CPU. `run` may be called from several threads at once.

    threads  ONNX Runtime's own threads for one call

    Raises ValueError if the graph wants inputs that are none of ours, or has no such output.
    """

    def __init__(self, path: Path, *, threads: int, output: str = "") -> None:
        self._session = open_session(path, threads)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        unknown = set(self._inputs) - TEXT_INPUTS
        if unknown:
            raise ValueError(f"the graph has inputs that a text cannot fill: {sorted(unknown)}")
        first = first_output(self._session, [output])
        self._output = output or first

    def run(
        self, tokens: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None
    ) -> tuple[F32, NDArray[np.int64]]:
        """Run one batch, padded to its longest text.

        types    0 or 1 for each token: which text of a pair it is of; None for single texts

        returns  the graph's output, [text, dim] or [text, token, dim], and the mask that was
                 used, [text, token]
        """
        ids, mask = padded(tokens)
        (out,) = self.feed(ids, mask, None if types is None else padded(types)[0])
        return out, mask

    def feed(
        self,
        ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        types: NDArray[np.int64] | None = None,
        outputs: Sequence[str] = (),
    ) -> list[F32]:
        """Run one batch that is padded already: all arrays are [text, token].

        outputs  names of the graph's; "" and none at all mean the one that the session was made for
        """
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids) if types is None else types
        names = [name or self._output for name in outputs or ("",)]
        made = self._session.run(names, {name: feeds[name] for name in self._inputs})
        return [np.asarray(one, np.float32) for one in made]


def padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill rows with zeros to the length of the longest.

    returns  the rows and the mask, 1 where a row has a number; both [row, longest] int64
    """
    whole = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(whole)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return whole, mask
