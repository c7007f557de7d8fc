"""Every published limit: what is at it is taken, what is above it is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.backends.local import LocalBackend

from .harness import settings
from .network import Answer, Listening, head, listening

LIMITS = {
    "max_body_bytes": 1 << 18,
    "max_batch": 5,
    "max_queries": 3,
    "max_k": 7,
    "max_inputs": 4,
    "max_documents": 6,
    "max_text_chars": 50,
    "max_image_bytes": 300,
    "max_image_pixels": 50,
    "max_filter_nodes": 40,
    "max_attributes_bytes": 100,
    "max_line_bytes": 200,
    "max_import_bytes": 1000,
    "max_snapshot_bytes": 3000,
}
C = "/v1/collections/c"
KINDS = "/v1/collections/kinds"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    chosen = settings(
        folder := tmp_path_factory.mktemp("limits"), encoders="tiny,image-descriptor", **LIMITS
    )
    with listening(chosen, LocalBackend(folder / "data", sync=False)) as server:
        assert server.ask("PUT", C, {"dimension": 1}).status == 201
        kinds = {"words": {"kind": "tokens", "dimension": 1}, "terms": {"kind": "sparse"}}
        assert server.ask("PUT", KINDS, {"vectors": kinds}).status == 201
        while b"loading" in server.ask("GET", "/readyz").body:
            pass
        limits = orjson.loads(server.ask("GET", "/v1/limits").body)
        assert {name: limits[name] for name in LIMITS} == LIMITS
        yield server


def sent(server: Listening, method: str, path: str, body: bytes, kind: str) -> Answer:
    wire = server.wire()
    try:
        length = f"Content-Length: {len(body)}"
        return wire.send(head(method, path, None, f"Content-Type: {kind}", length), body).answer()
    finally:
        wire.close()


def points(server: Listening, **changes: Any) -> Answer:
    return server.ask("PUT", f"{C}/points", {"points": [{"id": 1, "vector": [1], **changes}]})


def imported(server: Listening, body: bytes) -> Answer:
    return sent(server, "POST", f"{C}/points:import", body, "application/x-ndjson")


def nested(depth: int) -> Any:
    found: Any = {"a": 1}
    for _ in range(depth - 1):
        found = {"$not": found}
    return found


def grey(pixels: int) -> bytes:
    return b"P5 %d 1 255\n" % pixels + bytes(pixels)


def attempt(server: Listening, limit: str, size: int) -> Answer:
    """Send something of that size in the measure of one limit."""
    vector = {"vector": [1]}
    if limit == "max_body_bytes":
        return server.ask("POST", f"{C}/points/count", b"{}".ljust(size))
    if limit == "max_batch":
        return server.ask("POST", f"{C}/points/get", {"ids": list(range(size))})
    if limit == "max_queries":
        return server.ask("POST", f"{C}/query:batch", {"queries": [{**vector, "k": 1}] * size})
    if limit == "max_k":
        return server.ask("POST", f"{C}/query", {**vector, "k": size - 3, "offset": 3})
    if limit == "max_inputs":
        return server.ask("POST", "/v1/embeddings", {"input": ["a"] * size})
    if limit == "max_documents":
        return server.ask("POST", "/v1/rerank", {"query": "a", "documents": ["b"] * size})
    if limit == "max_text_chars":
        return server.ask("POST", "/v1/embeddings", {"input": "ü" * size})
    if limit in ("max_image_bytes", "max_image_pixels"):
        file = b"P5 5 1 255\n".ljust(size, b"x") if limit == "max_image_bytes" else grey(size)
        image = base64.b64encode(file).decode()
        body = {"input": [{"image": image}], "model": "image-descriptor"}
        return server.ask("POST", "/v1/embeddings", body)
    if limit == "max_filter_nodes":
        filter_ = {"$or": [{"a": n} for n in range(size - 1)]}
        return server.ask("POST", f"{C}/points/count", {"filter": filter_})
    if limit == "max_attributes_bytes":
        return points(server, attributes={"a": "x" * (size - len('{"a":""}'))})
    if limit == "max_line_bytes":
        return imported(server, b'{"id":1,"vector":[1]}'.ljust(size) + b"\n")
    if limit == "max_import_bytes":
        return imported(server, b'{"id":1,"vector":[1]}\n'.ljust(size, b"\n"))
    if limit == "max_snapshot_bytes":
        kind = "application/octet-stream"
        return sent(server, "PUT", "/v1/snapshots/s/file", b"x" * size, kind)
    if limit == "max_target_bytes":
        return server.ask("GET", "/healthz?".ljust(size, "x"))
    if limit == "max_headers":
        return server.ask("GET", "/healthz", None, *[f"X-{n}: 1" for n in range(size - 1)])
    if limit == "max_head_bytes":
        rest = size - len(head("GET", "/healthz", None, "X: "))
        return server.ask("GET", "/healthz", None, "X: " + "x" * rest)
    if limit == "max_token_dimension":
        wanted = {"kind": "tokens", "dimension": size}
        server.ask("PUT", "/v1/collections/long", wanted)  # created, and then confirmed
        return server.ask("PUT", "/v1/collections/long", wanted)
    if limit == "max_vector_tokens":
        vectors = {"words": [[1]] * size}
        return server.ask("PUT", f"{KINDS}/points", {"points": [{"id": 1, "vectors": vectors}]})
    if limit == "max_sparse_weights":
        vectors = {"terms": {"indices": list(range(size)), "values": [1] * size}}
        return server.ask("PUT", f"{KINDS}/points", {"points": [{"id": 1, "vectors": vectors}]})
    if limit == "max_filter_depth":
        return server.ask("POST", f"{C}/points/count", {"filter": nested(size)})
    assert limit == "max_json_depth"
    return server.ask("POST", f"{C}/points/count", b"[" * size + b"1" + b"]" * size)


REFUSED = {
    "max_body_bytes": (413, "body-too-large"),
    "max_import_bytes": (413, "body-too-large"),
    "max_snapshot_bytes": (413, "body-too-large"),
    "max_batch": (422, "limit-exceeded"),
    "max_queries": (422, "limit-exceeded"),
    "max_k": (422, "limit-exceeded"),
    "max_inputs": (422, "limit-exceeded"),
    "max_documents": (422, "limit-exceeded"),
    "max_line_bytes": (422, "limit-exceeded"),
    "max_text_chars": (422, "invalid-text"),
    "max_image_bytes": (422, "invalid-image"),
    "max_image_pixels": (422, "invalid-image"),
    "max_filter_nodes": (422, "invalid-filter"),
    "max_filter_depth": (422, "invalid-filter"),
    "max_attributes_bytes": (422, "invalid-attributes"),
    "max_target_bytes": (414, "target-too-long"),
    "max_headers": (431, "head-too-large"),
    "max_head_bytes": (431, "head-too-large"),
    "max_json_depth": (400, "malformed-body"),
    "max_token_dimension": (422, "invalid-definition"),
    "max_vector_tokens": (422, "limit-exceeded"),
    "max_sparse_weights": (422, "limit-exceeded"),
}
# What is at the limit, and wrong for another reason only.
ELSEWISE = {"max_snapshot_bytes": "invalid-snapshot", "max_json_depth": "invalid-field"}
BY_THE_CLOCK_OR_THE_CROWD = {
    # tests/api/test_connections.py and test_overload.py
    *("max_connections", "max_inflight_bytes", "request_timeout", "head_timeout", "body_timeout"),
}

BY_THE_BACKEND = {"max_kept", "max_kept_bytes", "max_kept_bytes_together"}  # contract/test_kept.py


def test_every_limit_is_tried(server: Listening) -> None:
    limits = set(orjson.loads(server.ask("GET", "/v1/limits").body))
    assert limits == REFUSED.keys() | BY_THE_CLOCK_OR_THE_CROWD | BY_THE_BACKEND


@pytest.mark.parametrize("limit", REFUSED)
def test_a_limit_holds_at_its_value(server: Listening, limit: str) -> None:
    most = orjson.loads(server.ask("GET", "/v1/limits").body)[limit]
    at, above = attempt(server, limit, most), attempt(server, limit, most + 1)
    if limit in ELSEWISE:
        assert at.code == ELSEWISE[limit]
    else:
        assert at.status == 200, at.body
    assert (above.status, above.code) == REFUSED[limit], above.body
