"""What makes an encoder of texts: [text] and [output]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.manifest.table import Table

Pool = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class TextInput:
    """How text becomes token ids. `max_tokens` counts special tokens and the prompt."""

    tokenizer: str
    max_tokens: int
    query_prompt: str
    document_prompt: str


@dataclass(frozen=True, slots=True)
class Output:
    """How the graph's output becomes one vector: "graph" means that it is one already."""

    pool: Pool | Literal["graph"]
    normalise: bool


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
        return {"text.tokenizer": self.text.tokenizer}


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
    pool = table.choose("pool", ("graph", *get_args(Pool)))
    output = Output(pool=pool, normalise=table.take("normalise", bool))
    table.end()
    return output
