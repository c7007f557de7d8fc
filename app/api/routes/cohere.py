"""Embeddings, in the shapes that Cohere's clients speak."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read
from app.api.embeddings import outputs_written
from app.api.middleware import new_id
from app.api.openapi import body_of
from app.api.service import service_of
from app.encoders.base import Cut
from app.errors import InvalidField, InvalidText
from app.service.checks import place
from app.service.embedding import ToEmbed
from app.wire.cohere import CohereEmbed, CohereEmbeddings

router = APIRouter(tags=["encoders"])

_CUTS: dict[str | None, Cut] = {None: "end", "END": "end", "START": "start", "NONE": "never"}


@router.post("/v1/embed", response_model=CohereEmbeddings, openapi_extra=body_of(CohereEmbed))
async def cohere_embed_v1(request: Request) -> Response:
    """Encode texts or images without storing them, as version 1 of Cohere's API does."""
    return await _embed(request, "1")


@router.post("/v2/embed", response_model=CohereEmbeddings, openapi_extra=body_of(CohereEmbed))
async def cohere_embed_v2(request: Request) -> Response:
    """Encode texts or images without storing them, as version 2 of Cohere's API does."""
    return await _embed(request, "2")


async def _embed(request: Request, version: Literal["1", "2"]) -> Response:
    body = await read(request, CohereEmbed)
    pictures = body.images is not None
    if pictures and body.texts is not None:
        raise InvalidField("expected either texts or images", pointer="/images")
    inputs_at = "/images" if pictures else "/texts"
    for number, given in enumerate((body.images if pictures else body.texts) or ()):
        # Cohere's clients know no other inputs; elsewhere they are ids of tokens, records, ….
        if not isinstance(given, str):
            raise InvalidText("expected a string", pointer=place(inputs_at, number))
    embedded = await service_of(request).embed(
        ToEmbed(
            body.images if pictures else body.texts,
            body.model,
            dimensions=body.output_dimension,
            kind="query" if body.input_type == "search_query" else "document",
            cut=_CUTS[body.truncate],
            strings="image" if pictures else "text",
            inputs_at=inputs_at,
            dimensions_at="/output_dimension",
        )
    )
    embeddings: dict[str, orjson.Fragment] | orjson.Fragment
    if body.embedding_types is None and version == "1":
        kind, embeddings = "embeddings_floats", await outputs_written(embedded, "float")
    else:
        kind, embeddings = "embeddings_by_type", {}
        for numbers in body.embedding_types or ["float"]:
            embeddings[numbers] = await outputs_written(embedded, numbers)
    found: dict[str, Any] = {
        "response_type": kind,
        "id": new_id(),
        "embeddings": embeddings,
        "texts": [] if pictures else body.texts,
        "meta": {
            "api_version": {"version": version},
            "billed_units": (
                {"images": len(embedded.tokens)}
                if pictures
                else {"input_tokens": sum(embedded.tokens)}
            ),
        },
    }
    return answer(found)
