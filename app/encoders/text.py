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

from app.encoders.base import Encoded, TextKind
from app.encoders.manifest import BertGraph, Manifest
from app.encoders.onnx import OnnxSession
from app.encoders.packing import pack
from app.encoders.pooling import normalise, pool_cls, pool_mean
from app.encoders.tokenizer import Tokenizer
from app.types import F32


class TextEncoder:
    """A loaded model. Thread-safe.

    threads       how many cores one batch may use
    batch_tokens  most tokens of one batch in `encode`, padding included
    """

    def __init__(
        self, manifest: Manifest, folder: Path, graph: Path, *, threads: int, batch_tokens: int
    ) -> None:
        self.name = manifest.name
        self.dimension = manifest.dimension
        self._manifest = manifest
        self._batch_tokens = batch_tokens
        self._tokenizer = Tokenizer(folder / manifest.text.tokenizer, manifest.text.max_tokens)
        alone = _runs_alone(manifest)
        output = "" if isinstance(manifest.graph, BertGraph) else manifest.graph.output
        self._session = OnnxSession(graph, threads=1 if alone else threads, output=output)
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix=f"encode-{manifest.name}")
            if alone
            else None
        )

    def encode(self, texts: Sequence[str], kind: TextKind) -> Encoded:
        """Encode texts in order, on the caller's thread."""
        tokens = self.tokenize(self.prompted(texts, kind))
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for batch in pack([len(ids) for ids in tokens], self._batch_tokens):
            vectors[batch] = self.run([tokens[text] for text in batch])
        return Encoded(vectors, [len(ids) for ids in tokens])

    def prompted(self, texts: Sequence[str], kind: TextKind) -> list[str]:
        """Put the model's prompt for this kind before each text."""
        text = self._manifest.text
        prompt = text.query_prompt if kind == "query" else text.document_prompt
        return [prompt + each for each in texts] if prompt else list(texts)

    def tokenize(self, prompted: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, its prompt already before it."""
        return self._tokenizer.ids(prompted)

    def run(self, tokens: Sequence[Sequence[int]]) -> F32:
        """Vectors [text, dim] of one batch, in its order.

        Raises ValueError if the graph's output has another shape than the manifest promises, or
        is not finite.
        """
        if self._pool is None or len(tokens) == 1:
            return self._vectors(tokens)
        return np.concatenate(list(self._pool.map(lambda text: self._vectors([text]), tokens)))

    def close(self) -> None:
        """End the threads. Nothing may be running."""
        if self._pool is not None:
            self._pool.shutdown()

    def _vectors(self, tokens: Sequence[Sequence[int]]) -> F32:
        out, mask = self._session.run(tokens)
        output = self._manifest.output
        built = isinstance(self._manifest.graph, BertGraph)  # which pools and normalises inside
        if not built and output.pool != "graph":
            if out.ndim != 3:
                raise ValueError(f"expected token vectors to pool, got {out.shape}")
            out = pool_mean(out, mask) if output.pool == "mean" else pool_cls(out)
        if out.shape != (len(tokens), self.dimension):
            raise ValueError(f"expected vectors of {self.dimension} numbers, got {out.shape}")
        if not built and output.normalise:
            out = normalise(out)
        if not np.isfinite(out).all():
            raise ValueError("the graph returned numbers that are not finite")
        return out


def _runs_alone(manifest: Manifest) -> bool:
    graph = manifest.graph
    return graph.variant == "int8" if isinstance(graph, BertGraph) else graph.batch == "alone"
