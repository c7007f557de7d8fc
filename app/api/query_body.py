"""Query bodies, with their vectors read past the validator.

Of a query's body 95 % are the numbers of its vector, and to a validator each is an object of its
own: made, looked at, kept, and put into an array later. So the vectors are cut out of the bytes,
read into float32 at once, and a token stands in their place while the rest is validated.

    {"vector": [0.1, 0.2], "k": 5}   →   {"vector": "<token>0", "k": 5}   and   float32[2]

That is an optimisation, not a second reading of JSON: what was cut is a whole JSON value, an array
of plain numbers, since it was parsed as one; and every token must turn up as the vector of a query,
once. Where one does not (the cut was in a filter, a member came twice), where anything is refused,
and where the numbers are not plain ones, the body is validated again as it came, and what that says
is what counts. Tokens cannot be guessed, so no body can hold one.
"""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Callable, Sequence

import numpy as np
import orjson
from pydantic import ValidationError

from app.api.body import Model, validated
from app.api.convert import query_from_wire
from app.service.checks import place
from app.service.requests import Query
from app.types import F32
from app.wire.queries import Query as WireQuery
from app.wire.queries import QueryBatch

_OPENING = re.compile(rb'"vector"\s*:\s*\[')
_TOKEN = secrets.token_hex(16)


def one_query(body: bytes | bytearray) -> tuple[WireQuery, Query]:
    """Validate the body of a query. Raises MalformedBody or InvalidField."""
    model, (vector,) = _read_past(WireQuery, body, lambda model: [model])
    return model, query_from_wire(model, "", vector)


def several_queries(body: bytes | bytearray) -> tuple[QueryBatch, list[Query]]:
    """Validate the body of a batch; each query knows its place. Raises as `one_query` does."""
    model, vectors = _read_past(QueryBatch, body, lambda model: model.queries)
    return model, [
        query_from_wire(query, place("/queries", index), vector)
        for index, (query, vector) in enumerate(zip(model.queries, vectors, strict=True))
    ]


def _read_past(
    kind: type[Model], body: bytes | bytearray, queries_of: Callable[[Model], Sequence[WireQuery]]
) -> tuple[Model, list[object]]:
    """Validate a body, and give the vector of each of its queries: read already, or as it came."""
    cut = _cut(body)
    if cut is not None:
        rest, vectors = cut
        try:
            model = kind.model_validate_json(rest)
        except ValidationError:
            pass  # to be told of the body as it came
        else:
            found = _placed(queries_of(model), vectors)
            if found is not None:
                return model, found
    model = validated(kind, body)
    return model, [query.vector for query in queries_of(model)]


def _cut(body: bytes | bytearray) -> tuple[bytes, dict[str, F32]] | None:
    """Cut out the vectors: what is left, and they by their tokens; None if that is not easy."""
    pieces: list[bytes | bytearray] = []
    vectors: dict[str, F32] = {}
    at = 0
    while opening := _OPENING.search(body, at):
        end = body.find(b"]", opening.end()) + 1
        vector = _read(body[opening.end() - 1 : end]) if end else None
        if vector is None:
            return None
        token = f"{_TOKEN}{len(vectors)}"
        vectors[token] = vector
        pieces += (body[at : opening.end() - 1], b'"', token.encode(), b'"')
        at = end
    if not vectors:
        return None
    pieces.append(body[at:])
    return b"".join(pieces), vectors


def _read(array: bytes | bytearray) -> F32 | None:
    """Read a JSON array of numbers; None if it is not that, or a number is outside float32."""
    if b"t" in array or b"f" in array:  # true and false would pass for numbers
        return None
    try:
        numbers = orjson.loads(array)
        octets = bytearray(4 * len(numbers))
        # Rounds like a cast. A third of the time of `numpy.array`, which asks each what it is.
        struct.pack_into(f"{len(numbers)}f", octets, 0, *numbers)
    except (orjson.JSONDecodeError, struct.error, OverflowError):
        return None
    return np.frombuffer(octets, np.float32)


def _placed(queries: Sequence[WireQuery], vectors: dict[str, F32]) -> list[object] | None:
    """Put the vectors back in the place of their tokens; None if they are not all there."""
    found = [
        vectors.pop(query.vector, query.vector) if type(query.vector) is str else query.vector
        for query in queries
    ]
    return None if vectors else found
