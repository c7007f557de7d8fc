"""What an encoder is: the words that the service, the registry and the batcher share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.tally import Histogram
from app.types import F32

TextKind = Literal["query", "document"]
"""Which side of a search a text is on: some models put another prompt before each."""

Status = Literal["ready", "loading", "unavailable"]

Progress = Callable[[str, int, int], None]
"""Told what is under way, bytes done, and bytes in all (0 = unknown). May raise to stop it."""


def no_progress(what: str, done_bytes: int, total_bytes: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An installed encoder, as the service shows it.

    status   "ready" answers requests; "loading" is being obtained, built or opened; "unavailable"
             was never loaded, or could not be
    detail   why it is unavailable; "" otherwise
    created  when the model was released, seconds since 1970
    space    `id@version`: vectors compare only within one space
    """

    name: str
    dimension: int
    max_tokens: int
    modality: str
    status: Status
    detail: str
    created: int
    owned_by: str
    space: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as vectors.

    vectors  [text, dim] float32, in the order of the texts
    tokens   token count of each text as the model saw it: after truncation, special tokens and
             prompt included
    """

    vectors: F32
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class EncoderStatistics:
    """What one loaded encoder did, and what waits for it.

    waiting, limit   texts in the queue, and how many may be
    batch_texts      texts of each batch
    batch_tokens     tokens of each batch, padding left out
    batch_seconds    of the model on each batch
    failed           batches that the model refused
    """

    name: str
    waiting: int
    limit: int
    batch_texts: Histogram
    batch_tokens: Histogram
    batch_seconds: Histogram
    failed: int


class Encoder(Protocol):
    """Turns texts into vectors. The vector of a text does not depend on the texts beside it."""

    name: str
    dimension: int

    def encode(self, texts: Sequence[str], kind: TextKind) -> Encoded:
        """Encode texts in order. Raises whatever its runtime raises."""
        ...


class StagedEncoder(Encoder, Protocol):
    """An encoder whose two stages the batcher calls apart, to know lengths before it packs."""

    def tokenize(self, prompted: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, its prompt already before it; at least one token each."""
        ...

    def run(self, tokens: Sequence[Sequence[int]]) -> F32:
        """Vectors [text, dim] of one batch, in its order."""
        ...
