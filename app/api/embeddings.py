"""Writing what encoders make: one writer for each kind of output.

Answers are large: 512 vectors of 384 numbers take 4 ms to write, and the JSON writer holds the
interpreter for as long, on a thread as well. So they are written on the event loop in pieces, with
a turn for everybody else between two of them: no hand-over to a thread, and nobody waits longer
than for one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from app.api.answers import written
from app.api.convert import json_from_vector
from app.encoders.base import OutputKind, Several, Sparse
from app.service.embedding import Embedded
from app.service.quantised import quantise
from app.types import F32
from app.wire.embeddings import NumberFormat

_PIECE_NUMBERS = 8192
"""Numbers of one piece: 0.2 ms on one core."""

Writer = Callable[[Any, NumberFormat], Any]


def _dense(vectors: F32, numbers: NumberFormat) -> Any:
    if numbers == "float":
        return vectors
    if numbers == "base64":
        return [json_from_vector(vector, "base64") for vector in vectors]
    return quantise(vectors, numbers)


def _tokens(made: Sequence[F32], numbers: NumberFormat) -> Any:
    """Matrices [token, number]; in base64 with their shape, which the text does not show."""
    if numbers == "float":
        return [np.ascontiguousarray(one) for one in made]
    if numbers == "base64":
        return [{"shape": list(one.shape), "data": json_from_vector(one, "base64")} for one in made]
    return [quantise(one, numbers) for one in made]


def _sparse(made: Sequence[Sparse], numbers: NumberFormat) -> Any:
    return [{"indices": one.indices, "values": one.values} for one in made]


def _all(made: Sequence[Several], numbers: NumberFormat) -> Any:
    return [_each(one, numbers) for one in made]


def _each(made: Several, numbers: NumberFormat) -> dict[str, Any]:
    each: dict[str, Any] = {}
    if made.dense is not None:
        each["dense"] = _dense(made.dense[None], numbers)[0]
    if made.tokens is not None:
        each["tokens"] = _tokens([made.tokens], numbers)[0]
    if made.sparse is not None:
        each["sparse"] = _sparse([made.sparse], numbers)[0]
    return each


_WRITERS: dict[OutputKind, Writer] = {
    "dense": _dense,
    "tokens": _tokens,
    "sparse": _sparse,
    "all": _all,
}
"""Kind of output → what makes JSON of some of them."""


async def embeddings_written(embedded: Embedded, numbers: NumberFormat) -> orjson.Fragment:
    """Write the list of `app.wire.embeddings.Embedding`."""

    def entries(start: int, made: Any) -> Any:
        return [
            {"object": "embedding", "index": place, "embedding": one}
            for place, one in enumerate(made, start)
        ]

    return await outputs_written(embedded, numbers, entries)


async def outputs_written(
    embedded: Embedded,
    numbers: NumberFormat,
    entries: Callable[[int, Any], Any] = lambda start, made: made,
) -> orjson.Fragment:
    """Write outputs as a list, in pieces.

    entries  makes of the first one's place and some outputs, as JSON, what stands in the list
    """
    outputs = embedded.outputs
    write = _WRITERS[embedded.output]
    step = max(1, _PIECE_NUMBERS // _numbers(outputs))
    pieces = []
    for start in range(0, len(outputs), step):
        if start:
            await asyncio.sleep(0)
        made = write(outputs[start : start + step], numbers)
        pieces.append(written(entries(start, made))[1:-1])
    return orjson.Fragment(b"".join((b"[", b",".join(pieces), b"]")))


def _numbers(outputs: Any) -> int:
    """How many numbers an output holds, about; what is no array is taken for a few hundred."""
    first = outputs[0] if len(outputs) else None
    return max(1, first.size) if isinstance(first, np.ndarray) else 256
