"""The service about itself."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app import __version__
from app.access.grants import Scope
from app.api.access import grant_of
from app.api.answers import answer
from app.api.connection import HEAD_BYTES, HEADERS, TARGET_BYTES
from app.api.service import service_of
from app.attributes.filter import MAX_DEPTH
from app.metrics.exposition import CONTENT_TYPE, Told, rendered
from app.service.service import Figures
from app.types import (
    MAX_TOKEN_DIMENSION,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_KEPT_BYTES_TOGETHER,
    MOST_TOKENS,
    MOST_WEIGHTS,
)
from app.wire.status import Health, Info, Limits, Readiness

router = APIRouter(tags=["status"])

_FIXED = {
    "max_head_bytes": HEAD_BYTES,
    "max_headers": HEADERS,
    "max_target_bytes": TARGET_BYTES,
    "max_json_depth": 200,  # pydantic's parser; a test holds it to that
    "max_filter_depth": MAX_DEPTH,
    "max_vector_tokens": MOST_TOKENS,
    "max_token_dimension": MAX_TOKEN_DIMENSION,
    "max_sparse_weights": MOST_WEIGHTS,
    "max_kept": MOST_KEPT,
    "max_kept_bytes": MOST_KEPT_BYTES,
    "max_kept_bytes_together": MOST_KEPT_BYTES_TOGETHER,
}
"""Limits that are no settings."""


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Tell that the process answers."""
    return answer({"status": "ok"})


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": ""}}
)
async def readyz(request: Request) -> Response:
    """Tell whether to send requests here: 200 if ready or degraded, 503 at start and end.

    Where there are keys, the components are for one that may read all collections: they name some.
    """
    service = request.app.state.service
    if service is None:
        return answer({"status": "starting", "components": {}}, 503)
    health = await service.health()
    serving = health.status in ("ready", "degraded")
    grant = grant_of(request)
    components = health.components if grant.holds(Scope.READ) and grant.covers_all() else {}
    body = {"status": health.status, "components": components}
    return answer(body, 200 if serving else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Tell what was done and how things are, in the text format of Prometheus."""
    service = service_of(request)

    def render(figures: Figures) -> bytes:
        told = Told(
            request.app.state.requests,
            figures.work,
            {name: (queue.waiting, queue.limit) for name, queue in figures.queues.items()},
            figures.encoders,
            figures.cache,
            figures.statistics,
            figures.storage,
        )
        return rendered(told, most_collections=service.settings.metrics_collections)

    return Response(await service.figures(render), media_type=CONTENT_TYPE)


@router.get("/", response_model=Info, include_in_schema=False)
@router.get("/v1/info", response_model=Info)
async def info() -> Response:
    """Tell what answers here."""
    return answer({"name": "likewise", "version": __version__, "api": "v1"})


@router.get("/v1/limits", response_model=Limits)
async def limits(request: Request) -> Response:
    """Tell the limits that requests are held to."""
    settings = service_of(request).settings
    chosen = {n: getattr(settings, n) for n in Limits.model_fields if n not in _FIXED}
    return answer({**chosen, **_FIXED})
