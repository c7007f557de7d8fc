"""FastAPI routes that do nothing: what HTTP costs in Python, and so the most that can be had.

    python -m bench.servers.noop PORT

`POST /bytes/SIZE` reads the body and answers SIZE bytes of JSON that were made beforehand;
`POST /parsed/SIZE` lets FastAPI read the body as JSON first. Served as `likewise serve` is.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Body, FastAPI, Request, Response

from bench.load import Address
from bench.servers.base import Process, free_port


def create_app() -> FastAPI:
    """Make the routes."""
    app = FastAPI()

    @cache
    def answer(size: int) -> bytes:
        return b'"' + b"x" * (size - 2) + b'"'

    @app.post("/bytes/{size:int}")
    async def read(request: Request) -> Response:
        await request.body()
        return Response(answer(request.path_params["size"]), media_type="application/json")

    @app.post("/parsed/{size:int}")
    async def parse(request: Request, body: Any = Body()) -> Response:  # noqa: B008
        return Response(answer(request.path_params["size"]), media_type="application/json")

    return app


class NoOp(Process):
    name = "nothing"

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        command = [sys.executable, "-m", "bench.servers.noop", str(self._port)]
        super().__init__(command, {}, folder / "noop.log")

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port


def main() -> None:
    """Serve until a signal ends it."""
    uvicorn.run(
        create_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
