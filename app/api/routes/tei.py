"""Embeddings, in the shape that clients of text-embeddings-inference speak."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read
from app.api.embeddings import outputs_written
from app.api.openapi import body_of
from app.api.service import service_of
from app.encoders.base import Cut
from app.service.embedding import ToEmbed
from app.wire.tei import TeiEmbed

router = APIRouter(tags=["encoders"])


@router.post("/embed", response_model=list[list[float]], openapi_extra=body_of(TeiEmbed))
async def tei_embed(request: Request) -> Response:
    """Encode inputs of the default encoder without storing them: a list of vectors, no more."""
    body = await read(request, TeiEmbed)
    embedded = await service_of(request).embed(
        ToEmbed(
            body.inputs,
            dimensions=body.dimensions,
            kind="query" if body.prompt_name == "query" else "document",
            cut=_cut(body),
            normalise=body.normalize is not False,
            inputs_at="/inputs",
        )
    )
    return answer(await outputs_written(embedded, "float"))


def _cut(body: TeiEmbed) -> Cut:
    if body.truncate is False:
        return "never"
    left = body.truncation_direction is not None and body.truncation_direction.lower() == "left"
    return "start" if left else "end"
