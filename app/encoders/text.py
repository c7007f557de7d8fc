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
from app.encoders.inputs import Input, Tokens, check_unicode
from app.encoders.manifest import BuiltGraph, Manifest, ReadyGraph, TextSpec
from app.encoders.onnx import OnnxSession, padded
from app.encoders.pipeline.head import head_of
from app.encoders.runs import Runs
from app.encoders.tokenizer import Tokenizer
from app.errors import InvalidText, LikewiseError
from app.types import F32

CHARS_PER_TOKEN = 4  # English word pieces; with other scripts a round is a few batches more


class TextEncoder:
    """A loaded model. Thread-safe.

    threads  how many cores it may use
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, TextSpec)
        self.name = manifest.name
        self.dimension = manifest.dimension
        self._spec = manifest.spec
        assert self._spec.output is not None
        output = self._spec.output
        # A built graph pools inside, and does all of it if nothing else comes after.
        built = isinstance(manifest.graph, BuiltGraph)
        self._whole = built and output.inside
        self._head = head_of(
            output, folder, pooled=built and output.table is None, dimension=manifest.dimension
        )
        text = self._spec.text
        self._tokenizer = Tokenizer(folder / text.tokenizer, text.max_tokens)
        wanted = manifest.graph.output if isinstance(manifest.graph, ReadyGraph) else ""
        self._session = OnnxSession(graph, threads=1, output=wanted)
        self._runs = Runs(manifest)
        self.parallel = threads

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Put the model's prompt for this kind before each text; ids of tokens stay as they are."""
        text = self._spec.text
        prompt = text.query_prompt if kind == "query" else text.document_prompt
        addressed: list[Input] = []
        for place, given in enumerate(inputs):
            if isinstance(given, tuple):
                addressed.append(given)
                continue
            if not isinstance(given, str):
                raise InvalidText(f"{self.name} reads texts only", pointer=f"/{place}")
            check_unicode(given, f"/{place}")
            addressed.append(prompt + given if prompt else given)
        return addressed

    def fitted(self, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Turn texts, with their prompts, into ids of tokens, cut at their start or not at all."""
        addressed = self.address(inputs, kind)
        texts = [given for given in addressed if isinstance(given, str | tuple)]
        return [*self._tokenizer.fitted(texts, cut, self.name)]

    def estimate(self, given: Input) -> int:
        """Tokens of a text, guessed from its length."""
        if isinstance(given, tuple):
            return min(len(given), self._tokenizer.max_tokens)
        assert isinstance(given, str)
        return 1 + len(given) // CHARS_PER_TOKEN

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Tokenise texts, and check the ids of those that are tokens already."""
        texts = [given for given in inputs if isinstance(given, str)]
        tokenised = iter(self._tokenizer.ids(texts))
        return [
            self._prepared(given) if isinstance(given, tuple) else _ready(next(tokenised))
            for given in inputs
        ]

    def _prepared(self, tokens: Tokens) -> Prepared | LikewiseError:
        try:
            return _ready(self._tokenizer.accepted(tokens))
        except InvalidText as error:
            return error

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


def _ready(ids: list[int]) -> Prepared:
    return Prepared(ids, len(ids), len(ids))
