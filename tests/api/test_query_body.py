"""Vectors read past the validator: the same requests, the same faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.api.body import validated
from app.api.convert import query_from_wire
from app.api.query_body import one_query, several_queries
from app.errors import LikewiseError
from app.service.checks import check_vector, place
from app.service.requests import Query
from app.types import VectorField
from app.wire.queries import Query as WireQuery
from app.wire.queries import QueryBatch


def plainly(body: bytes) -> Query:
    """A query as the validator alone reads it."""
    model = validated(WireQuery, body)
    return query_from_wire(model, "", model.vector)


def plainly_several(body: bytes) -> list[Query]:
    model = validated(QueryBatch, body)
    return [
        query_from_wire(query, place("/queries", at), query.vector)
        for at, query in enumerate(model.queries)
    ]


def outcome(read: Callable[[bytes], Any], body: bytes) -> Any:
    """What a reader makes of a body, vectors checked, or how it refuses it."""
    try:
        read_ = read(body)
        queries = read_ if isinstance(read_, list) else [read_]
        return [_told(query) for query in queries]
    except LikewiseError as error:
        return type(error), error.detail, error.pointer, getattr(error, "faults", None)


def _told(query: Query) -> Any:
    vector: Any = query.vector
    if isinstance(vector, list | np.ndarray):
        field = VectorField("v", len(vector))
        try:
            vector = check_vector(vector, field, "/vector").tobytes()
        except LikewiseError as error:
            vector = type(error), error.detail, error.pointer
    return query._replace(vector=vector)


numbers = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
)
odd = st.one_of(st.booleans(), st.none(), st.text(max_size=3), st.lists(numbers, max_size=2))
arrays = st.one_of(st.lists(numbers, max_size=6), st.lists(st.one_of(numbers, odd), max_size=4))
values = st.one_of(arrays, odd, st.dictionaries(st.just("vector"), arrays, max_size=1))
members = st.dictionaries(
    st.sampled_from(["vector", "filter", "k", "id", "text", "fields", "unknown"]),
    st.one_of(values, st.dictionaries(st.sampled_from(["vector", "n"]), values, max_size=2)),
    max_size=3,
)


@given(members, st.sampled_from([None, 1]), st.booleans())
@example({"filter": {"vector": [1]}}, None, False)
@example({"filter": {"vector": [1]}, "vector": [2]}, None, False)
@example({"vector": [1, True]}, None, False)
@example({"vector": [[1]]}, None, False)
@example({"vector": [1e300]}, None, False)
@example({"vector": ["]"]}, None, False)
def test_a_query_is_read_as_the_validator_alone_reads_it(
    query: dict[str, Any], indent: int | None, escaped: bool
) -> None:
    body = json.dumps(query, indent=indent).encode()
    if escaped:
        body = body.replace(b"vector", b"vec\\u0074or", 1)
    assert outcome(lambda b: one_query(b)[1], body) == outcome(plainly, body)


@given(st.lists(members, max_size=4))
def test_a_batch_is_read_as_the_validator_alone_reads_it(queries: list[dict[str, Any]]) -> None:
    body = json.dumps({"queries": queries}).encode()
    assert outcome(lambda b: several_queries(b)[1], body) == outcome(plainly_several, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"vector": [1, 2], "vector": [3, 4]}',
        b'{"vector": [1, 2], "vec\\u0074or": [3, 4]}',
        b'{"filter": {"a\\"vector": [1]}, "vector": [2]}',
        b'{"filter": {"a": "\\"vector\\": [1]"}, "vector": [2]}',
        b'{"filter": {"a": "\\\\"}, "vector": [2]}',
        b'{"vector": [1, 2',
        b'{"vector": [1, 2]',
        b'{"vector": [1,, 2]}',
        b'{"vector": [01]}',
        b'{"vector": [NaN]}',
        b'{"vector": [1e999]}',
        b'{"vector": [-0.0, 5e-324]}',
        b'{"vector": []}',
        b'{"vector":[1],"k":0}',
        b'{"vector":[1],"unknown":0}',
        b'[{"vector": [1]}]',
        b'"vector": [1]',
        b"",
    ],
)
def test_odd_bodies_are_read_and_refused_as_before(body: bytes) -> None:
    assert outcome(lambda b: one_query(b)[1], body) == outcome(plainly, body)


def test_a_plain_vector_is_read_into_an_array_at_once() -> None:
    numbers = np.random.default_rng(0).standard_normal(384).tolist()
    _, query = one_query(json.dumps({"filter": {"n": 1}, "vector": numbers}).encode())
    assert isinstance(query.vector, np.ndarray)
    assert query.vector.flags.writeable
    assert query.vector.tolist() == np.array(numbers, np.float32).tolist()
    _, queries = several_queries(json.dumps({"queries": [{"vector": [1, 2.5]}] * 3}).encode())
    assert [query.vector.tolist() for query in queries] == [[1, 2.5]] * 3  # type: ignore[attr-defined]
