"""The text encoder: prompt → tokens → graph → pool → normalise, as its manifest says.

A vector must not depend on the texts beside it. Graphs in float32 keep that by masking. Graphs
with dynamic quantisation do not: the scale of every quantised product is taken over the whole
batch, so neighbours and padding shift a text's vector (measured: docs/decisions/0005). Their
manifests say `batch = "alone"`, and each text then runs by itself, several at once on threads of
our own. That costs nothing on two cores: it saves the padding, and the threads work on whole texts
instead of splitting small products.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from app.encoders.base import OutputKind, Prepared, TextKind
from app.encoders.inputs import Input, Tokens, check_unicode
from app.encoders.manifest import BuiltGraph, Manifest, ReadyGraph, TextSpec
from app.encoders.onnx import OnnxSession
from app.encoders.pooling import normalise, pool_cls, pool_mean
from app.encoders.tokenizer import Tokenizer
from app.errors import InvalidText, LikewiseError
from app.types import F32

CHARS_PER_TOKEN = 4  # English word pieces; with other scripts a round is a few batches more


class TextEncoder:
    """A loaded model. Thread-safe.

    threads  how many cores one batch may use
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, TextSpec)
        self.name = manifest.name
        self.dimension = manifest.dimension
        self._spec = manifest.spec
        # A built graph pools and normalises inside.
        self._built = isinstance(manifest.graph, BuiltGraph)
        text = self._spec.text
        self._tokenizer = Tokenizer(folder / text.tokenizer, text.max_tokens)
        alone = _runs_alone(manifest)
        output = manifest.graph.output if isinstance(manifest.graph, ReadyGraph) else ""
        self._session = OnnxSession(graph, threads=1 if alone else threads, output=output)
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix=f"encode-{manifest.name}")
            if alone
            else None
        )

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
        if self._pool is None or len(tokens) == 1:
            return self._vectors(tokens)
        return np.concatenate(list(self._pool.map(lambda text: self._vectors([text]), tokens)))

    def close(self) -> None:
        """End the threads. Nothing may be running."""
        if self._pool is not None:
            self._pool.shutdown()

    def _vectors(self, tokens: Sequence[Sequence[int]]) -> F32:
        out, mask = self._session.run(tokens)
        output = self._spec.output
        assert output is not None
        if not self._built and output.pool != "graph":
            if out.ndim != 3:
                raise ValueError(f"expected token vectors to pool, got {out.shape}")
            out = pool_mean(out, mask) if output.pool == "mean" else pool_cls(out)
        if out.shape != (len(tokens), self.dimension):
            raise ValueError(f"expected vectors of {self.dimension} numbers, got {out.shape}")
        if not self._built and output.normalise:
            out = normalise(out)
        if not np.isfinite(out).all():
            raise ValueError("the graph returned numbers that are not finite")
        return out


def _ready(ids: list[int]) -> Prepared:
    return Prepared(ids, len(ids), len(ids))


def _runs_alone(manifest: Manifest) -> bool:
    graph = manifest.graph
    if isinstance(graph, BuiltGraph):
        return graph.variant == "int8"
    return graph is not None and graph.batch == "alone"
