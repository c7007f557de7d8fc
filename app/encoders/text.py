"""The text encoder: prompt → tokens → graph → pool → normalise, as its manifest says.

A vector must not depend on the texts beside it. Three kinds of graphs keep that in three ways:

- float32: by masking. Texts of similar length run together, padded.
- int8 built here: scales are constants, and products of integers are exact. But a number that
  rounding in float32 moves by a last bit may cross to the next of 255 steps, so texts run together
  only with texts of their own length: each then takes the same instructions as alone, and the
  result is equal to the last bit.
- `batch = "alone"`, for published graphs with dynamic quantisation: the scale of every product is
  taken over the whole batch (docs/decisions/0005), so each text runs by itself.

A batch is cut into **runs** (`app.encoders.runs`), each one call of the graph on its caller's
thread, with no threads inside ONNX Runtime; several callers at once use the cores (`parallel`).
That halves the time on two cores, where ONNX Runtime's own threads share single products and wait
for each other. The activations of a run fit into a core's second-level cache or nearly so, and
memory is bounded by threads, not by the batch (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.encoders.base import Cut, OutputKind, Prepared, TextKind
from app.encoders.inputs import Input
from app.encoders.manifest import BuiltGraph, Manifest, ReadyGraph, TextSpec
from app.encoders.pipeline.head import head_of
from app.encoders.runs import Runs
from app.encoders.text_reader import TextReader
from app.encoders.token_session import TokenSession, padded
from app.errors import LikewiseError
from app.types import F32


class TextEncoder:
    """A loaded model. Thread-safe.

    threads  how many cores it may use
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, TextSpec)
        self.name = manifest.name
        self.dimension = manifest.dimension
        spec = manifest.spec
        assert spec.output is not None
        output = spec.output
        # A built graph pools inside, and does all of it if nothing else comes after.
        built = isinstance(manifest.graph, BuiltGraph)
        self._whole = built and output.inside
        self._head = head_of(
            output, folder, pooled=built and output.table is None, dimension=manifest.dimension
        )
        self._reader = TextReader(self.name, spec.text, folder)
        wanted = manifest.graph.output if isinstance(manifest.graph, ReadyGraph) else ""
        self._session = TokenSession(graph, threads=1, output=wanted)
        self._runs = Runs(manifest)
        self.parallel = threads

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Put the model's prompt for this kind before each text; ids of tokens stay as they are."""
        return [*self._reader.addressed(inputs, kind)]

    def fitted(self, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Turn texts, with their prompts, into ids of tokens, cut at their start or not at all."""
        return self._reader.fitted(inputs, kind, cut)

    def estimate(self, given: Input) -> int:
        """Tokens of a text, guessed from its length."""
        assert isinstance(given, str | tuple)
        return self._reader.estimate(given)

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Tokenise texts, and check the ids of those that are tokens already."""
        texts = [given for given in inputs if isinstance(given, str | tuple)]
        return [
            ids if isinstance(ids, LikewiseError) else Prepared(ids, len(ids), len(ids))
            for ids in self._reader.read(texts)
        ]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32:
        """Vectors [text, dim] of one batch, in its order.

        Raises ValueError if the graph's output has another shape than the manifest promises, or
        is not finite.
        """
        tokens: list[list[int]] = [one.value for one in batch]
        vectors = np.empty((len(tokens), self.dimension), np.float32)

        def work(run: list[int]) -> None:
            vectors[run] = self._vectors([tokens[text] for text in run])

        self._runs.each([len(ids) for ids in tokens], work)
        return vectors

    def close(self) -> None:
        """Let go of nothing: the graph goes with the object."""

    def _vectors(self, tokens: Sequence[Sequence[int]]) -> F32:
        ids, mask = padded(tokens)
        out, *beside = self._session.feed(ids, mask, outputs=("", *self._head.beside))
        if not self._whole:
            out = self._head.vectors(out, mask, beside)
        if out.shape != (len(tokens), self.dimension):
            raise ValueError(f"expected vectors of {self.dimension} numbers, got {out.shape}")
        if not np.isfinite(out).all():
            raise ValueError("the graph returned numbers that are not finite")
        return out
