"""What happens when more comes than can be done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.body import INLINE_BYTES
from app.backends.base import Answer, CollectionInfo, Search, Storage
from tests.metrics.reading import read, value
from tests.reference_backend import ReferenceBackend

from .harness import running, settings
from .network import head, listening


class Gated(ReferenceBackend):
    """A backend whose searches wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def search(
        self, name: str, searches: Sequence[Search], mark: str | None = None
    ) -> list[Answer]:
        assert self.gate.wait(30)
        return super().search(name, searches, mark)

    def describe(self, name: str) -> CollectionInfo:
        assert self.gate.wait(30)
        return super().describe(name)


def test_probes_and_scrapes_are_answered_while_every_lane_is_full(tmp_path: Path) -> None:
    backend = Gated()
    with running(settings(tmp_path, search_threads=1, search_queue=1), backend) as app:
        app.wait_for_encoders()
        backend.gate.set()
        app.put("/v1/collections/c", {"dimension": 1})
        backend.gate.clear()

        async def scenario() -> tuple[list[httpx.Response], list[httpx.Response]]:
            asked = [("GET", "/v1/collections/c", None)] * 4
            asked += [("POST", "/v1/collections/c/query", {"vector": [1]})] * 4
            pending = {asyncio.ensure_future(app.ask(*each)) for each in asked}
            refused: list[httpx.Response] = []
            while len(refused) < 4:  # of each lane one job runs and one waits
                done, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
                refused += [task.result() for task in done]
            lanes = app.app.state.service.lanes
            # Their threads have yet to take what has the places.
            while not (lanes["search"].running and lanes["control"].running):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            probes = ["/readyz", "/metrics", "/healthz"] * 20
            answers = await asyncio.gather(*(app.ask("GET", path, None) for path in probes))
            backend.gate.set()
            await asyncio.gather(*pending)
            return refused, list(answers)

        refused, answers = app.run(scenario())
        assert {answer.status_code for answer in refused} == {429}
        assert {answer.status_code for answer in answers} == {200}
        readiness = answers[0].json()
        assert readiness["status"] == "degraded"
        queues = readiness["components"]["queues"]
        assert (queues["status"], queues["detail"]) == ("full", "no room: search, control")
        samples = read(answers[1].text)
        assert value(samples, "likewise_queue_waiting", {"queue": "search"}) == 1
        assert value(samples, "likewise_queue_limit", {"queue": "search"}) == 1
        assert value(samples, "likewise_problems_total", {"code": "overloaded"}) == 4
        assert app.get("/readyz").json()["status"] == "ready"


class Stuck(ReferenceBackend):
    """A backend that does not say how it is: a disk that hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def health(self) -> dict[str, Any]:
        assert self.gate.wait(30)
        return super().health()


def test_readiness_does_not_wait_for_a_component_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.service.PATIENCE_S", 0.02)
    backend = Stuck()
    with running(settings(tmp_path), backend) as app:
        for _ in range(3):
            answer = app.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            assert answer.json()["components"]["engine"]["status"] == "slow"
        assert app.get("/metrics").status_code == 200
        backend.gate.set()


@pytest.mark.parametrize(
    ("storage", "status"),
    [
        (Storage(100, 10, True), "ok"),
        (Storage(100, 9, True), "low"),
        (Storage(100, 50, False), "read-only"),
    ],
)
def test_storage_that_runs_out_or_refuses_writes_is_told(
    tmp_path: Path, storage: Storage, status: str
) -> None:
    class Small(ReferenceBackend):
        def storage(self) -> Storage:
            return storage

    with running(settings(tmp_path, min_free_bytes=10), Small()) as app:
        app.wait_for_encoders()
        readiness = app.get("/readyz").json()
        assert readiness["components"]["storage"]["status"] == status
        assert readiness["status"] == ("ready" if status == "ok" else "degraded")
        samples = read(app.get("/metrics").text)
        assert value(samples, "likewise_storage_writable") == (status != "read-only")


def test_searches_above_the_queue_are_refused_while_writes_go_on(tmp_path: Path) -> None:
    backend = Gated()
    point = {"points": [{"id": 1, "vector": [1]}]}
    with running(settings(tmp_path, search_threads=1, search_queue=2), backend) as app:
        backend.gate.set()
        app.put("/v1/collections/c", {"dimension": 1})
        backend.gate.clear()

        async def scenario() -> tuple[list[httpx.Response], list[httpx.Response], httpx.Response]:
            query = ("POST", "/v1/collections/c/query")
            pending = {asyncio.ensure_future(app.ask(*query, {"vector": [1]})) for _ in range(6)}
            refused: list[httpx.Response] = []
            while len(refused) < 3:
                done, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
                refused += [task.result() for task in done]
            written = await app.ask("PUT", "/v1/collections/c/points", point)
            backend.gate.set()
            return refused, list(await asyncio.gather(*pending)), written

        refused, answered, written = app.run(scenario())
        for answer in refused:
            assert answer.json()["type"] == "urn:likewise:problem:overloaded"
            assert int(answer.headers["retry-after"]) >= 1
        assert [answer.status_code for answer in (*answered, written)] == [200] * 4
        assert app.post("/v1/collections/c/query", {"vector": [1]}).status_code == 200


def test_a_request_whose_time_is_over_is_not_begun(tmp_path: Path) -> None:
    backend = Gated()
    with running(settings(tmp_path, search_threads=1), backend) as app:
        backend.gate.set()
        assert app.put("/v1/collections/c", {"dimension": 1}).status_code == 201
        backend.gate.clear()

        async def scenario() -> tuple[httpx.Response, float]:
            query = ("POST", "/v1/collections/c/query")
            holding = asyncio.ensure_future(app.ask(*query, {"vector": [1]}))
            await asyncio.sleep(0)
            begun = time.monotonic()
            late = await app.ask(*query, {"vector": [1]}, {"x-request-timeout": "0.05"})
            took_s = time.monotonic() - begun
            backend.gate.set()
            assert (await holding).status_code == 200
            return late, took_s

        late, took_s = app.run(scenario())
        assert late.status_code == 503
        assert late.json()["type"] == "urn:likewise:problem:deadline-exceeded"
        assert int(late.headers["retry-after"]) >= 1
        assert 0.05 <= took_s < 5


def test_a_caller_cannot_ask_for_more_time_than_there_is(tmp_path: Path) -> None:
    with running(settings(tmp_path, request_timeout=1e-9), ReferenceBackend()) as app:
        for wanted in ("1000", "999999999.999999999"):
            answer = app.send("GET", "/v1/collections", headers={"x-request-timeout": wanted})
            assert answer.status_code == 503
        assert app.get("/healthz").status_code == 200
    with running(settings(tmp_path), ReferenceBackend()) as app:
        for wrong in ("", "x", "-1", "1e9", "inf", "nan", "1,5", " 1s", "9" * 10):
            answer = app.send("GET", "/v1/collections", headers={"x-request-timeout": wrong})
            assert answer.json()["type"] == "urn:likewise:problem:malformed-request", wrong
        answer = app.send("GET", "/v1/collections", headers={"x-request-timeout": "2.5"})
        assert answer.status_code == 200
        twice = [("x-request-timeout", "2.5"), ("x-request-timeout", "5")]
        answer = app.send("GET", "/v1/collections", headers=twice)
        assert answer.json()["type"] == "urn:likewise:problem:malformed-request"


def test_bytes_in_work_are_bounded_and_given_back(tmp_path: Path) -> None:
    backend = Gated()
    size = 3 * INLINE_BYTES
    bounded = settings(tmp_path, max_inflight_bytes=2 * size)
    with running(bounded, backend) as app:
        backend.gate.set()
        assert app.put("/v1/collections/c", {"dimension": 1}).status_code == 201
        backend.gate.clear()
        query = ("POST", "/v1/collections/c/query")
        large = {"vector": [1], "fields": ["x" * size]}
        inflight = app.app.state.inflight

        async def scenario() -> list[httpx.Response]:
            holding = asyncio.ensure_future(app.ask(*query, large))
            while not inflight.held:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0)
            refused = await app.ask(*query, large)
            small = asyncio.ensure_future(app.ask(*query, {"vector": [1]}))
            backend.gate.set()
            return [await holding, refused, await small]

        held, refused, small = app.run(scenario())
        assert refused.json()["type"] == "urn:likewise:problem:overloaded"
        assert small.status_code == 200
        assert held.status_code in (200, 422)
        assert (inflight.held, inflight.refused) == (0, 1)


def test_a_body_that_is_announced_and_not_sent_takes_no_room_from_others(tmp_path: Path) -> None:
    bounded = settings(tmp_path, max_inflight_bytes=8 << 20, max_body_bytes=4 << 20)
    with listening(bounded, ReferenceBackend()) as server:
        server.ask("PUT", "/v1/collections/c", {"dimension": 1})
        idle = [server.wire() for _ in range(8)]
        for wire in idle:
            wire.send(head("PUT", "/v1/collections/c/points", 4 << 20), "{")
        probe = server.wire()  # behind the others on the same loop
        assert probe.request("GET", "/healthz").answer().status == 200
        points = [{"id": 1, "vector": [1], "attributes": {"a": "x" * 40_000}}]
        answer = server.ask("PUT", "/v1/collections/c/points", {"points": points})
        assert answer.status == 200, answer.body
        for wire in (probe, *idle):
            wire.close()


def test_bytes_of_undeclared_length_are_counted_as_they_come(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            inflight_seen.append(app.app.state.inflight.held)
            yield b" " * INLINE_BYTES

    inflight_seen: list[int] = []
    with running(settings(tmp_path), ReferenceBackend()) as app:
        json = {"content-type": "application/json"}
        answer = app.send("PUT", "/v1/collections/d", content=chunks(), headers=json)
        assert answer.status_code == 400
        assert inflight_seen[0] == 0
        assert inflight_seen[-1] >= 60 * INLINE_BYTES
        assert app.app.state.inflight.held == 0
