"""Points: write, patch, read, delete, count, scroll."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from app.api.answers import answer, long_answer
from app.api.body import read, read_as
from app.api.convert import (
    facets_from_wire,
    json_from_records,
    lifetime_from_wire,
    points_from_wire,
    projection_from_wire,
)
from app.api.openapi import body_of
from app.api.service import service_of
from app.service.requests import Chosen
from app.wire.facets import CountFacets, FacetAnswer
from app.wire.points import (
    Count,
    CountPoints,
    Deleted,
    DeletePoints,
    FoundPoints,
    GetPoints,
    Page,
    PatchPoints,
    ScrollPoints,
    Updated,
    Upserted,
    UpsertPoints,
)

router = APIRouter(prefix="/v1/collections/{name}/points", tags=["points"])


@router.put("", response_model=Upserted, openapi_extra=body_of(UpsertPoints))
async def upsert_points(name: str, request: Request) -> Response:
    """Insert or replace points, all of them or none."""
    points = await read_as(request, UpsertPoints, points_from_wire)
    return answer({"upserted": await service_of(request).upsert(name, points)})


@router.patch("", response_model=Updated, openapi_extra=body_of(PatchPoints))
async def patch_points(name: str, request: Request) -> Response:
    """Change attributes or lifetime of the points with these ids, or that pass a filter."""
    body = await read(request, PatchPoints)
    updated = await service_of(request).patch(
        name, Chosen(body.ids, body.filter), body.set_, body.unset, lifetime_from_wire(body)
    )
    return answer({"updated": updated})


@router.post("/get", response_model=FoundPoints, openapi_extra=body_of(GetPoints))
async def get_points(name: str, request: Request) -> Response:
    """Read points by id."""
    body = await read(request, GetPoints)
    found, missing = await service_of(request).get(name, body.ids, projection_from_wire(body))
    return await long_answer(
        lambda: {"points": json_from_records(found, body.encoding_format), "missing": missing},
        records=len(found),
        with_vectors=body.with_vectors,
    )


@router.post("/delete", response_model=Deleted, openapi_extra=body_of(DeletePoints))
async def delete_points(name: str, request: Request) -> Response:
    """Delete the points with these ids, or that pass a filter."""
    body = await read(request, DeletePoints)
    deleted = await service_of(request).delete(name, Chosen(body.ids, body.filter))
    return answer({"deleted": deleted})


@router.post("/count", response_model=Count, openapi_extra=body_of(CountPoints))
async def count_points(name: str, request: Request) -> Response:
    """Count the points that pass a filter, or all of them."""
    body = await read(request, CountPoints)
    return answer({"count": await service_of(request).count(name, body.filter)})


@router.post("/facets", response_model=FacetAnswer, openapi_extra=body_of(CountFacets))
async def count_facets(name: str, request: Request) -> Response:
    """Summarise points by their attributes: counted values, numbers, histograms, dates."""
    started = time.perf_counter()
    wanted = await read_as(request, CountFacets, facets_from_wire)
    points, facets = await service_of(request).facets(name, wanted)
    took_ms = round((time.perf_counter() - started) * 1e3, 3)
    return answer({"points": points, "facets": facets, "took_ms": took_ms})


@router.post("/scroll", response_model=Page, openapi_extra=body_of(ScrollPoints))
async def scroll_points(name: str, request: Request) -> Response:
    """Walk through points in the order of their ids, a page at a time."""
    body = await read(request, ScrollPoints)
    records, cursor = await service_of(request).scroll(
        name, body.filter, body.limit, body.cursor, projection_from_wire(body)
    )
    return await long_answer(
        lambda: {
            "points": json_from_records(records, body.encoding_format),
            "next_cursor": cursor,
        },
        records=len(records),
        with_vectors=body.with_vectors,
    )
