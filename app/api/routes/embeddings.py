"""Encoders and embeddings, in the shapes that OpenAI clients speak."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read
from app.api.convert import json_from_encoder
from app.api.embeddings import embeddings_written
from app.api.openapi import body_of
from app.api.service import service_of
from app.service.embedding import ToEmbed
from app.wire.embeddings import CreateEmbeddings, Embeddings, Models

router = APIRouter(prefix="/v1", tags=["encoders"])


@router.get("/models", response_model=Models)
async def list_models(request: Request) -> Response:
    """List the installed encoders and whether they can be used now."""
    models = await service_of(request).models()
    return answer({"object": "list", "data": [json_from_encoder(model) for model in models]})


@router.post("/embeddings", response_model=Embeddings, openapi_extra=body_of(CreateEmbeddings))
async def create_embeddings(request: Request) -> Response:
    """Encode inputs without storing them."""
    body = await read(request, CreateEmbeddings)
    embedded = await service_of(request).embed(
        ToEmbed(
            body.input,
            body.model,
            body.dimensions,
            body.input_type or "document",
            body.output or ("tokens" if body.return_multivector else "dense"),
        )
    )
    tokens = sum(embedded.tokens)
    return answer(
        {
            "object": "list",
            "data": await embeddings_written(embedded, body.encoding_format or "float"),
            "model": embedded.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
