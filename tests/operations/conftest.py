"""One real server for all tests here: debug log, traces to a collector, traffic good and bad.

Every text, id and attribute that is sent holds `SECRET`, so that whatever leaks can be found.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.launched import launched
from tests.metrics.reading import Samples, read, value

SECRET = "zq7secret"
DIMENSION = 16
POINTS = 8000
QUERIES = 40
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector:
    """Receives OTLP over HTTP on a free port and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Observed:
    """What was seen from outside of a server that has ended."""

    log: str
    metrics: str
    spans: list[Span]
    statuses: dict[str, int]
    readiness: Any

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def samples(self) -> Samples:
        return read(self.metrics)


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    collector = Collector()
    variables = {
        "LIKEWISE_LOG_LEVEL": "debug",
        "LIKEWISE_HEAD_POINTS": "64",
        "LIKEWISE_SELF_CHECK": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    try:
        with (
            launched(folder, **variables) as server,
            httpx.Client(base_url=server.url, timeout=20) as client,
        ):
            statuses = traffic(client)
            metrics = client.get("/metrics").text
            readiness = client.get("/readyz").json()
        yield Observed(server.log.read_text(), metrics, collector.spans, statuses, readiness)
    finally:
        collector.close()


def traffic(client: httpx.Client) -> dict[str, int]:
    """Send requests of every kind; statuses of the bad ones by what is wrong with them."""
    films = "/v1/collections/films"
    while client.get("/readyz").json()["components"]["encoders"]["status"] == "loading":
        time.sleep(0.01)
    client.put(films, json={"dimension": DIMENSION, "schema": {"year": "integer"}})
    rows = np.random.default_rng(7).normal(size=(POINTS, DIMENSION)).round(3).tolist()
    points = [
        {"id": f"{SECRET}-{i}", "vector": row, "attributes": {"year": i, "note": f"{SECRET}{i}"}}
        for i, row in enumerate(rows)
    ]
    assert client.put(f"{films}/points", json={"points": points}).status_code == 200
    while client.get(films).json()["building"]:
        time.sleep(0.02)
    for row in rows[:QUERIES]:
        asked = {"vector": row, "k": 5, "filter": {"note": {"$ne": SECRET}}}
        found = client.post(f"{films}/query", json=asked)
        assert found.status_code == 200, found.text
    assert found.json()["plan"] == "graph"
    client.post(f"{films}/query:batch", json={"queries": [{"id": f"{SECRET}-1"}] * 2})
    patched = {"filter": {"note": f"{SECRET}3"}, "set": {"more": SECRET}}
    client.patch(f"{films}/points", json=patched)
    client.post(f"{films}/points/delete", json={"ids": [f"{SECRET}-5"]})
    client.post(f"{films}/points/scroll", json={})

    texts = "/v1/collections/texts"
    client.put(texts, json={})
    client.put(f"{texts}/points", json={"points": [{"id": SECRET, "text": f"a {SECRET} text"}]})
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "asked-for"}
    client.post(f"{texts}/query", json={"text": f"{SECRET} whale"}, headers=traced)
    client.post("/v1/embeddings", json={"input": [f"{SECRET} words"]})

    json_type = {"content-type": "application/json"}

    def upserting(attributes: Any) -> tuple[str, str, Any]:
        point = {"id": 1, "vector": rows[0], "attributes": attributes}
        return "PUT", f"{films}/points", {"points": [point]}

    wrong = {"vector": rows[0], "filter": {"a": {"$x": SECRET}}}
    bad = {
        "not JSON": ("POST", f"{films}/query", f'{{"text": "{SECRET}'.encode()),
        "unknown member": ("POST", f"{films}/query", {SECRET: 1}),
        "wrong type": ("POST", f"{films}/query", {"vector": SECRET}),
        "wrong filter": ("POST", f"{films}/query", wrong),
        "wrong attribute": upserting({"year": SECRET}),
        "nested attribute": upserting({"a": {SECRET: 1}}),
        "twice": ("PUT", f"{films}/points", {"points": [{"id": SECRET, "vector": rows[0]}] * 2}),
        "no such point": ("POST", f"{films}/query", {"id": f"{SECRET}-nobody"}),
        "bad name": ("GET", f"/v1/collections/{SECRET}%0Aname", None),
        "no such path": ("GET", f"/{SECRET}", None),
        "wrong cursor": ("POST", f"{films}/points/scroll", {"cursor": SECRET}),
        "no such encoder": ("POST", "/v1/embeddings", {"input": SECRET, "model": SECRET}),
        "half a character": ("POST", "/v1/embeddings", f'{{"input": "{SECRET} \\ud800"}}'.encode()),
    }
    statuses = {}
    for name, (method, path, body) in bad.items():
        content = body if isinstance(body, bytes) else json.dumps(body) if body else None
        answer = client.request(method, path, content=content, headers=json_type)
        statuses[name] = answer.status_code
    # The first query above was sampled; by now it may be checked.
    until = time.monotonic() + 30
    while not value(
        read(client.get("/metrics").text), "likewise_self_checks_total", {"outcome": "checked"}
    ):
        assert time.monotonic() < until
        time.sleep(0.02)
    return statuses
