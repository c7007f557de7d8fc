"""From a graph's token vectors to what is stored: context → pool → dense → maps → normalise.

`Head` is opened once from a manifest's [output] and used for every batch. Plain pools (mean, cls,
…) take a batch with its mask: `app.encoders.pooling`. The others take one input without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoders.dense import DenseLayers
from app.encoders.manifest import Dense, Output
from app.encoders.manifest.pools import (
    Attend,
    Codebook,
    Context,
    Gem,
    Map,
    OrthFuse,
    PoolTable,
    TopTokens,
)
from app.encoders.pipeline import maps
from app.encoders.pipeline.arrays import read_array, unit
from app.encoders.pipeline.codebook import cross_query, vlad
from app.encoders.pipeline.maps import Affine, Bend
from app.encoders.pipeline.pools import attend, gem, orth_fuse, regions, topk_attn, with_context
from app.encoders.pooling import pool
from app.types import F32

PoolTokens = Callable[[F32, "F32 | None"], F32]
"""Tokens [token, dim] and the graph's global vector [dim] of one input → [dim']."""


class Head:
    """What follows a graph. Thread-safe.

    pool       "graph" if vectors come pooled; a plain pool, or one with a table
    normalise  whether vectors get length one at the end
    dimension  how many numbers the manifest promises

    `beside` names the graph's further outputs that `vectors` wants, in order.

    Raises CorruptFile for a file that is not what the manifest says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pool: str = "graph",
        table: PoolTable | None = None,
        context: Context | None = None,
        dense: Sequence[Dense] = (),
        maps: Sequence[Map] = (),
        normalise: bool,
        dimension: int,
    ) -> None:
        self._plain = pool
        self._pool = open_pool(table, folder) if table is not None else None
        named = isinstance(table, OrthFuse) and table.anchor not in ("cls", "mean")
        self.beside = (table.anchor,) if named and isinstance(table, OrthFuse) else ()
        self._context = context
        self._prototypes: F32 | None = None
        if context is not None and context.prototypes:
            self._prototypes = read_array(folder / context.prototypes, "region dim")
        self._layers = DenseLayers(dense, folder)
        self._maps = open_maps(maps, folder)
        self._normalise = normalise
        self._dimension = dimension

    def vectors(self, out: F32, mask: NDArray[np.int64], beside: Sequence[F32] = ()) -> F32:
        """Vectors [input, dimension] of one batch.

        out     the graph's output: [input, token, dim], or [input, dim] if it is pooled
        mask    [input, token] int64, 1 = token, 0 = padding
        beside  the graph's outputs that `beside` names, [input, dim] each

        Raises ValueError for outputs of other shapes.
        """
        if self._plain != "graph" and out.ndim != 3:
            raise ValueError(f"expected token vectors to pool, got {out.shape}")
        if self._pool is not None:
            made = [
                self._pool(self.in_context(tokens), beside[0][place] if beside else None)
                for place, tokens in enumerate(unpadded(out, mask))
            ]
            out = np.stack(made)
        elif self._plain != "graph":
            out = pool(out, mask, self._plain)
        return self.finish(self._layers(out))

    def in_context(self, tokens: F32) -> F32:
        """Tokens with the context of their regions: [token, dim] → [token, dim]."""
        context = self._context
        if context is None or context.weight == 0.0:
            return tokens
        return with_context(tokens, self._regions(tokens), context.weight, context.temperature)

    def several(self, tokens: F32) -> F32:
        """The multi-vector of one input: its tokens in context, or its regions. [vector, dim]."""
        if self._context is not None and self._context.emit == "regions":
            return self._regions(tokens)
        return self.in_context(tokens)

    def finish(self, vectors: F32) -> F32:
        """Maps and length one: [input, dim] → [input, dim'].

        Raises ValueError if that is not what the manifest promises.
        """
        vectors = maps.apply(self._maps, vectors)
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise ValueError(f"expected vectors of {self._dimension} numbers, got {vectors.shape}")
        return unit(vectors) if self._normalise else vectors

    def _regions(self, tokens: F32) -> F32:
        assert self._context is not None
        context = self._context
        return regions(tokens, context.k, context.temperature, self._prototypes)


def head_of(output: Output, folder: Path, *, pooled: bool, dimension: int) -> Head:
    """Open what follows a graph, as [output] says.

    pooled  whether the graph pools already

    Raises CorruptFile.
    """
    return Head(
        folder,
        pool="graph" if pooled else output.pool,
        table=output.table,
        context=output.context,
        dense=output.dense,
        maps=output.maps,
        normalise=output.normalise,
        dimension=dimension,
    )


def unpadded(hidden: F32, mask: NDArray[np.int64]) -> list[F32]:
    """The tokens of each input: [input, token, dim] and its mask → [token, dim] each."""
    return [tokens[kept == 1] for tokens, kept in zip(hidden, mask, strict=True)]


def open_pool(spec: PoolTable, folder: Path) -> PoolTokens:
    """Make a pool of its table. Raises CorruptFile for a file that is no such array."""
    if isinstance(spec, Gem):
        power = spec.p
        return lambda tokens, _: gem(tokens, power)
    if isinstance(spec, TopTokens):
        k = spec.k
        return lambda tokens, _: topk_attn(tokens, k)
    if isinstance(spec, Attend):
        attending = spec
        query = read_array(folder / spec.query, "dim")
        return lambda tokens, _: attend(tokens, query, attending.temperature, attending.k)
    if isinstance(spec, OrthFuse):
        fusing = spec
        return lambda tokens, anchor: _fused(tokens, anchor, fusing)
    return _open_codebook(spec, folder)


def open_maps(chain: Sequence[Map], folder: Path) -> tuple[Affine | Bend, ...]:
    """Make a chain of maps, every run of affine ones fused. Raises CorruptFile."""
    return maps.fuse([_open_map(one, folder) for one in chain])


def _open_map(spec: Map, folder: Path) -> Affine | Bend:
    if spec.op == "l2":
        return unit
    if spec.op == "signed_sqrt":
        return maps.signed_sqrt
    if spec.op == "truncate":
        return maps.truncate(spec.dimension)
    mean = read_array(folder / spec.mean, "dim") if spec.mean else None
    if spec.op == "center":
        assert mean is not None
        return maps.center(mean)
    bias = read_array(folder / spec.bias, "to") if spec.bias else None
    return maps.linear(read_array(folder / spec.matrix, "to dim"), mean, bias)


def _open_codebook(spec: Codebook, folder: Path) -> PoolTokens:
    words = read_array(folder / spec.words, "word dim")
    reference = read_array(folder / spec.reference, "word column") if spec.reference else None
    if spec.mode == "cs":
        assert reference is not None
        read = reference
        return lambda tokens, _: cross_query(tokens, words, read)
    return lambda tokens, _: vlad(tokens, words, spec.temperature, reference)


def _fused(tokens: F32, anchor: F32 | None, spec: OrthFuse) -> F32:
    if spec.anchor == "cls":
        anchor = tokens[0]
    elif spec.anchor == "mean":
        anchor = tokens.mean(axis=0)
    assert anchor is not None, "the graph's global vector"
    shares = np.linalg.norm(tokens, axis=1) if spec.shares == "norm" else None
    return orth_fuse(tokens, anchor, spec.weight, shares)
