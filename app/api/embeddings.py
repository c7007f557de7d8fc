"""Writing what encoders make: one writer for each kind of output.

Answers are large: 512 vectors of 384 numbers take 4 ms to write, and the JSON writer holds the
interpreter for as long, on a thread as well. So they are written on the event loop in pieces, with
a turn for everybody else between two of them: no hand-over to a thread, and nobody waits longer
than for one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from app.api.answers import written
from app.api.convert import json_from_vector
from app.service.embedding import Embedded
from app.wire.base import EncodingFormat

_PIECE_NUMBERS = 8192
"""Numbers of one piece: 0.2 ms on one core."""

Writer = Callable[[Any, EncodingFormat], Any]


def _dense(made: Any, encoding: EncodingFormat) -> Any:
    return json_from_vector(made, encoding)


def _tokens(made: Any, encoding: EncodingFormat) -> Any:
    if encoding == "base64":
        return {"shape": list(made.shape), "data": json_from_vector(made, encoding)}
    return np.ascontiguousarray(made)


def _sparse(made: Any, encoding: EncodingFormat) -> Any:
    return {"indices": made.indices, "values": made.values}


def _all(made: Any, encoding: EncodingFormat) -> Any:
    outputs = {"dense": made.dense, "tokens": made.tokens, "sparse": made.sparse}
    return {
        kind: WRITERS[kind](output, encoding)
        for kind, output in outputs.items()
        if output is not None
    }


WRITERS: dict[str, Writer] = {
    "dense": _dense,
    "tokens": _tokens,
    "sparse": _sparse,
    "all": _all,
}
"""Kind of output → what makes JSON of one of them."""


async def embeddings_written(embedded: Embedded, encoding: EncodingFormat) -> orjson.Fragment:
    """Write the list of `app.wire.embeddings.Embedding`."""
    write = WRITERS[embedded.output]

    def entry(place: int) -> Any:
        made = write(embedded.outputs[place], encoding)
        return {"object": "embedding", "index": place, "embedding": made}

    count = len(embedded.outputs)
    return await list_written(count, entry, numbers=_numbers(embedded))


async def list_written(count: int, entry: Callable[[int], Any], *, numbers: int) -> orjson.Fragment:
    """Write a list of `count` entries in pieces.

    numbers  how many numbers an entry holds, about
    """
    step = max(1, _PIECE_NUMBERS // max(1, numbers))
    pieces = []
    for start in range(0, count, step):
        if start:
            await asyncio.sleep(0)
        stop = min(count, start + step)
        pieces.append(written([entry(place) for place in range(start, stop)])[1:-1])
    return orjson.Fragment(b"".join((b"[", b",".join(pieces), b"]")))


def _numbers(embedded: Embedded) -> int:
    """How many numbers an output holds, about."""
    if not len(embedded.outputs):
        return 1
    first = embedded.outputs[0]
    return int(np.size(first)) if isinstance(first, np.ndarray) else 256
