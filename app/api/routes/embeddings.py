"""Encoders and embeddings, in the shapes that OpenAI clients speak."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read_json_or_form
from app.api.convert import json_from_encoder
from app.api.embeddings import embeddings_written
from app.api.multipart import members_of
from app.api.openapi import json_or_form
from app.api.service import service_of
from app.encoders.base import TextKind
from app.service.embedding import ToEmbed
from app.wire.embeddings import CreateEmbeddings, Embeddings, Model, Models

router = APIRouter(prefix="/v1", tags=["encoders"])


@router.get("/models", response_model=Models)
async def list_models(request: Request) -> Response:
    """List the installed encoders and whether they can be used now."""
    models = await service_of(request).models()
    return answer({"object": "list", "data": [json_from_encoder(model) for model in models]})


@router.get("/models/{model}", response_model=Model)
async def describe_model(model: str, request: Request) -> Response:
    """Describe one encoder, and whether it can be used now."""
    return answer(json_from_encoder(await service_of(request).model(model)))


@router.post("/models/{model}/load", response_model=Model)
async def load_model(model: str, request: Request) -> Response:
    """Begin to load an encoder in the background, obtaining what it lacks."""
    return answer(json_from_encoder(await service_of(request).load_model(model)))


@router.post("/models/{model}/unload", response_model=Model)
async def unload_model(model: str, request: Request) -> Response:
    """Let go of an encoder when what was accepted for it is done, and free its memory."""
    return answer(json_from_encoder(await service_of(request).unload_model(model)))


@router.post("/embeddings", response_model=Embeddings, openapi_extra=json_or_form(CreateEmbeddings))
async def create_embeddings(request: Request) -> Response:
    """Encode inputs without storing them. A form has a part `image` or `text` for each of them."""
    body = await read_json_or_form(request, CreateEmbeddings, members_of)
    embedded = await service_of(request).embed(
        ToEmbed(
            body.input,
            body.model,
            dimensions=body.dimensions,
            kind=body.input_type or _kind_of(body.task),
            output=body.output or ("tokens" if body.return_multivector else "dense"),
            cut="never" if body.truncate is False else "end",
            normalise=body.normalized is True,
        )
    )
    numbers = body.encoding_format or body.embedding_type or "float"
    tokens = sum(embedded.tokens)
    return answer(
        {
            "object": "list",
            "data": await embeddings_written(embedded, numbers),
            "model": embedded.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _kind_of(task: str | None) -> TextKind:
    """Jina's tasks have names such as `retrieval.query` and `retrieval.passage`."""
    return "query" if task is not None and task.endswith(".query") else "document"
