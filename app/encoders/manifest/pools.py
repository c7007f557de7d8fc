"""The pools that have a table of their own, and what surrounds them: [output.gem] and the like.

[output]
pool = "codebook"            # read from [output.codebook]
normalise = true
[output.context]             # before the pool, optional
[output.codebook]
[[output.maps]]              # after it, in order, any number
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.manifest.table import Table

TablePool = Literal["gem", "codebook", "orth_fuse", "topk_attn", "attend"]
"""Values of `output.pool` that have a table: `app.encoders.pipeline`."""


@dataclass(frozen=True, slots=True)
class Gem:
    """Generalised mean with power p ≥ 1."""

    p: float


@dataclass(frozen=True, slots=True)
class Codebook:
    """Aggregation over a codebook.

    mode         "vlad": residuals to the words; "cs": what trained queries read, over a reference
    words        .npy [word, dim]
    reference    .npy [word, column], or "" for none (not in "cs")
    temperature  of the assignment in "vlad"; 0 takes the nearest word
    """

    mode: Literal["vlad", "cs"]
    words: str
    reference: str
    temperature: float


@dataclass(frozen=True, slots=True)
class OrthFuse:
    """A global vector and the tokens beside it.

    anchor  "cls", "mean", or the name of the graph's output that is the global vector
    weight  λ
    shares  how tokens count: "uniform", or "norm" (by their length)
    """

    anchor: str
    weight: float
    shares: Literal["uniform", "norm"]


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The mean of the k most activated tokens."""

    k: int


@dataclass(frozen=True, slots=True)
class Attend:
    """Attention of one query. k = 0 lets all tokens take part."""

    query: str
    temperature: float
    k: int


@dataclass(frozen=True, slots=True)
class Context:
    """Soft regions of tokens, and what is made of them.

    k            regions
    weight       λ of a region's context in each token
    temperature  of both soft choices
    prototypes   .npy [region, dim], or "" to find them in each input
    emit         what the output "tokens" gives: augmented tokens, or the regions themselves
    """

    k: int
    weight: float
    temperature: float
    prototypes: str
    emit: Literal["tokens", "regions"]


@dataclass(frozen=True, slots=True)
class Map:
    """One map after pooling.

    op         center (mean), pca or whiten or linear (matrix, perhaps mean and bias), truncate
               (dimension), l2, signed_sqrt
    mean, matrix, bias  .npy [dim], [to, dim], [to]; "" for none
    dimension  of truncate; 0 otherwise
    """

    op: str
    mean: str = ""
    matrix: str = ""
    bias: str = ""
    dimension: int = 0


PoolTable = Gem | Codebook | OrthFuse | TopTokens | Attend

_WITH_MATRIX = ("pca", "whiten", "linear")
_MAPS = ("center", *_WITH_MATRIX, "truncate", "l2", "signed_sqrt")


def read_pool_table(table: Table, pool: str) -> PoolTable:
    """Read the table of a pool in `TablePool`."""
    made: PoolTable
    if pool == "gem":
        made = Gem(_at_least(table, "p", 1.0))
    elif pool == "codebook":
        made = _read_codebook(table)
    elif pool == "orth_fuse":
        made = OrthFuse(
            anchor=table.take("global", str),
            weight=_at_least(table, "lambda", 0.0),
            shares=table.choose("weights", ("uniform", "norm")),
        )
    elif pool == "topk_attn":
        made = TopTokens(table.positive("k"))
    else:
        made = Attend(
            query=table.take("query", str),
            temperature=_above_zero(table, "temperature", 1.0),
            k=table.positive("k") if "k" in table else 0,
        )
    table.end()
    return made


def read_context(table: Table) -> Context:
    """Read [output.context]."""
    context = Context(
        k=table.positive("k"),
        weight=_at_least(table, "lambda", 0.0),
        temperature=_above_zero(table, "temperature", 0.1),
        prototypes=table.take("prototypes", str, ""),
        emit=table.choose("emit", ("tokens", "regions")) if "emit" in table else "tokens",
    )
    table.end()
    return context


def read_map(table: Table) -> Map:
    """Read one of [[output.maps]]."""
    op = table.choose("op", _MAPS)
    made = Map(
        op,
        mean=_mean(table, op),
        matrix=table.take("matrix", str) if op in _WITH_MATRIX else "",
        bias=table.take("bias", str, "") if op == "linear" else "",
        dimension=table.positive("dimension") if op == "truncate" else 0,
    )
    table.end()
    return made


def files_of(
    pool: PoolTable | None, context: Context | None, maps: tuple[Map, ...]
) -> dict[str, str]:
    """The files that pool, context and maps read, by the key that names them."""
    found: dict[str, str] = {}
    if isinstance(pool, Codebook):
        found["output.codebook.words"] = pool.words
        found["output.codebook.reference"] = pool.reference
    elif isinstance(pool, Attend):
        found["output.attend.query"] = pool.query
    if context is not None:
        found["output.context.prototypes"] = context.prototypes
    for place, one in enumerate(maps):
        at = f"output.maps[{place}]"
        found |= {f"{at}.mean": one.mean, f"{at}.matrix": one.matrix, f"{at}.bias": one.bias}
    return {key: path for key, path in found.items() if path}


def _read_codebook(table: Table) -> Codebook:
    mode = table.choose("mode", get_args(Literal["vlad", "cs"]))
    words = table.take("words", str)
    if mode == "cs":
        return Codebook(mode, words, table.take("reference", str), 0.0)
    return Codebook(
        mode, words, table.take("reference", str, ""), _at_least(table, "temperature", 0.0, 0.0)
    )


def _mean(table: Table, op: str) -> str:
    if op == "center":
        return table.take("mean", str)
    return table.take("mean", str, "") if op in _WITH_MATRIX else ""


def _at_least(table: Table, key: str, least: float, default: float | None = None) -> float:
    value = table.take(key, float, default)
    if not least <= value < float("inf"):
        table.fail(key, f"a number of at least {least:g}", str(value))
    return value


def _above_zero(table: Table, key: str, default: float) -> float:
    value = table.take(key, float, default)
    if not 0.0 < value < float("inf"):
        table.fail(key, "a number above 0", str(value))
    return value
