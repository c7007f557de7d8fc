"""Writing what encoders make: one writer for each kind of output.

Answers are large: 512 vectors of 384 numbers take 4 ms to write, and the JSON writer holds the
interpreter for as long, on a thread as well. So they are written on the event loop in pieces, with
a turn for everybody else between two of them: no hand-over to a thread, and nobody waits longer
than for one piece. An output that is more than a piece by itself, as the vectors of a text's tokens
are, is written in pieces too.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from app.api.answers import written
from app.api.convert import json_from_vector
from app.encoders.base import OutputKind, Several, numbers_in
from app.service.embedding import Embedded
from app.service.quantised import quantise
from app.types import F32, Sparse
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
        return [json_from_vector(one, "base64") for one in made]
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
    pieces = []
    for start, end in _groups(outputs):
        if start:
            await asyncio.sleep(0)
        if end == start + 1 and numbers_in(outputs[start]) > _PIECE_NUMBERS:
            made = [await _apart(outputs[start], numbers)]
        else:
            made = write(outputs[start:end], numbers)
        pieces.append(written(entries(start, made))[1:-1])
    return orjson.Fragment(b"".join((b"[", b",".join(pieces), b"]")))


def _groups(outputs: Any) -> Iterator[tuple[int, int]]:
    """Begin and end of groups of outputs that are no more than a piece, or one output."""
    if isinstance(outputs, np.ndarray):
        step = max(1, _PIECE_NUMBERS // outputs.shape[1])
        yield from ((start, start + step) for start in range(0, len(outputs), step))
        return
    start = held = 0
    for place, one in enumerate(outputs):
        count = numbers_in(one)
        if place > start and held + count > _PIECE_NUMBERS:
            yield start, place
            start, held = place, 0
        held += count
    if outputs:
        yield start, len(outputs)


async def _apart(output: Any, numbers: NumberFormat) -> Any:
    """JSON of one large output, as its writer makes it."""
    if isinstance(output, Several):
        parts = {"dense": output.dense, "tokens": output.tokens, "sparse": output.sparse}
        return {
            name: await _apart(part, numbers) for name, part in parts.items() if part is not None
        }
    if isinstance(output, Sparse):
        return {"indices": await _listed(output.indices), "values": await _listed(output.values)}
    if output.ndim == 1:
        return _dense(output[None], numbers)[0]
    if numbers == "float":
        return await _listed(output)
    if numbers == "base64":
        return {"shape": list(output.shape), "data": await _packed(output)}
    return await _listed(await run_in_threadpool(quantise, output, numbers))


async def _listed(array: NDArray[Any]) -> orjson.Fragment:
    """Write a list of numbers, or of rows of them."""
    step = max(1, _PIECE_NUMBERS * len(array) // max(1, array.size))
    pieces = []
    for start in range(0, len(array), step):
        pieces.append(written(np.ascontiguousarray(array[start : start + step]))[1:-1])
        await asyncio.sleep(0)
    return orjson.Fragment(b"".join((b"[", b",".join(pieces), b"]")))


async def _packed(array: F32) -> orjson.Fragment:
    """Write numbers as base64 of little-endian float32."""
    octets = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8)
    step = 3 * 4 * _PIECE_NUMBERS  # multiples of three bytes are whole groups of characters
    pieces = []
    for start in range(0, len(octets), step):
        pieces.append(base64.b64encode(octets[start : start + step].tobytes()))
        await asyncio.sleep(0)
    return orjson.Fragment(b"".join((b'"', *pieces, b'"')))
