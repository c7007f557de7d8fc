"""Query banks and calibrations of a collection: put, show, list, forget."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read
from app.api.openapi import body_of
from app.api.service import service_of
from app.wire.base import WireModel
from app.wire.fusion import (
    Calibration,
    Calibrations,
    PutCalibration,
    PutQueryBank,
    QueryBank,
    QueryBanks,
)

router = APIRouter(prefix="/v1/collections/{name}", tags=["fusion"])


@router.put(
    "/query-banks/{bank}",
    response_model=QueryBank,
    responses={201: {"model": QueryBank, "description": "It is new."}},
    response_description="It took the place of another one.",
    openapi_extra=body_of(PutQueryBank),
)
async def put_query_bank(name: str, bank: str, request: Request) -> Response:
    """Make a bank of queries, try it on labelled ones, and keep it."""
    body = await read(request, PutQueryBank)
    told, new = await service_of(request).banks.put(name, bank, _given(body))
    return answer(told, 201 if new else 200)


@router.get("/query-banks", response_model=QueryBanks)
async def list_query_banks(name: str, request: Request) -> Response:
    """Describe all query banks, by name."""
    return answer({"banks": await service_of(request).banks.describe_all(name)})


@router.get("/query-banks/{bank}", response_model=QueryBank)
async def get_query_bank(name: str, bank: str, request: Request) -> Response:
    """Describe one query bank, with what labelled queries said of it."""
    return answer(await service_of(request).banks.describe(name, bank))


@router.delete("/query-banks/{bank}", status_code=204, response_class=Response)
async def drop_query_bank(name: str, bank: str, request: Request) -> Response:
    """Remove a query bank."""
    await service_of(request).banks.forget(name, bank)
    return Response(status_code=204)


@router.put(
    "/calibrations/{calibration}",
    response_model=Calibration,
    responses={201: {"model": Calibration, "description": "It is new."}},
    response_description="It took the place of another one.",
    openapi_extra=body_of(PutCalibration),
)
async def put_calibration(name: str, calibration: str, request: Request) -> Response:
    """Fit a curve from scores to probabilities, measure it, and keep it."""
    body = await read(request, PutCalibration)
    told, new = await service_of(request).calibrations.put(name, calibration, _given(body))
    return answer(told, 201 if new else 200)


@router.get("/calibrations", response_model=Calibrations)
async def list_calibrations(name: str, request: Request) -> Response:
    """Describe all calibrations, by name."""
    return answer({"calibrations": await service_of(request).calibrations.describe_all(name)})


@router.get("/calibrations/{calibration}", response_model=Calibration)
async def get_calibration(name: str, calibration: str, request: Request) -> Response:
    """Describe one calibration."""
    return answer(await service_of(request).calibrations.describe(name, calibration))


@router.delete("/calibrations/{calibration}", status_code=204, response_class=Response)
async def drop_calibration(name: str, calibration: str, request: Request) -> Response:
    """Remove a calibration."""
    await service_of(request).calibrations.forget(name, calibration)
    return Response(status_code=204)


def _given(body: WireModel) -> dict[str, Any]:
    """Give the members that are there, raw."""
    return {name: getattr(body, name) for name in body.model_fields_set}
