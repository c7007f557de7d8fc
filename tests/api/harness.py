"""The application in process: lifespan started, requests through ASGI, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.access.guard import Guard
from app.api.app import create_app
from app.backends.base import Backend
from app.config import Settings
from app.encoders.registry import EncoderRegistry

from .contract import check

MODELS = Path(__file__).parents[2] / "models"

Result = TypeVar("Result")


class InProcess:
    """A synchronous client of one running application."""

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        encoders: EncoderRegistry | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.app = create_app(settings, backend=backend, encoders=encoders, guard=guard)
        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://likewise"
        )
        self._lifespan = self.app.router.lifespan_context(self.app)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await on the application's loop."""
        return self._loop.run_until_complete(work)

    def start(self) -> None:
        """Start the lifespan."""
        self.run(self._lifespan.__aenter__())

    def stop(self) -> None:
        """End the lifespan and the loop."""
        self.run(self._lifespan.__aexit__(None, None, None))
        self.run(self._client.aclose())
        self.run(self._loop.shutdown_default_executor())
        self._loop.close()

    def send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send one request; its answer must be what the OpenAPI document promises."""
        answer = self.run(self._client.request(method, path, **kwargs))
        check(self.app.openapi(), answer)
        return answer

    async def ask(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send JSON from a coroutine that `run` awaits."""
        return await self._client.request(method, path, json=body, headers=headers)

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.send("GET", path)

    def put(self, path: str, body: Any) -> httpx.Response:
        """PUT JSON."""
        return self.send("PUT", path, json=body)

    def post(self, path: str, body: Any) -> httpx.Response:
        """POST JSON."""
        return self.send("POST", path, json=body)

    def patch(self, path: str, body: Any) -> httpx.Response:
        """PATCH JSON."""
        return self.send("PATCH", path, json=body)

    def delete(self, path: str) -> httpx.Response:
        """DELETE."""
        return self.send("DELETE", path)

    def drop_all(self) -> None:
        """Drop every collection."""
        for collection in self.get("/v1/collections").json()["collections"]:
            self.delete(f"/v1/collections/{collection['name']}")

    def count(self, collection: str) -> int:
        """Points of a collection."""
        counted = self.post(f"/v1/collections/{collection}/points/count", {})
        assert counted.status_code == 200, counted.text
        return int(counted.json()["count"])

    def wait_for_encoders(self, key: str = "") -> None:
        """Return when the background load is over, well or not; with a key if there are keys."""
        headers = {"x-api-key": key} if key else {}
        while "loading" in self.send("GET", "/readyz", headers=headers).text:
            self.run(asyncio.sleep(0.005))


@contextmanager
def running(
    settings: Settings, backend: Backend, guard: Guard | None = None
) -> Iterator[InProcess]:
    """An application for as long as the block lasts."""
    app = InProcess(settings, backend, guard=guard)
    app.start()
    try:
        yield app
    finally:
        app.stop()


def settings(tmp_path: Path, **changes: Any) -> Settings:
    """Settings for tests: the tiny encoder, one thread of each kind, no fsync."""
    values: dict[str, Any] = {
        "data_dir": tmp_path / "data",
        "models_dir": MODELS,
        "default_encoder": "tiny",
        "hub_endpoint": "http://127.0.0.1:9",  # nobody listens: nothing is ever downloaded
        "encoder_threads": 1,
        "search_threads": 2,
        "build_threads": 1,
        "sync": False,
    }
    return Settings(**{**values, **changes})
