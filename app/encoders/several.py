"""The text encoder whose manifest promises other outputs than one vector, or several of them.

Three outputs of one graph: a vector of the text, a vector of each of its tokens (late interaction,
Khattab & Zaharia 2020, arXiv 2004.12832), and weights of the vocabulary (`app.encoders.sparse`).
Asked for all of them, the graph runs once.

What ColBERT does to texts is in the manifest's [tokens], step by step: a marker behind the first
token says query or document; a query is filled with [MASK] to a fixed length, and the vectors of
those are used as the words that the query might have had; a document loses its punctuation. So
such a model must know which side a text is on when it is tokenised, and its inputs are `Sided`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.encoders.base import Cut, OutputKind, Prepared, Several, TextKind
from app.encoders.inputs import Input, Sided
from app.encoders.manifest import Manifest, ReadyGraph, TextSpec, TokenOutput
from app.encoders.pipeline.arrays import unit
from app.encoders.pipeline.head import Head, head_of
from app.encoders.runs import Runs
from app.encoders.safetensors import read_safetensors
from app.encoders.sparse import pruned, sparse_from_words, words_from_logits, words_from_tokens
from app.encoders.text_reader import TextReader
from app.encoders.token_session import TokenSession, padded
from app.errors import LikewiseError
from app.types import F32, Sparse


@dataclass(frozen=True, slots=True)
class _Text:
    """A tokenised text: `attended` says which tokens the others look at, `shown` which vectors are
    an answer."""

    ids: list[int]
    attended: list[int]
    shown: NDArray[np.bool_]


class SeveralEncoder:
    """A loaded model. Thread-safe.

    threads  how many cores it may use

    Raises ValueError if the tokenizer lacks a marker or the piece that fills queries, or the
    projection has another shape than the manifest promises.
    """

    def __init__(self, manifest: Manifest, folder: Path, graph: Path, *, threads: int) -> None:
        assert isinstance(manifest.spec, TextSpec)
        self.name = manifest.name
        self.dimension = manifest.dimension
        self.outputs = manifest.outputs
        self._spec = spec = manifest.spec
        self._reader = TextReader(self.name, spec.text, folder)
        tokenizer = self._reader.tokenizer
        self._special = frozenset(tokenizer.special)
        pieces = tokenizer.pieces()
        marks = [mark for mark in string.punctuation if mark in pieces]
        self._punctuation = frozenset(pieces[mark] for mark in marks)
        self._mask = -1
        self._markers: dict[str, list[int]] = {"query": [], "document": []}
        self._projection: F32 | None = None
        if spec.tokens is not None:
            self._prepare_tokens(spec.tokens, folder)
        self._head: Head | None = None
        if spec.output is not None:
            self._head = head_of(spec.output, folder, pooled=False, dimension=manifest.dimension)
        self._runs = Runs(manifest)
        self.parallel = threads
        output = manifest.graph.output if isinstance(manifest.graph, ReadyGraph) else ""
        self._session = TokenSession(graph, threads=1, output=output)

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Put the model's prompt for this kind before each text, and say which side it is on."""
        return [Sided(given, kind) for given in self._reader.addressed(inputs, kind)]

    def fitted(self, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Turn texts, with their prompts, into ids of tokens that leave room for a marker."""
        tokens, most = self._spec.tokens, self._spec.text.max_tokens
        if tokens is not None and tokens.query_tokens and kind == "query":
            most = min(most, tokens.query_tokens)
        return self._reader.fitted(inputs, kind, cut, most - len(self._markers[kind]))

    def estimate(self, given: Input) -> int:
        """Tokens of a text, guessed from its length."""
        assert isinstance(given, Sided)
        return self._reader.estimate(given.text)

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Tokenise texts, check the ids of those that are tokens already, and mark their sides."""
        sided = [given for given in inputs if isinstance(given, Sided)]
        prepared: list[Prepared | LikewiseError] = []
        for given, ids in zip(sided, self._reader.read([one.text for one in sided]), strict=True):
            if isinstance(ids, LikewiseError):
                prepared.append(ids)
            else:
                text = self._text(ids, given.side)
                prepared.append(Prepared(text, len(text.ids), len(text.ids)))
        return prepared

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        """Outputs of one batch, in its order.

        Raises ValueError if an output of the graph has another shape than the manifest promises, or
        is not finite.
        """
        asked = self.outputs if output == "all" else (output,)
        if not set(asked) <= set(self.outputs):
            raise ValueError(f"the manifest promises {', '.join(self.outputs)}, not {output!r}")
        texts: list[_Text] = [one.value for one in batch]
        by_place: dict[int, Several] = {}

        def work(run: list[int]) -> None:
            several = self._several([texts[place] for place in run], asked)
            by_place.update(zip(run, several, strict=True))

        self._runs.each([len(text.ids) for text in texts], work)
        made = [by_place[place] for place in range(len(texts))]
        if output == "dense":
            return np.stack([one.dense for one in made if one.dense is not None])
        return made if output == "all" else [getattr(one, output) for one in made]

    def close(self) -> None:
        """Let go of nothing: the graph goes with the object."""

    # ── tokens ───────────────────────────────────────────────────────────────────────────────

    def _prepare_tokens(self, tokens: TokenOutput, folder: Path) -> None:
        for side, marker in (("query", tokens.query_marker), ("document", tokens.document_marker)):
            if marker:
                self._markers[side] = [self._reader.tokenizer.id_of(marker)]
        if tokens.query_tokens and tokens.query_fill:
            self._mask = self._reader.tokenizer.id_of(tokens.query_fill)
        if tokens.projection:
            matrix = read_safetensors(folder / tokens.projection)[tokens.tensor]
            if matrix.ndim != 2 or matrix.shape[0] != tokens.dimension:
                raise ValueError(
                    f"expected a projection to {tokens.dimension} numbers, got {matrix.shape}"
                )
            self._projection = np.ascontiguousarray(matrix.T, np.float32)

    def _text(self, ids: list[int], side: TextKind) -> _Text:
        tokens = self._spec.tokens
        marker = self._markers[side]
        if marker:
            # The marker takes the place of the last word where the text is as long as may be.
            if len(ids) == self._spec.text.max_tokens:
                ids = [*ids[:-2], ids[-1]]
            ids = [ids[0], *marker, *ids[1:]]
        attended = [1] * len(ids)
        if tokens is not None and tokens.query_tokens and side == "query":
            if len(ids) > tokens.query_tokens:
                ids = [*ids[: tokens.query_tokens - 1], ids[-1]]
            missing = tokens.query_tokens - len(ids) if tokens.query_fill else 0
            attended = [1] * len(ids) + [int(tokens.attend_to_mask)] * missing
            ids = ids + [self._mask] * missing
        hidden: set[int] = set()
        if tokens is not None and tokens.skip_special:
            hidden |= self._special - {self._mask, *marker}
        if tokens is not None and tokens.skip_punctuation and side == "document":
            hidden |= self._punctuation
        return _Text(ids, attended, np.array([one not in hidden for one in ids]))

    # ── outputs ──────────────────────────────────────────────────────────────────────────────

    def _several(self, texts: Sequence[_Text], asked: Sequence[OutputKind]) -> list[Several]:
        spec = self._spec
        ids, _ = padded([text.ids for text in texts])
        mask, _ = padded([text.attended for text in texts])
        names = {"dense": ""}
        beside = self._head.beside if self._head is not None and "dense" in asked else ()
        if spec.tokens is not None:
            names["tokens"] = spec.tokens.output
        if spec.sparse is not None:
            names["sparse"] = spec.sparse.output
        wanted = [names[one] for one in asked]
        fed = self._session.feed(ids, mask, outputs=(*wanted, *beside))
        raw = dict(zip(asked, fed, strict=False))
        for out in raw.values():
            if len(out) != len(texts) or not np.isfinite(out).all():
                raise ValueError("the graph left out a text, or returned numbers not finite")
        dense: F32 | None = None
        if "dense" in raw and self._head is not None:
            dense = self._head.vectors(raw["dense"], mask, fed[len(asked) :])
        return [
            Several(
                None if dense is None else dense[place],
                self._tokens(raw["tokens"][place], text) if "tokens" in raw else None,
                self._sparse(raw["sparse"][place], text) if "sparse" in raw else None,
            )
            for place, text in enumerate(texts)
        ]

    def _tokens(self, out: F32, text: _Text) -> F32:
        """Vectors [shown token, dimension] of the graph's output [token, number] of one text.

        With a context in [output] they are the tokens in it, or [region, dimension].
        """
        tokens = self._spec.tokens
        assert tokens is not None
        shown = out[: len(text.ids)][text.shown]
        if self._head is not None and len(shown):
            shown = self._head.several(shown)
        if self._projection is not None:
            shown = shown @ self._projection
        if shown.ndim != 2 or shown.shape[1] != tokens.dimension:
            raise ValueError(f"expected {tokens.dimension} numbers a token, got {shown.shape}")
        return unit(shown) if tokens.normalise else shown

    def _sparse(self, out: F32, text: _Text) -> Sparse:
        """Weights of the graph's output of one text, [word] or [token, word] or [token, 1]."""
        sparse = self._spec.sparse
        assert sparse is not None
        if sparse.form == "weights":
            made = sparse_from_words(out)
        elif sparse.form == "logits":
            made = sparse_from_words(words_from_logits(out[: len(text.ids)]))
        else:
            own = np.array([one not in self._special for one in text.ids])
            words = np.array(text.ids, np.int64)[own]
            made = words_from_tokens(out[: len(text.ids)].reshape(-1)[own], words)
        return pruned(made, most=sparse.most, min_weight=sparse.min_weight)
