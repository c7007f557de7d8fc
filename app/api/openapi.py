"""The OpenAPI document: what FastAPI knows of the routes, with bodies and problems added.

Routes read their bodies themselves, so each says by `body_of(Model)` what it reads; the models'
schemas are added here, and so are the problem documents that every endpoint can answer with.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import __version__
from app.api.access import NEEDS
from app.api.problems import MEDIA_TYPE
from app.wire.base import WireModel
from app.wire.cohere import CohereEmbed
from app.wire.collections import AlterCollection, CreateCollection
from app.wire.embeddings import CreateEmbeddings
from app.wire.evaluating import Evaluate
from app.wire.facets import CountFacets
from app.wire.fusion import PutCalibration, PutQueryBank
from app.wire.memory import ChooseThreshold, Classify, Learn, MakeClassifier, Verify
from app.wire.points import (
    CountPoints,
    DeletePoints,
    ExportPoints,
    GetPoints,
    PatchPoints,
    ScrollPoints,
    UpsertPoints,
)
from app.wire.queries import Query, QueryBatch
from app.wire.reranking import RerankDocuments
from app.wire.snapshots import CreateSnapshot, RestoreSnapshot
from app.wire.status import Problem
from app.wire.tei import TeiEmbed

REQUESTS: tuple[type[WireModel], ...] = (
    CreateCollection,
    AlterCollection,
    UpsertPoints,
    PatchPoints,
    GetPoints,
    DeletePoints,
    CountPoints,
    CountFacets,
    ScrollPoints,
    ExportPoints,
    Query,
    QueryBatch,
    Evaluate,
    CreateEmbeddings,
    CohereEmbed,
    TeiEmbed,
    RerankDocuments,
    Classify,
    Verify,
    MakeClassifier,
    Learn,
    ChooseThreshold,
    PutQueryBank,
    PutCalibration,
    CreateSnapshot,
    RestoreSnapshot,
)

_REF = "#/components/schemas/{model}"

_NAME = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a signed token."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

_OF_ALL = {
    "400": "It is not HTTP, or its deadline is no number",
    "408": "The request did not arrive in time",
    "414": "The path and query are too long",
    "431": "The headers are too large",
    "500": "The service failed",
}
_OF_V1 = {
    "429": "Too many requests wait; see Retry-After",
    "503": "Not available now; see Retry-After",
}
_OF_KEYS = {
    "401": "The key or token is missing or not valid",
    "403": "The key or token does not allow this",
}
_OF_PATHS = {"404": "Something named does not exist", "422": "The request is wrong"}
_OF_BODIES = {
    "400": "It is not HTTP, or the body cannot be read",
    "413": "The body is too long",
    "415": "The body is not declared as what is read here",
    "422": "The request is wrong",
}
_OF_WRITES = {"409": "It contradicts what is stored", "507": "The disk is full"}
_WRITES = {
    "create_collection",
    "alter_collection",
    "drop_collection",
    "upsert_points",
    "patch_points",
    "delete_points",
    "create_snapshot",
    "upload_snapshot",
    "drop_snapshot",
    "restore_snapshot",
    "import_points",
    "make_classifier",
    "drop_classifier",
    "teach_classifier",
    "choose_threshold",
    "drop_threshold",
}


_USES_WHAT_IS_KEPT = {"classify", "verify", "describe_classifier", "describe_threshold"}

_ENCODES = {
    "create_embeddings",
    "cohere_embed_v1",
    "cohere_embed_v2",
    "tei_embed",
    "rerank",
    "rerank_v2",
}


def body_of(model: type[WireModel]) -> dict[str, Any]:
    """Say that a route reads `model`, for `openapi_extra`."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def json_or_form(model: type[WireModel]) -> dict[str, Any]:
    """Say that a route reads `model`, or a form with files in the place of its inputs."""
    extra = body_of(model)
    # A part of a form has no type, and may come several times: no schema can say more.
    parts = {
        "image": {"description": "The file of one input."},
        "text": {"description": "The text of one input, UTF-8."},
    }
    extra["requestBody"]["content"]["multipart/form-data"] = {
        "schema": {"type": "object", "properties": parts}
    }
    return extra


def content_of_lines(model: type[WireModel]) -> dict[str, Any]:
    """Say that a body is lines, each of them a `model`."""
    return {"application/x-ndjson": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def document(app: FastAPI, *, keys_needed: bool) -> dict[str, Any]:
    """Build the document of all routes of `app`."""
    built = get_openapi(
        title="Likewise",
        version=__version__,
        summary="Vector search: encoders, a durable store and filtered nearest neighbours.",
        routes=app.routes,
    )
    models: list[type[BaseModel]] = [*REQUESTS, Problem]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF
    )
    schemas = built.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    built["components"]["securitySchemes"] = _SCHEMES
    # Either of them; and none, if the service has no keys.
    built["security"] = [{scheme: []} for scheme in _SCHEMES] if keys_needed else [{}]
    for path, operations in built["paths"].items():
        for method, operation in operations.items():
            need = NEEDS.get(f"{method.upper()} {path}")
            is_open = need is not None and need.access is None
            if is_open:
                operation["security"] = []
            _declare_problems(path, operation, is_open=is_open)
            _declare_names(operation)
    return built


def _declare_names(operation: dict[str, Any]) -> None:
    """Say which names there can be: every one in a path keeps the same rules."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["schema"]["pattern"] = _NAME


def _declare_problems(path: str, operation: dict[str, Any], *, is_open: bool) -> None:
    kinds = dict(_OF_ALL)
    if not is_open:
        kinds |= _OF_KEYS
    if path.startswith(("/v1/", "/v2/", "/embed")):
        kinds |= _OF_V1
    if path == "/metrics":  # refused before the start and after the end only
        kinds |= {"503": _OF_V1["503"]}
    if "{" in path:
        kinds |= _OF_PATHS
    if "requestBody" in operation:
        kinds |= _OF_BODIES
    if operation["operationId"] in _WRITES:
        kinds |= _OF_WRITES
    if operation["operationId"] in _USES_WHAT_IS_KEPT:
        kinds |= {"409": _OF_WRITES["409"]}
    if operation["operationId"] == "import_points":
        kinds |= {"408": "The body did not come"}
    if operation["operationId"] in _ENCODES:
        kinds |= {"404": "Something named does not exist"}
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for status, description in sorted(kinds.items()):
        operation["responses"][status] = {"description": description, "content": content}
