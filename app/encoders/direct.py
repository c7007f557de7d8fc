"""Encode on the caller's thread, without a queue: to warm up, to check, to measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.encoders.base import Encoded, Encoder, Prepared, TextKind
from app.encoders.inputs import Input
from app.encoders.packing import pack
from app.errors import LikewiseError


def encode(
    encoder: Encoder, inputs: Sequence[Input], kind: TextKind, *, batch_tokens: int = 4096
) -> Encoded:
    """Make dense vectors, in the order of the inputs.

    batch_tokens  most tokens of one batch, padding included

    Raises the error of the first input that cannot be read, and whatever the runtime raises.
    """
    prepared: list[Prepared] = []
    for one in encoder.prepare(encoder.address(inputs, kind)):
        if isinstance(one, LikewiseError):
            raise one
        prepared.append(one)
    vectors = np.empty((len(prepared), encoder.dimension), np.float32)
    for batch in pack([one.cost for one in prepared], batch_tokens):
        vectors[batch] = encoder.run([prepared[place] for place in batch], "dense")
    return Encoded(vectors, [one.tokens for one in prepared])
