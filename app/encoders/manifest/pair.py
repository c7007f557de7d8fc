"""What makes an encoder of pairs, a cross-encoder: [pair]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from app.encoders.base import OutputKind
from app.encoders.manifest.table import Table

Activation = Literal["sigmoid", "identity", "softmax"]
Truncate = Literal["second", "longest"]


@dataclass(frozen=True, slots=True)
class PairSpec:
    """An encoder of pairs: two texts → tokens → graph → one number.

    max_tokens  of both texts together, special tokens included
    truncate    which text of a pair that is too long is cut: `app.encoders.tokenizer.cut_pair`
    labels      numbers that the graph returns for a pair
    label       which of them is the score
    activation  what makes the score of it; "softmax" is over all labels
    """

    tokenizer: str
    max_tokens: int
    truncate: Truncate
    labels: int
    label: int
    activation: Activation

    @property
    def max_input(self) -> int:
        """Longest pair in tokens."""
        return self.max_tokens

    @property
    def paths(self) -> dict[str, str]:
        """The files it reads, by the key that names them."""
        return {"pair.tokenizer": self.tokenizer}

    @property
    def outputs(self) -> tuple[OutputKind, ...]:
        """What it makes of a pair."""
        return ("score",)


def read_pair(top: Table) -> PairSpec:
    """Read the table of a cross-encoder."""
    table = top.table("pair")
    pair = PairSpec(
        tokenizer=table.take("tokenizer", str),
        max_tokens=table.positive("max_tokens"),
        truncate=table.choose("truncate", get_args(Truncate)),
        labels=table.positive("labels"),
        label=table.take("label", int, 0),
        activation=table.choose("activation", get_args(Activation)),
    )
    if not 0 <= pair.label < pair.labels:
        table.fail("label", f"a number below labels = {pair.labels}", str(pair.label))
    if pair.activation == "softmax" and pair.labels == 1:
        table.fail("activation", '"sigmoid" or "identity" for a single label', '"softmax"')
    table.end()
    return pair
