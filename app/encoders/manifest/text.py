"""What makes an encoder of texts: [text] and [output]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

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
    """How the graph's output becomes one vector.

    pool   a `Pool`, several joined by "+" (side by side), or "graph": it is one vector already
    dense  layers between pool and normalisation
    """

    pool: str
    normalise: bool
    dense: tuple[Dense, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSpec:
    """An encoder of texts: text → tokens → graph → output."""

    text: TextInput
    output: Output

    @property
    def max_input(self) -> int:
        """Longest input in tokens."""
        return self.text.max_tokens

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        dense = enumerate(self.output.dense)
        return {
            "text.tokenizer": self.text.tokenizer,
            **{f"output.dense[{place}].weights": layer.weights for place, layer in dense},
        }


def read_text(top: Table) -> TextSpec:
    """Read the tables of an encoder of texts."""
    return TextSpec(read_input(top.table("text")), read_output(top.table("output")))


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


def read_output(table: Table) -> Output:
    """Read [output]."""
    pool = table.take("pool", str)
    if pool != "graph" and not set(pool.split("+")) <= set(get_args(Pool)):
        known = ", ".join(map(repr, ("graph", *get_args(Pool))))
        table.fail("pool", f"one of {known}, or several joined by +", repr(pool))
    output = Output(
        pool=pool,
        normalise=table.take("normalise", bool),
        dense=tuple(_read_dense(layer) for layer in table.tables("dense")),
    )
    table.end()
    return output


def _read_dense(table: Table) -> Dense:
    layer = Dense(
        weights=table.take("weights", str),
        activation=table.choose("activation", get_args(Activation)),
    )
    table.end()
    return layer
