"""Who may ask what: one gate before every route, and the table of what each route needs.

The gate stands in front of the shortcut and the router alike, so no request goes past it. It
decides by the method and the decoded path, before a byte of the body is read: by the same templates
over the same path as the router, so that the collection whose name it checks is the one that the
route works on, however the caller spelled it. What has no row in `NEEDS` does not exist for a
service with keys, whatever the router says: a route that was forgotten here is closed, not open.

A refusal has its own `RequestFrame`, and so an id and a line in the log like every answer.

A service without keys and tokens has no gate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.grants import EVERYBODY, NOBODY, Grant
from app.access.grants import Scope as Access
from app.access.guard import Guard
from app.api.middleware import GRANT, RequestFrame
from app.api.problems import response_to
from app.errors import Forbidden, LikewiseError, MethodNotAllowed, RouteNotFound, Unauthenticated
from app.metrics.accounts import Requests


class Need(NamedTuple):
    """What a route asks of a grant.

    access           its scope; None for what needs no key at all
    all_collections  whether the grant must be for every collection. A route with `{name}` asks for
                     that collection in any case.
    """

    access: Access | None
    all_collections: bool = False


_OPEN = Need(None)
_READ, _WRITE, _ADMIN = Need(Access.READ), Need(Access.WRITE), Need(Access.ADMIN)
_ADMIN_OF_ALL = Need(Access.ADMIN, all_collections=True)

# Busiest first: they are tried in order.
NEEDS: dict[str, Need] = {
    "POST /v1/collections/{name}/query": _READ,
    "POST /v1/collections/{name}/query:batch": _READ,
    "POST /v1/collections/{name}/evaluate": _READ,
    "PUT /v1/collections/{name}/points": _WRITE,
    "PATCH /v1/collections/{name}/points": _WRITE,
    "POST /v1/collections/{name}/points/get": _READ,
    "POST /v1/collections/{name}/points/count": _READ,
    "POST /v1/collections/{name}/points/scroll": _READ,
    "POST /v1/collections/{name}/points/facets": _READ,
    "POST /v1/collections/{name}/points/delete": _WRITE,
    "POST /v1/collections/{name}/points:import": _WRITE,
    "POST /v1/collections/{name}/points:export": _READ,
    "POST /v1/collections/{name}/classify": _READ,
    "POST /v1/collections/{name}/verify": _READ,
    "GET /v1/collections/{name}/classifiers": _READ,
    "GET /v1/collections/{name}/classifiers/{classifier}": _READ,
    "PUT /v1/collections/{name}/classifiers/{classifier}": _WRITE,
    "DELETE /v1/collections/{name}/classifiers/{classifier}": _WRITE,
    "POST /v1/collections/{name}/classifiers/{classifier}/learn": _WRITE,
    "GET /v1/collections/{name}/thresholds": _READ,
    "GET /v1/collections/{name}/thresholds/{threshold}": _READ,
    "PUT /v1/collections/{name}/thresholds/{threshold}": _WRITE,
    "DELETE /v1/collections/{name}/thresholds/{threshold}": _WRITE,
    "POST /v1/embeddings": _READ,
    "POST /v1/embed": _READ,
    "POST /v2/embed": _READ,
    "POST /embed": _READ,
    "POST /v1/rerank": _READ,
    "POST /v2/rerank": _READ,
    # The list shows what the grant is for, and nothing else.
    "GET /v1/collections": _READ,
    "GET /v1/collections/{name}": _READ,
    # A definition is not data: who fills a collection need not be able to lose it.
    "PUT /v1/collections/{name}": _ADMIN,
    "PATCH /v1/collections/{name}": _ADMIN,
    "DELETE /v1/collections/{name}": _ADMIN,
    "POST /v1/collections/{name}/snapshots": _ADMIN,
    # Queries name them, or do not: they are data of who fills the collection.
    "GET /v1/collections/{name}/query-banks": _READ,
    "GET /v1/collections/{name}/query-banks/{bank}": _READ,
    "PUT /v1/collections/{name}/query-banks/{bank}": _WRITE,
    "DELETE /v1/collections/{name}/query-banks/{bank}": _WRITE,
    "GET /v1/collections/{name}/calibrations": _READ,
    "GET /v1/collections/{name}/calibrations/{calibration}": _READ,
    "PUT /v1/collections/{name}/calibrations/{calibration}": _WRITE,
    "DELETE /v1/collections/{name}/calibrations/{calibration}": _WRITE,
    # A snapshot may be of any collection, and be restored as any.
    "GET /v1/snapshots": _ADMIN_OF_ALL,
    "GET /v1/snapshots/{snapshot}": _ADMIN_OF_ALL,
    "GET /v1/snapshots/{snapshot}/file": _ADMIN_OF_ALL,
    "PUT /v1/snapshots/{snapshot}/file": _ADMIN_OF_ALL,
    "DELETE /v1/snapshots/{snapshot}": _ADMIN_OF_ALL,
    "POST /v1/snapshots/{snapshot}/restore": _ADMIN_OF_ALL,
    "GET /v1/models": _READ,
    "GET /v1/models/{model}": _READ,
    # Every collection that has texts may need it.
    "POST /v1/models/{model}/load": _ADMIN_OF_ALL,
    "POST /v1/models/{model}/unload": _ADMIN_OF_ALL,
    "GET /v1/limits": _READ,
    "GET /v1/info": _READ,
    "GET /": _READ,
    # It names every collection.
    "GET /metrics": Need(Access.METRICS, all_collections=True),
    # Probes come from machines that hold no keys, and learn one word.
    "GET /healthz": _OPEN,
    "GET /readyz": _OPEN,
    # A browser that opens the page has no key yet. It shows what the public source shows.
    "GET /docs": _OPEN,
    "GET /docs/oauth2-redirect": _OPEN,
    "GET /openapi.json": _OPEN,
}
"""Method and template of every route → what it needs. docs/security.md has the same table."""


_PARAMETER = re.compile(r"\{(\w+)\}")  # templates hold no other character with a meaning


class _Place(NamedTuple):
    """A template, and what each method that it takes needs. Its `path` is what the log shows."""

    path: str
    pattern: re.Pattern[str]
    named: bool  # whether it has `{name}`, a collection's
    needs: Mapping[str, Need]


def _places() -> list[_Place]:
    by_template: dict[str, dict[str, Need]] = {}
    for place, need in NEEDS.items():
        method, template = place.split(" ")
        by_template.setdefault(template, {})[method] = need
    return [
        _Place(template, _compiled(template), "{name}" in template, needs)
        for template, needs in by_template.items()
    ]


def _compiled(template: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", template))


_PLACES = _places()
_REFUSAL = "likewise.refusal"


class Gate:
    """Let through what the caller's grant allows, and answer the rest."""

    def __init__(self, guard: Guard, app: ASGIApp, requests: Requests) -> None:
        self._guard = guard
        self._app = app
        self._refuse = RequestFrame(_refuse, requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except LikewiseError as error:
                scope[_REFUSAL] = error
                scope["problem"] = error.code
                await self._refuse(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Note the grant in `scope`; raise what is wrong with the request."""
        place, name = _find(scope["path"])
        need = place and place.needs.get(scope["method"])
        if need is _OPEN:
            scope[GRANT] = self._grant_if_any(scope)
            return
        scope["route"] = place  # a refusal's line in the log names it; the router puts its own
        credential = _credential(scope)
        if credential is None:
            raise Unauthenticated(
                "this needs a key: send it as `Authorization: Bearer …` or as `X-API-Key: …`"
            )
        scope[GRANT] = grant = self._guard.grant(credential)
        if place is None:
            raise RouteNotFound("no endpoint has this path: see /docs")
        if need is None:
            raise MethodNotAllowed("the endpoint takes other methods: see the header Allow")
        _check_need(grant, need, name)

    def _grant_if_any(self, scope: Scope) -> Grant:
        try:
            credential = _credential(scope)
            return NOBODY if credential is None else self._guard.grant(credential)
        except Unauthenticated:
            return NOBODY


def grant_of(request: Request) -> Grant:
    """What the caller of a request may do; everything where there are no keys."""
    grant: Grant = request.scope.get(GRANT, EVERYBODY)
    return grant


def require(request: Request, access: Access, collection: str) -> None:
    """Check a collection that the path does not name, as a body may. Raises Forbidden."""
    _check_need(grant_of(request), Need(access), collection)


def _check_need(grant: Grant, need: Need, name: str | None) -> None:
    access = need.access
    assert access is not None
    if not grant.holds(access):
        raise Forbidden(f"this key or token lacks the scope {access.value!r}", scope=access.value)
    if name is not None and not grant.covers(name):
        # It names no collection: whether there is one is not for this caller to know.
        raise Forbidden("this key or token is not for this collection", scope=access.value)
    if need.all_collections and not grant.covers_all():
        raise Forbidden(
            "this concerns all collections, and the key or token is for some", scope=access.value
        )


def _find(path: str) -> tuple[_Place | None, str | None]:
    for place in _PLACES:
        found = place.pattern.fullmatch(path)
        if found is not None:
            return place, found["name"] if place.named else None
    return None, None


def _credential(scope: Scope) -> bytes | None:
    """The one key or token of the headers, or None. Raises Unauthenticated for two."""
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, credential = value.partition(b" ")
            if scheme.lower() != b"bearer":
                continue  # a proxy's own: what counts here is X-API-Key
            credential = credential.strip()
        elif name == b"x-api-key":
            credential = value
        else:
            continue
        if found is not None and found != credential:
            raise Unauthenticated("the request carries two keys or tokens: send one")
        found = credential
    return found


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = scope[_REFUSAL]
    response = response_to(error, scope["path"])
    # Source: RFC 6750, 3 and 3.1; RFC 9110, 15.5.6.
    if isinstance(error, Unauthenticated):
        given = any(name in (b"authorization", b"x-api-key") for name, _ in scope["headers"])
        fault = ', error="invalid_token"' if given else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="likewise"{fault}'
    elif isinstance(error, Forbidden):
        response.headers["WWW-Authenticate"] = (
            f'Bearer realm="likewise", error="insufficient_scope", scope="{error.context["scope"]}"'
        )
    elif isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(scope["route"].needs))
    await response(scope, receive, send)
