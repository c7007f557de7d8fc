"""What an encoder is: the words that the service, the registry and the batcher share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from app.encoders.inputs import Input
from app.errors import LikewiseError
from app.tally import Histogram
from app.types import F32, Sparse

TextKind = Literal["query", "document"]
"""Which side of a search a text is on: some models put another prompt before each."""

OutputKind = Literal["dense", "tokens", "sparse", "score", "all"]
"""What an encoder makes of one input:

dense   one vector, [dim] float32
tokens  one vector for each of its tokens, [token, dim] float32
sparse  weights of a vocabulary, `Sparse`
score   one number: how well the two texts of a pair go together
all     everything that it makes of a text, of one run: `Several`
"""

Cut = Literal["end", "start", "never"]
"""Where an input loses what is too much for the model; "never" refuses it."""

LaneName = Literal["query", "write", "bulk"]
"""Who asks: somebody who waits for an answer, somebody who stores a few points, an import."""

Dimensions: TypeAlias = tuple[int, ...] | Literal["any"]
"""Shorter lengths that vectors may be cut to, ascending; "any" is every one."""

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
    dimensions  shorter lengths that its vectors may be cut to: `app.encoders.dimensions`
    unit     whether its dense vectors have length one
    token_dimension  numbers of the vector of each token; 0 where its manifest does not say it, or
             it makes none
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
    kind: str = "text"
    outputs: tuple[OutputKind, ...] = ("dense",)
    dimensions: Dimensions = ()
    unit: bool = True
    token_dimension: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Several:
    """All outputs of one text; None for those that the encoder does not make."""

    dense: F32 | None
    tokens: F32 | None
    sparse: Sparse | None


def numbers_in(output: Any) -> int:
    """How many numbers an output holds, or several of them."""
    if isinstance(output, np.ndarray):
        return output.size
    if isinstance(output, Sparse):
        return 2 * len(output.values)
    if isinstance(output, Several):
        return sum(map(numbers_in, (output.dense, output.tokens, output.sparse)))
    if isinstance(output, list):
        return sum(map(numbers_in, output))
    return 0 if output is None else 1


@dataclass(frozen=True, slots=True)
class Encoded:
    """Inputs as what was asked for.

    outputs  one for each input, in order: dense vectors as one array [input, dim] float32,
             whatever else as a list
    tokens   token count of each input as the model saw it: after truncation, special tokens and
             prompt included
    """

    outputs: F32 | list[Any]
    tokens: list[int]

    @property
    def vectors(self) -> F32:
        """The dense vectors, [input, dim] float32."""
        assert isinstance(self.outputs, np.ndarray)
        return self.outputs


@dataclass(frozen=True, slots=True)
class Prepared:
    """An input that is ready for the graph.

    value   what the encoder's `run` wants: token ids, an array of pixels, …
    cost    how much of a batch it takes, in tokens
    tokens  what its caller is told
    """

    value: Any
    cost: int
    tokens: int


@dataclass(frozen=True, slots=True)
class EncoderStatistics:
    """What one loaded encoder did, and what waits for it.

    waiting, limit   inputs in each lane of the queue, and how many may be in each
    waits            per lane, seconds from a submission until the first of its inputs ran
    batch_texts      texts of each batch
    batch_tokens     tokens of each batch, padding left out
    batch_seconds    of the model on each batch
    failed           batches that the model refused
    spared           inputs that did not have to run: "coalesced" with an equal one, "cancelled"
                     or "expired" while they waited
    """

    name: str
    waiting: dict[LaneName, int]
    limit: int
    waits: dict[LaneName, Histogram]
    batch_texts: Histogram
    batch_tokens: Histogram
    batch_seconds: Histogram
    failed: int
    spared: dict[str, int]


class Encoder(Protocol):
    """Turns inputs into vectors. The vector of an input does not depend on those beside it.

    Two stages, which the batcher calls apart, to know lengths before it packs. Both may be called
    by several threads at once.

    parallel  how many calls of `run` at once make the most of the cores: 1 if a run has threads of
              its own, as many as it may use cores if each run stays on its caller's thread
    """

    name: str
    dimension: int
    parallel: int

    def address(self, inputs: Sequence[Input], kind: TextKind) -> list[Input]:
        """Make inputs complete: the model's prompt for this kind before each text.

        Raises InvalidText (pointer `/i`) for an input that this encoder does not read.
        """
        ...

    def estimate(self, given: Input) -> int:
        """Guess what an input costs before it is prepared, in tokens. Fast."""
        ...

    def prepare(self, inputs: Sequence[Input]) -> list[Prepared | LikewiseError]:
        """Make inputs ready for the graph. What cannot be read yields its error in its place."""
        ...

    def run(self, batch: Sequence[Prepared], output: OutputKind) -> F32 | list[Any]:
        """Outputs of one batch, in its order. Raises whatever its runtime raises."""
        ...

    def close(self) -> None:
        """End its threads. Nothing may be running."""
        ...


@runtime_checkable
class Cutting(Protocol):
    """An encoder whose inputs can be cut in other ways than at their end."""

    def fitted(self, inputs: Sequence[Input], kind: TextKind, cut: Cut) -> list[Input]:
        """Make inputs short enough, prompts put before them; what comes back is sent as it is.

        Raises InvalidText (pointer `/i`) for an input that it does not read, or that `cut` refuses.
        """
        ...
