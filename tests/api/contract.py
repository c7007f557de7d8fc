"""Whether an answer is what the OpenAPI document promises for its path, method and status."""

from __future__ import annotations

import re
from typing import Any

import httpx

from app.wire import (
    cohere,
    collections,
    embeddings,
    evaluating,
    facets,
    fusion,
    memory,
    points,
    queries,
    reranking,
    snapshots,
    status,
    tei,
)
from app.wire.base import WireModel

MODELS: dict[str, type[WireModel]] = {
    name: model
    for module in (
        cohere,
        collections,
        embeddings,
        evaluating,
        facets,
        memory,
        fusion,
        points,
        queries,
        reranking,
        snapshots,
        status,
        tei,
    )
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, WireModel)
}


def check(document: dict[str, Any], answer: httpx.Response) -> None:
    """Fail if the answer's status is not declared or its body is not of the declared model."""
    operation = _operation(document, answer.request)
    if operation is None:
        return
    declared = operation["responses"].get(str(answer.status_code))
    assert declared is not None, f"{answer.request.url.path}: {answer.status_code} undeclared"
    if answer.status_code == 204:
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    content = declared["content"][media_type]
    if media_type == "text/plain" or content["schema"].get("format") == "binary":
        return
    if content["schema"].get("type") == "array":  # lists of vectors, of no model of their own
        assert all(isinstance(one, list) for one in answer.json())
        return
    model = MODELS[content["schema"]["$ref"].rpartition("/")[2]]
    parts = [answer.content]
    if media_type == "application/x-ndjson":
        assert answer.content.endswith(b"\n") or not answer.content
        parts = answer.content.splitlines()
    for part in parts:
        model.model_validate_json(part)


def _operation(document: dict[str, Any], request: httpx.Request) -> Any:
    for template, operations in document["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in operations:
            return operations[request.method.lower()]
    return None
