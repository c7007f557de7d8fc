"""The application: settings in, FastAPI out. There is no module-level app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from app import __version__
from app.access.grants import Grant, Scope
from app.access.guard import Guard, TokenFiles
from app.api import openapi, problems
from app.api.access import Gate
from app.api.inflight import Inflight
from app.api.middleware import RequestFrame
from app.api.routes import (
    cohere,
    collections,
    embeddings,
    evaluating,
    fusion,
    memory,
    points,
    queries,
    reranking,
    snapshots,
    status,
    streams,
    tei,
)
from app.api.shortcut import Shortcut
from app.backends.base import Backend
from app.config import Settings, WrongSetting
from app.encoders.registry import EncoderRegistry
from app.errors import LikewiseError
from app.metrics.accounts import Requests
from app.service.service import Service

if TYPE_CHECKING:
    from app.api.tracing import Tracing

log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    backend: Backend | None = None,
    encoders: EncoderRegistry | None = None,
    guard: Guard | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Build the application; the lifespan opens what is not given, and closes all of it.

    The data directory is opened before the first request; encoders load in the background. Keys
    are read here. Raises StoredDataError if their files cannot be used.

    tracing   sends traces of this application (`open_tracing`), None sends none
    """
    guard = open_guard(settings) if guard is None else guard

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        installed = open_encoders(settings) if encoders is None else encoders
        opened = await asyncio.to_thread(open_backend, settings) if backend is None else backend
        service = Service(settings, opened, installed)
        app.state.service = service
        if tracing is not None:
            service.on_stage = tracing.stage
        service.start()
        if guard is not None:
            guard.start()
        try:
            yield
        finally:
            if guard is not None:
                await asyncio.to_thread(guard.close)
            await service.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    app = _Application(
        title="Likewise",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        # Newer versions would record requests and exceptions themselves, contents included.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        generate_unique_id_function=_operation_id,
    )
    app.guard = guard
    app.state.settings = settings
    app.state.service = None
    app.state.tracing = tracing
    app.state.requests = Requests()
    app.state.inflight = Inflight(settings.max_inflight_bytes)
    app.add_middleware(
        RequestFrame, requests=app.state.requests, timeout_s=settings.request_timeout
    )
    app.add_exception_handler(LikewiseError, problems.on_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    # Routes are tried in order; their paths are disjoint, so the busiest come first.
    for routes in (
        queries,
        points,
        memory,
        streams,
        embeddings,
        cohere,
        reranking,
        tei,
        evaluating,
        collections,
        fusion,
        snapshots,
        status,
    ):
        app.include_router(routes.router)
    _describe(app)
    return app


class _Application(FastAPI):
    """FastAPI with a shortcut to the query routes before it, and the gate before everything."""

    guard: Guard | None = None

    def build_middleware_stack(self) -> ASGIApp:
        served: ASGIApp = Shortcut(
            queries.ENDPOINTS,
            otherwise=super().build_middleware_stack(),
            requests=self.state.requests,
            timeout_s=self.state.settings.request_timeout,
        )
        if self.guard is not None:
            served = Gate(self.guard, served, requests=self.state.requests)
        if self.state.tracing is None:
            return served
        from app.api.tracing import TraceRequests

        return TraceRequests(served, self.state.tracing)


def open_tracing(settings: Settings) -> Tracing | None:
    """Begin to send traces, if an endpoint is set. Raises WrongSetting without its packages."""
    if not settings.otlp_endpoint:
        return None
    try:
        from app.api.tracing import Tracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise WrongSetting(
            [
                "LIKEWISE_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
                "pip install 'likewise-server[tracing]'"
            ]
        ) from None
    return Tracing(settings.otlp_endpoint)


def open_backend(settings: Settings) -> Backend:
    """Open the embedded engine on the data directory. Raises StoredDataError."""
    from app.backends.local import LocalBackend  # compiled kernels: load them when needed

    return LocalBackend(
        settings.data_dir,
        snapshots_dir=settings.snapshots_dir,
        sync=settings.sync,
        head_points=settings.head_points,
        build_threads=settings.build_threads,
        cover_share=settings.cover_share,
        vectors_on_disk=settings.vectors_on_disk,
        reserve_bytes=settings.reserve_bytes,
    )


def open_encoders(settings: Settings) -> EncoderRegistry:
    """Look at the models directory; nothing is loaded yet."""
    return EncoderRegistry(
        settings.models_dir,
        threads=settings.encoder_threads,
        queue=settings.encoder_queue,
        niceness=settings.encoder_niceness,
        batch_tokens=settings.batch_tokens,
        hub_endpoint=settings.hub_endpoint,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else "",
        variant=settings.model_variant,
        local_source=settings.model_source,
    )


def open_guard(settings: Settings) -> Guard | None:
    """Read keys and the keys of tokens; None if neither is configured. Raises StoredDataError."""
    given = (
        (Grant("LIKEWISE_API_KEY", frozenset({Scope.ADMIN})), settings.api_key),
        (Grant("LIKEWISE_READ_KEY", frozenset({Scope.READ})), settings.read_key),
    )
    fixed_keys = [(grant, key.get_secret_value().encode()) for grant, key in given if key]
    tokens = None
    if settings.jwt_secret_file or settings.jwt_public_key_file:
        tokens = TokenFiles(
            settings.jwt_secret_file,
            settings.jwt_public_key_file,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    if not (fixed_keys or tokens or settings.keys_file):
        return None
    return Guard(keys_file=settings.keys_file, fixed_keys=fixed_keys, tokens=tokens)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe(app: _Application) -> None:
    """Have FastAPI serve our OpenAPI document, built once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.document(app, keys_needed=app.guard is not None)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend it
