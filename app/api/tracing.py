"""OpenTelemetry traces: a span for each request and for each stage of it. The only importer.

Nothing here is imported unless an endpoint is set (`LIKEWISE_OTLP_ENDPOINT`): without one, requests
pass no wrapper, and a stage costs one look at `Service.on_stage`.

    POST /v1/collections/{name}/query       server; its parent is the caller's `traceparent`
    ├─ encode   encoder, texts, tokens
    └─ search   collection, queries, k, plan, matches
    PUT /v1/collections/{name}/points
    ├─ encode
    └─ write    collection, operation, points

Spans carry names, counts and plans; never ids, texts, vectors or attributes. Stages are told when
they are over, so their spans are made with the times they had. Sampling and headers of the exporter
are the SDK's own settings (`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`).
"""

from __future__ import annotations

import logging
import time
from typing import Any

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.log import request_id, trace_id

_TIMEOUT_S = 5.0
"""How long a collector may take for one batch; spans that it does not take are lost."""

_UNTRACED = {"/healthz", "/readyz", "/metrics"}


class Tracing:
    """The spans of one application, sent in batches by a thread of the SDK's."""

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({SERVICE_NAME: "likewise", SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=_TIMEOUT_S
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("likewise", __version__)
        # A collector that is away is reported once a batch, with a traceback; a line is enough.
        logging.getLogger("opentelemetry").addFilter(_without_traceback)

    def stage(self, name: str, begun_s: float, ended_s: float, facts: dict[str, Any]) -> None:
        """Make the span of a stage that is over; see `app.service.service.OnStage`."""
        now_ns, now_s = time.time_ns(), time.perf_counter()
        span = self.tracer.start_span(
            name,
            start_time=now_ns - int((now_s - begun_s) * 1e9),
            attributes={f"likewise.{key}": value for key, value in facts.items()},
        )
        span.end(now_ns - int((now_s - ended_s) * 1e9))

    def close(self) -> None:
        """Send what is left and end the thread. Blocks, with a collector that is away for long."""
        self._provider.shutdown()


class TraceRequests:
    """A span around each request, and its trace id for the log."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracer = tracing.tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        parent = self._propagator.extract(scope, getter=_Headers())
        span = self._tracer.start_span(scope["method"], context=parent, kind=SpanKind.SERVER)
        token = attach(trace.set_span_in_context(span))
        trace_token = trace_id.set(f"{span.get_span_context().trace_id:032x}")
        status = 0

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("likewise.request_id", request_id.get())
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        finally:
            template = getattr(scope.get("route"), "path", "-")
            span.update_name(f"{scope['method']} {template}")
            # https://opentelemetry.io/docs/specs/semconv/http/http-spans/
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.route", template)
            span.set_attribute("http.response.status_code", status)
            if status == 0 or status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            if "problem" in scope:
                span.set_attribute("likewise.problem", scope["problem"])
            span.end()
            trace_id.reset(trace_token)
            detach(token)


class _Headers(Getter[Scope]):
    """How the propagator reads headers of ASGI: lower-case bytes in pairs."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        wanted = key.lower().encode("ascii")
        found = [str(v, "latin-1") for name, v in carrier["headers"] if name == wanted]
        return found or None

    def keys(self, carrier: Scope) -> list[str]:
        return [str(name, "latin-1") for name, _ in carrier["headers"]]


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True
