"""What happens when more comes than can be done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.backends.base import Answer, CollectionInfo, Search, Storage
from tests.metrics.reading import read, value
from tests.reference_backend import ReferenceBackend

from .harness import running, settings


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
