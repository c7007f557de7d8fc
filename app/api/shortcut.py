"""The short way to the busiest routes: from the path to their functions, past the router.

FastAPI solves dependencies, opens exit stacks and builds validators' inputs for every request; the
query routes use none of it, since they read their bodies and write their answers themselves. So
requests to them are recognised by their path, before the router and its middleware, and their
functions are called. Those are the same functions that FastAPI knows, documents and would call:
whatever is not recognised here (another method, another prefix) takes the long way to them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware import RequestFrame
from app.api.problems import on_error
from app.errors import LikewiseError
from app.metrics.accounts import Requests

_PATH = re.compile(r"/v1/collections/([^/]+)/(query(?::batch)?)")

Endpoint = Callable[[str, Request], Awaitable[Response]]


class Template(NamedTuple):
    """What the request's log line wants to know of a route."""

    path: str


class Shortcut:
    """Call `endpoints`, by the last part of their path, and pass everything else on."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        otherwise: ASGIApp,
        requests: Requests,
        timeout_s: float,
    ) -> None:
        self._otherwise = otherwise
        self._framed = RequestFrame(_answer, requests, timeout_s)
        self._endpoints = {
            last: (endpoint, Template(f"/v1/collections/{{name}}/{last}"))
            for last, endpoint in endpoints.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "POST":
            found = _PATH.fullmatch(scope["path"])
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        scope["path_params"] = {"name": found[1]}  # as the router would
        scope["endpoint"], scope["route"] = self._endpoints[found[2]]
        await self._framed(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    try:
        response = await scope["endpoint"](scope["path_params"]["name"], request)
    except LikewiseError as error:
        response = await on_error(request, error)
    await response(scope, receive, send)
