"""Imports of anything: never a fault of ours, every line accounted for, what was told is stored."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.harness import InProcess, running, settings
from tests.attributes.strategies import any_json, attributes
from tests.reference_backend import ReferenceBackend

from .cases import fuzz, note
from .test_requests import changed, damaged

LONGEST = 200


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    chosen = settings(
        tmp_path_factory.mktemp("fuzz"),
        max_line_bytes=LONGEST,
        max_import_bytes=4000,
        max_batch=3,
    )
    with running(chosen, ReferenceBackend()) as app:
        yield app


points = st.fixed_dictionaries(
    {"id": st.integers(0, 5) | st.sampled_from("ab"), "vector": st.just([1.0, 2])},
    optional={"attributes": attributes},
)
lines = st.one_of(
    points.map(lambda point: json.dumps(point).encode()),
    changed(points).map(lambda point: json.dumps(point).encode()),
    any_json.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=12),
    st.sampled_from([b"", b" ", b"\r", b"{", b'{"id":1}', b"x" * 300]),
)
bodies = damaged(st.lists(lines, max_size=12).map(b"\n".join))


async def in_pieces(body: bytes, places: list[int]) -> AsyncIterator[bytes]:
    ends = sorted(place % (len(body) + 1) for place in places)
    for start, end in zip([0, *ends], [*ends, len(body)], strict=True):
        yield body[start:end]


def count_of_lines(body: bytes) -> int:
    return body.count(b"\n") + (not body.endswith(b"\n") and body != b"")


def sent(
    app: InProcess, body: bytes, places: list[int], packed: bool, told: bool, query: str
) -> tuple[int, dict[str, Any]]:
    """The status and what was told last: progress, or the context of a problem."""
    headers = {"content-type": "application/x-ndjson"}
    if packed:
        headers["content-encoding"] = "gzip"
    if told:
        headers["accept"] = "application/x-ndjson"
    answer = app.send(
        "POST",
        f"/v1/collections/c/points:import?{query}",
        content=in_pieces(body, places),
        headers=headers,
    )
    last = json.loads(answer.content.splitlines()[-1])
    if "problem" in last:
        return last["problem"]["status"], last | last["problem"]["context"]
    return answer.status_code, last if answer.status_code == 200 else last["context"]


@fuzz
@given(bodies, st.lists(st.integers(0, 5000), max_size=5), st.booleans(), st.booleans(),
       st.booleans())  # fmt: skip
def test_every_line_is_accounted_for(
    app: InProcess, body: bytes, places: list[int], packed: bool, told: bool, skip: bool
) -> None:
    app.drop_all()
    app.put("/v1/collections/c", {"dimension": 2})
    query = "on_error=skip" if skip else ""
    wire = gzip.compress(body) if packed else body
    status, last = sent(app, wire, places, packed, told, query)
    note("imports", **{str(status): 1})
    assert status < 500
    assert last["next_line"] <= count_of_lines(body) + 1
    if status == 200:
        assert last["next_line"] == count_of_lines(body) + 1
        assert last["next_line"] - 1 == last["upserted"] + last["failed"] + last["blank"]
        assert len(last["errors"]) == last["failed"]
    elif not skip and status != 413:
        assert last["line"] == last["next_line"]
    # What was told is there: the same again, line by line, as lists of one point.
    wanted: dict[Any, Any] = {}
    for line in body.split(b"\n")[: last["next_line"] - 1]:
        point = good(app, line)
        if point is not None:
            wanted[type(point["id"]), point["id"]] = point.get("attributes") or {}
    found = app.post("/v1/collections/c/points/scroll", {"limit": 100}).json()["points"]
    assert {(type(p["id"]), p["id"]): p["attributes"] for p in found} == wanted


def good(app: InProcess, line: bytes) -> Any:
    """The point of a line, if the upsert of a list would take it."""
    if len(line) > LONGEST or not line.strip():
        return None
    app.put("/v1/collections/one", {"dimension": 2})
    answer = app.send(
        "PUT",
        "/v1/collections/one/points",
        content=b'{"points":[' + line + b"\n]}",
        headers={"content-type": "application/json"},
    )
    return json.loads(line) if answer.json() == {"upserted": 1} else None


@fuzz
@given(
    damaged(st.lists(points, max_size=8).map(
        lambda some: gzip.compress("\n".join(map(json.dumps, some)).encode())
    )) | st.binary(max_size=60),
    st.lists(st.integers(0, 5000), max_size=5),
    st.booleans(),
)  # fmt: skip
def test_damaged_gzip_is_refused_after_its_whole_lines(
    app: InProcess, body: bytes, places: list[int], told: bool
) -> None:
    app.drop_all()
    app.put("/v1/collections/c", {"dimension": 2})
    status, last = sent(app, body, places, True, told, "on_error=skip")
    note("gzip imports", **{str(status): 1})
    assert status in (200, 400)
    assert app.count("c") <= last["upserted"] < last["next_line"]
