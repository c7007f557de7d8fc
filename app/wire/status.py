"""The service about itself: health, version, limits; and the problem document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from app.wire.base import WireModel


class Health(WireModel):
    """The process answers."""

    status: Literal["ok"]


class Component(WireModel):
    """One part of the service; further members are facts about it."""

    model_config = ConfigDict(extra="allow")

    status: str
    detail: str


class Readiness(WireModel):
    """Whether to send requests here, and which part is not well."""

    status: Literal["ready", "degraded", "starting", "stopping"]
    components: dict[str, Component]


class Info(WireModel):
    """What answers here."""

    name: Literal["likewise"]
    version: str
    api: Literal["v1"]


class Limits(WireModel):
    """The limits that requests are held to. Times are seconds."""

    max_body_bytes: int
    max_batch: int
    max_queries: int
    max_k: int
    max_inputs: int
    max_documents: int
    max_text_chars: int
    max_image_bytes: int
    max_image_pixels: int
    max_filter_nodes: int
    max_attributes_bytes: int
    max_line_bytes: int
    max_import_bytes: int
    max_snapshot_bytes: int
    max_connections: int
    max_inflight_bytes: int
    request_timeout: float
    head_timeout: float
    body_timeout: float
    max_head_bytes: int
    max_headers: int
    max_target_bytes: int
    max_json_depth: int
    max_filter_depth: int
    max_vector_tokens: int
    max_token_dimension: int
    max_sparse_weights: int
    max_kept: int
    max_kept_bytes: int
    max_kept_bytes_together: int


class Fault(WireModel):
    """One of several places to blame."""

    pointer: str
    detail: str


class OpenAiError(WireModel):
    """A problem in the words of OpenAI's API, whose clients show the message."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(WireModel):
    """What went wrong (RFC 9457).

    type        "urn:likewise:problem:" and the code of docs/api.md
    pointer     the place in the request body to blame (RFC 6901), if there is one
    errors      all places, if there are several
    request_id  also in the header `X-Request-Id` and in the log
    error       the same for OpenAI's clients, where they ask: `/v1/embeddings` and `/v1/models`
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    pointer: str | None = None
    errors: list[Fault] | None = None
    context: dict[str, Any] | None = None
    error: OpenAiError | None = None
