"""What makes an encoder of texts: [text]; what it makes of them: [output], [tokens], [sparse]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.base import OutputKind
from app.encoders.manifest.pools import (
    Context,
    Map,
    PoolTable,
    TablePool,
    files_of,
    read_context,
    read_map,
    read_pool_table,
)
from app.encoders.manifest.table import Table

Pool = Literal["mean", "cls", "last", "max", "mean_sqrt", "weighted_mean"]
Activation = Literal["identity", "tanh"]


@dataclass(frozen=True, slots=True)
class TextInput:
    """How text becomes token ids. `max_tokens` counts special tokens and the prompt."""

    tokenizer: str
    max_tokens: int
    query_prompt: str
    document_prompt: str


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer: path of a safetensors file with `linear.weight` and `linear.bias`."""

    weights: str
    activation: Activation


@dataclass(frozen=True, slots=True)
class Output:
    """How the graph's output becomes one vector: context → pool → dense → maps → normalise.

    pool     a `Pool`, several joined by "+" (side by side), one of `TablePool`, or "graph": it is
             one vector already
    dense    layers after the pool
    table    the pool's own table, for those in `TablePool`
    context  what tokens learn of each other before
    maps     what happens to the vector after
    """

    pool: str
    normalise: bool
    dense: tuple[Dense, ...] = ()
    table: PoolTable | None = None
    context: Context | None = None
    maps: tuple[Map, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether a graph that is built here can do all of it."""
        return self.table is None and not self.dense and not self.maps

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        dense = {
            f"output.dense[{place}].weights": layer.weights
            for place, layer in enumerate(self.dense)
        }
        return dense | files_of(self.table, self.context, self.maps)


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """A vector for each token, for late interaction.

    output            name of the graph's output [text, token, number]; "" takes the graph's own
    dimension         numbers of a vector
    projection        safetensors file with a matrix [dimension, number] that makes a token's vector
                      of the graph's numbers; "" where the graph's are the vector
    tensor            the matrix's name in it
    skip_special      leave out the vectors of special tokens
    skip_punctuation  leave out those of punctuation, in documents
    query_marker      piece of the vocabulary that is put behind a query's first token; "" is none
    document_marker   likewise
    query_tokens      the length to which queries are filled and cut; 0 does neither
    query_fill        piece that they are filled with; "" only cuts them
    attend_to_mask    whether the others look at those
    """

    output: str
    dimension: int
    normalise: bool
    projection: str
    tensor: str
    skip_special: bool
    skip_punctuation: bool
    query_marker: str
    document_marker: str
    query_tokens: int
    query_fill: str
    attend_to_mask: bool

    @property
    def sided(self) -> bool:
        """Whether a query's tokens are others than those of the same text as a document."""
        return bool(self.query_marker or self.document_marker or self.query_tokens)


SparseForm = Literal["logits", "weights", "token_weights"]


@dataclass(frozen=True, slots=True)
class SparseOutput:
    """Weights of the vocabulary.

    output      name of the graph's output; "" takes the graph's own
    form        what that is: "logits" [text, token, word] of a masked language model; "weights"
                [text, word] that are ready; "token_weights" [text, token, 1] of the text's own
                tokens
    most        only so many of the largest weights are kept; 0 keeps all
    min_weight  smaller ones are left out
    """

    output: str
    form: SparseForm
    most: int
    min_weight: float


@dataclass(frozen=True, slots=True)
class TextSpec:
    """An encoder of texts: text → tokens → graph → output. One output at least is not None."""

    text: TextInput
    output: Output | None
    tokens: TokenOutput | None = None
    sparse: SparseOutput | None = None

    @property
    def outputs(self) -> tuple[OutputKind, ...]:
        """What it makes of a text; the first is what it is asked for by default."""
        made: list[OutputKind] = []
        if self.output is not None:
            made.append("dense")
        if self.tokens is not None:
            made.append("tokens")
        if self.sparse is not None:
            made.append("sparse")
        return tuple(made)

    @property
    def max_input(self) -> int:
        """Longest input in tokens."""
        return self.text.max_tokens

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        paths = {"text.tokenizer": self.text.tokenizer}
        if self.tokens is not None and self.tokens.projection:
            paths["tokens.projection"] = self.tokens.projection
        if self.output is not None:
            paths |= self.output.paths
        return paths


def read_text(top: Table) -> TextSpec:
    """Read the tables of an encoder of texts."""
    tokens = read_tokens(top.table("tokens")) if "tokens" in top else None
    sparse = read_sparse(top.table("sparse")) if "sparse" in top else None
    needed = tokens is None and sparse is None
    spec = TextSpec(
        read_input(top.table("text")),
        read_output(top.table("output")) if needed or "output" in top else None,
        tokens,
        sparse,
    )
    if tokens is not None and tokens.sided and len(spec.outputs) > 1:
        top.fail(
            "tokens",
            "neither markers nor query_tokens beside another output, which they would change",
            "them",
        )
    return spec


def read_input(table: Table) -> TextInput:
    """Read [text]."""
    text = TextInput(
        tokenizer=table.take("tokenizer", str),
        max_tokens=table.positive("max_tokens"),
        query_prompt=table.take("query_prompt", str, ""),
        document_prompt=table.take("document_prompt", str, ""),
    )
    table.end()
    return text


def read_output(table: Table, plain_pools: tuple[str, ...] = get_args(Pool)) -> Output:
    """Read [output].

    plain_pools  the pools without a table that fit what is read
    """
    pool = table.take("pool", str)
    with_table = pool in get_args(TablePool)
    plain = pool == "graph" or set(pool.split("+")) <= set(plain_pools)
    if not with_table and not plain:
        known = ", ".join(map(repr, ("graph", *plain_pools, *get_args(TablePool))))
        table.fail("pool", f"one of {known}, or several plain ones joined by +", repr(pool))
    output = Output(
        pool=pool,
        normalise=table.take("normalise", bool),
        dense=tuple(_read_dense(layer) for layer in table.tables("dense")),
        table=read_pool_table(table.table(pool), pool) if with_table else None,
        context=read_context(table.table("context")) if "context" in table else None,
        maps=tuple(read_map(entry) for entry in table.tables("maps")),
    )
    if output.context is not None and not with_table:
        names = ", ".join(get_args(TablePool))
        table.fail("context", f"a pool that works on single inputs ({names})", repr(pool))
    table.end()
    return output


def read_tokens(table: Table) -> TokenOutput:
    """Read [tokens]."""
    tokens = TokenOutput(
        output=table.take("output", str, ""),
        dimension=table.positive("dimension"),
        normalise=table.take("normalise", bool),
        projection=table.take("projection", str, ""),
        tensor=table.take("tensor", str, "linear.weight"),
        skip_special=table.take("skip_special", bool, False),
        skip_punctuation=table.take("skip_punctuation", bool, False),
        query_marker=table.take("query_marker", str, ""),
        document_marker=table.take("document_marker", str, ""),
        query_tokens=table.positive("query_tokens") if "query_tokens" in table else 0,
        query_fill=table.take("query_fill", str, "[MASK]"),
        attend_to_mask=table.take("attend_to_mask", bool, False),
    )
    table.end()
    return tokens


def read_sparse(table: Table) -> SparseOutput:
    """Read [sparse]."""
    sparse = SparseOutput(
        output=table.take("output", str, ""),
        form=table.choose("form", get_args(SparseForm)),
        most=table.positive("most") if "most" in table else 0,
        min_weight=table.take("min_weight", float, 0.0),
    )
    if sparse.min_weight < 0:
        table.fail("min_weight", "a weight of 0.0 or more", str(sparse.min_weight))
    table.end()
    return sparse


def _read_dense(table: Table) -> Dense:
    layer = Dense(
        weights=table.take("weights", str),
        activation=table.choose("activation", get_args(Activation)),
    )
    table.end()
    return layer
