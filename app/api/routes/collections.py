"""Collections: create, describe, alter, drop."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.access import grant_of
from app.api.answers import answer
from app.api.body import read
from app.api.convert import (
    collection_from_wire,
    index_from_wire,
    json_from_collection,
    lexical_from_wire,
)
from app.api.openapi import body_of
from app.api.service import service_of
from app.wire.collections import AlterCollection, Collection, Collections, CreateCollection

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.put(
    "/{name}",
    response_model=Collection,
    responses={201: {"model": Collection, "description": "It is new."}},
    response_description="It existed with the same definition.",
    openapi_extra=body_of(CreateCollection),
)
async def create_collection(name: str, request: Request) -> Response:
    """Create a collection, or confirm that it exists with the same definition."""
    body = await read(request, CreateCollection)
    info, created = await service_of(request).create(name, collection_from_wire(body))
    return answer(json_from_collection(info), 201 if created else 200)


@router.get("", response_model=Collections)
async def list_collections(request: Request) -> Response:
    """Describe all collections that the caller's key is for, by name."""
    grant = grant_of(request)
    infos = [info for info in await service_of(request).describe_all() if grant.covers(info.name)]
    return answer({"collections": [json_from_collection(info) for info in infos]})


@router.get("/{name}", response_model=Collection)
async def get_collection(name: str, request: Request) -> Response:
    """Describe one collection."""
    return answer(json_from_collection(await service_of(request).describe(name)))


@router.patch("/{name}", response_model=Collection, openapi_extra=body_of(AlterCollection))
async def alter_collection(name: str, request: Request) -> Response:
    """Declare or forget schema fields, change the lexical index or later index builds."""
    body = await read(request, AlterCollection)
    info = await service_of(request).alter(
        name, body.schema_, index_from_wire(body.index), lexical_from_wire(body)
    )
    return answer(json_from_collection(info))


@router.delete("/{name}", status_code=204, response_class=Response)
async def drop_collection(name: str, request: Request) -> Response:
    """Delete a collection with all its points."""
    await service_of(request).drop(name)
    return Response(status_code=204)
