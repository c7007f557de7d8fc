"""What happens when more comes than can be done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx

from app.backends.base import Answer, Search
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


def test_searches_above_the_queue_are_refused_while_writes_go_on(tmp_path: Path) -> None:
    backend = Gated()
    point = {"points": [{"id": 1, "vector": [1]}]}
    with running(settings(tmp_path, search_threads=1, search_queue=2), backend) as app:
        app.put("/v1/collections/c", {"dimension": 1})

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
