"""The cross-encoder: two texts → tokens → graph → activation, as its manifest says.

It reads a query and a document together, so that every word of the one can look at every word of
the other: slower than vectors, which are made once, and better. What it makes is a number to sort
by. With one label the sigmoid brings it between 0 and 1; of several labels ("irrelevant",
"relevant") the softmax takes one's share.

Source: Nogueira & Cho 2019 (arXiv 1901.04085), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.encoders.base import OutputKind, Prepared, TextKind
from app.encoders.inputs import Input, Pair, check_unicode
from app.encoders.manifest import Manifest, PairSpec, ReadyGraph
from app.encoders.runs import Runs
from app.encoders.token_session import TokenSession
from app.encoders.tokenizer import PairTokenizer, guessed_tokens
from app.errors import InvalidText, LikewiseError
from app.types import F32

MOST_CHARS_PER_TOKEN = 32
"""A text is cut to so many characters for each token that the model reads, before it is tokenised:
what is behind them would be cut after it, at the price of reading all of a long text."""

_Ids = tuple[list[int], list[int]]  # token ids and types of a pair


class PairEncoder:
    """A loaded cross-encoder. Thread-safe.

    threads  how many cores it may use
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, PairSpec)
        self.name = manifest.name
        self.dimension = manifest.dimension
        self._spec = spec = manifest.spec
        self._most_chars = MOST_CHARS_PER_TOKEN * spec.max_tokens
        self._tokenizer = PairTokenizer(folder / spec.tokenizer, spec.max_tokens, spec.truncate)
        self._runs = Runs(manifest)
        self.parallel = threads
        output = manifest.graph.output if isinstance(manifest.graph, ReadyGraph) else ""
        self._session = TokenSession(graph, threads=1, output=output)

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Check that inputs are pairs."""
        for place, given in enumerate(inputs):
            if not isinstance(given, Pair):
                raise InvalidText(f"{self.name} reads pairs of texts only", pointer=f"/{place}")
            check_unicode(given.first, f"/{place}/first")
            check_unicode(given.second, f"/{place}/second")
        return list(inputs)

    def estimate(self, given: Input) -> int:
        """Tokens of a pair, guessed from its length."""
        assert isinstance(given, Pair)
        chars = len(given.first) + len(given.second)
        return min(self._spec.max_tokens, guessed_tokens(chars))

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Tokenise pairs, and cut them to what the model reads."""
        pairs = [given for given in inputs if isinstance(given, Pair)]
        most = self._most_chars
        tokens = self._tokenizer.ids(
            [(pair.first[:most], pair.second[:most]) for pair in pairs],
            [pair.most_tokens for pair in pairs],
        )
        return [Prepared((ids, types), len(ids), len(ids)) for ids, types in tokens]

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> list[float]:
        """The scores of one batch, in its order.

        Raises ValueError if the graph returns another number of labels than the manifest promises,
        or numbers that are not finite.
        """
        if output != "score":
            raise ValueError(f"a cross-encoder makes scores, not {output!r}")
        pairs: list[_Ids] = [one.value for one in batch]
        scores = np.empty(len(pairs), np.float32)

        def work(run: list[int]) -> None:
            scores[run] = self._scores([pairs[place] for place in run])

        self._runs.each([len(ids) for ids, _ in pairs], work)
        return [float(score) for score in scores]

    def close(self) -> None:
        """Let go of nothing: the graph goes with the object."""

    def _scores(self, pairs: Sequence[_Ids]) -> F32:
        out, _ = self._session.run([ids for ids, _ in pairs], [types for _, types in pairs])
        labels = self._spec.labels
        if out.shape != (len(pairs), labels) and not (labels == 1 and out.shape == (len(pairs),)):
            raise ValueError(f"expected {labels} labels for each pair, got {out.shape}")
        if not np.isfinite(out).all():
            raise ValueError("the graph returned numbers that are not finite")
        return _activated(out.reshape(-1, labels), self._spec)


def _activated(logits: F32, spec: PairSpec) -> F32:
    """Scores [pair] of logits [pair, label]."""
    wanted: F32 = logits[:, spec.label]
    if spec.activation == "identity":
        return wanted
    if spec.activation == "sigmoid":
        # By the sign of the logit, so that the exponential never overflows.
        small = np.exp(-np.abs(wanted))
        scores: F32 = np.where(wanted >= 0, np.float32(1), small) / (1 + small)
        return scores
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: F32 = weights[:, spec.label] / weights.sum(axis=1)
    return shares
