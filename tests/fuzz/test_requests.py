"""Parsers of request bodies, headers, cursors and ids: an answer or one of our errors, no other."""

from __future__ import annotations

import base64
import json
import math
import random as randomness
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.query_body import one_query, several_queries
from app.attributes.filter import parse_filter
from app.errors import InvalidFilter, InvalidRequest, LimitExceeded
from app.service.checks import check_id, check_vector
from app.service.cursor import cursor_after, id_from_cursor
from app.types import Metric, VectorField
from tests.api.harness import InProcess, running, settings
from tests.api.test_query_body import members, outcome, plainly, plainly_several
from tests.attributes.strategies import any_json, filters
from tests.attributes.test_evaluate import built, expected, grown, passing, points_strategy
from tests.reference_backend import ReferenceBackend

from .cases import fuzz, note


@st.composite
def changed(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """A valid value with one place of it, anywhere, replaced by something else."""
    value = draw(values)
    for _ in range(draw(st.integers(0, 2))):
        value = _changed(value, draw, draw(any_json))
    return value


def _changed(value: Any, draw: st.DrawFn, new: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 9)) == 0:
            return {(str(new) if k == key else k): v for k, v in value.items()}
        return value | {key: _changed(value[key], draw, new)}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _changed(value[at], draw, new), *value[at + 1 :]]
    return new


def resolves(pointer: str, document: Any) -> bool:
    """Whether a JSON pointer leads somewhere (RFC 6901), or names a member that is missing."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            # Half a surrogate pair has no UTF-8, and stands as "?" in a pointer.
            document = {name.encode(errors="replace").decode(): v for name, v in document.items()}
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return False
    return True


@fuzz
@given(any_json | changed(filters), points_strategy)
def test_a_filter_is_read_or_refused_at_a_place_that_exists(raw: Any, points: Any) -> None:
    try:
        filter = parse_filter(raw, max_nodes=50)
    except (InvalidFilter, LimitExceeded) as error:
        note("filters", refused=1)
        assert error.pointer is not None
        assert resolves(error.pointer, {"filter": raw}), error.pointer
        return
    note("filters", read=1)
    slots = len(points)
    wanted = expected(filter, points, slots)
    for index in (grown(points), built(points)):
        assert passing(filter, index, points, slots) == wanted


numbers = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.sampled_from((0, 1e38, -3.4e38, 1e-46, True, None)),
)
texts = st.one_of(
    st.text(max_size=24),
    st.binary(max_size=24).map(lambda octets: base64.b64encode(octets).decode()),
    st.lists(st.floats(width=32), min_size=2, max_size=4).map(
        lambda numbers: base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    ),
    st.binary(max_size=16).map(lambda octets: base64.urlsafe_b64encode(octets).decode() + "\n"),
)


@fuzz
@given(st.lists(numbers, max_size=5) | texts | any_json, st.sampled_from(Metric))
def test_a_vector_is_finite_and_of_its_dimension_or_refused(raw: Any, metric: Metric) -> None:
    try:
        vector = check_vector(raw, VectorField("v", 3, metric), "/vector")
    except InvalidRequest as error:
        note("vectors", refused=1)
        assert resolves(str(error.pointer), {"vector": raw})
        return
    note("vectors", read=1)
    assert (vector.dtype, vector.shape) == (np.float32, (3,))
    assert math.isfinite(float(vector @ vector) * 4)
    if isinstance(raw, list):
        np.testing.assert_array_equal(vector, np.array(raw, dtype=np.float32))
    else:
        assert vector.tobytes() == base64.b64decode(raw)


PIECES = (b"", b'"vector":[1]', b'"vector"', b"[", b"]", b"{", b"}", b'"', b"\\", b",", b"\xff",
          b"\0", b"NaN", b"1e999", b"-0")  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which a few were flipped, inserted, deleted or repeated."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        piece = draw(st.sampled_from(PIECES))
        body[at : at + draw(st.integers(0, 4))] = piece
    return bytes(body)


queries = members.map(lambda query: json.dumps(query).encode())
batches = st.lists(members, max_size=3).map(lambda some: json.dumps({"queries": some}).encode())


@fuzz
@given(damaged(queries) | st.binary(max_size=40))
def test_a_query_body_is_read_as_the_validator_alone_reads_it(body: bytes) -> None:
    found = outcome(lambda b: one_query(b)[1], body)
    note("query bodies", **{"read" if isinstance(found, list) else "refused": 1})
    assert found == outcome(plainly, body)


@fuzz
@given(damaged(batches) | st.binary(max_size=40))
def test_a_batch_body_is_read_as_the_validator_alone_reads_it(body: bytes) -> None:
    found = outcome(lambda b: several_queries(b)[1], body)
    note("batch bodies", **{"read" if isinstance(found, list) else "refused": 1})
    assert found == outcome(plainly_several, body)


cursors = st.one_of(
    st.text(max_size=20),
    any_json.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()),
    any_json.map(lambda value: base64.urlsafe_b64encode(json.dumps([value]).encode()).decode()),
    st.binary(max_size=20).map(lambda octets: base64.urlsafe_b64encode(octets).decode()),
)


@fuzz
@given(cursors)
def test_a_cursor_is_an_id_or_refused(cursor: str) -> None:
    try:
        last = id_from_cursor(cursor)
    except InvalidRequest as error:
        note("cursors", refused=1)
        assert (error.code, error.pointer) == ("invalid-cursor", "/cursor")
        return
    note("cursors", read=1)
    assert id_from_cursor(cursor_after(last)) == last


@fuzz
@given(any_json | st.integers() | st.text(max_size=600))
def test_an_id_has_a_key_and_a_cursor_or_is_refused(raw: Any) -> None:
    try:
        checked = check_id(raw, "/id")
    except InvalidRequest:
        note("ids", refused=1)
        return
    note("ids", read=1)
    assert checked == raw
    assert type(checked) is type(raw)
    assert id_from_cursor(cursor_after(checked)) == checked


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    chosen = settings(tmp_path_factory.mktemp("fuzz"), max_line_bytes=200)
    with running(chosen, ReferenceBackend()) as app:
        app.put("/v1/collections/c", {"dimension": 2})
        yield app


header = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"application/json", b"Application/JSON; charset=x", b"application/json;",
                     b"application/x-ndjson", b"text/plain", b"gzip", b"identity", b"a" * 300]),
).map(lambda value: value.translate(None, b"\r\n\0"))  # fmt: skip


@fuzz
@given(
    st.sampled_from(["query", "points:import", "points:export", "points/scroll"]),
    st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"content-encoding", b"x-request-id", b"accept",
                             b"accept-encoding", b"content-length"]),
            header,
        ),
        max_size=3,
    ),
)  # fmt: skip
def test_no_header_is_answered_with_a_fault_of_ours(
    app: InProcess, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    request = app._client.build_request("POST", f"/v1/collections/c/{path}", content=b"{}")
    request.headers = type(request.headers)([(b"host", b"x"), *headers])
    answer = app.run(app._client.send(request))
    note("headers", **{str(answer.status_code): 1})
    assert answer.status_code < 500, answer.text
    shown = answer.headers["x-request-id"]
    assert shown
    assert len(shown) <= 128
    assert shown.isascii()
    assert not set(shown) - set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
    )


def test_the_same_seed_makes_the_same_damage() -> None:
    from .segment_worker import mutated

    whole = bytes(range(200))
    once, again = (mutated(whole, randomness.Random(5)) for _ in range(2))
    assert once == again
