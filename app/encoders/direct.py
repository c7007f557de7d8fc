"""Encode without a queue: to warm up, to check, to measure."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.encoders.base import Encoded, Encoder, Prepared, TextKind
from app.encoders.inputs import Input
from app.encoders.packing import pack
from app.errors import LikewiseError

_SHARES = 4
_LEAST_SHARE_TOKENS = 64


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

    def work(batch: list[int]) -> None:
        vectors[batch] = encoder.run([prepared[place] for place in batch], "dense")

    costs = [one.cost for one in prepared]
    if encoder.parallel == 1 or len(costs) < 2:
        for batch in pack(costs, batch_tokens):
            work(batch)
        return Encoded(vectors, [one.tokens for one in prepared])
    # Enough batches for the threads to end at about the same time.
    share = max(_LEAST_SHARE_TOKENS, sum(costs) // (_SHARES * encoder.parallel))
    with ThreadPoolExecutor(encoder.parallel) as threads:
        for _ in threads.map(work, pack(costs, min(batch_tokens, share))):
            pass
    return Encoded(vectors, [one.tokens for one in prepared])
