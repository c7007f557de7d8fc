"""Snapshots: take, list, send, receive, remove, restore."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.answers import answer
from app.api.body import read
from app.api.convert import json_from_collection
from app.api.openapi import body_of
from app.api.service import service_of
from app.api.transfer import MEDIA_TYPE, announced, pieces, sent
from app.wire.collections import Collection
from app.wire.snapshots import CreateSnapshot, RestoreSnapshot, Snapshot, Snapshots

router = APIRouter(prefix="/v1", tags=["snapshots"])

_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_SENT: dict[str, Any] = {"content": {MEDIA_TYPE: _FILE}}


@router.post(
    "/collections/{name}/snapshots",
    status_code=201,
    response_model=Snapshot,
    openapi_extra=body_of(CreateSnapshot),
)
async def create_snapshot(name: str, request: Request) -> Response:
    """Keep the present state of a collection, while it is read and written."""
    body = await read(request, CreateSnapshot)
    return answer(asdict(await service_of(request).snapshots.take(name, body.name)), 201)


@router.get("/snapshots", response_model=Snapshots)
async def list_snapshots(request: Request) -> Response:
    """Describe all snapshots, by name."""
    infos = await service_of(request).snapshots.describe_all()
    return answer({"snapshots": [asdict(info) for info in infos]})


@router.get("/snapshots/{snapshot}", response_model=Snapshot)
async def get_snapshot(snapshot: str, request: Request) -> Response:
    """Describe one snapshot."""
    return answer(asdict(await service_of(request).snapshots.describe(snapshot)))


@router.get(
    "/snapshots/{snapshot}/file",
    response_class=Response,
    responses={
        200: {**_SENT, "description": "The whole file."},
        206: {**_SENT, "description": "The range that was asked for."},
    },
)
async def download_snapshot(snapshot: str, request: Request) -> Response:
    """Send a snapshot's file, or the range of it that `Range: bytes=<first>-[<last>]` names."""
    info, file = await service_of(request).snapshots.open(snapshot)
    return sent(request, file, info.size, info.sha256, f"{info.name}.snapshot")


@router.put(
    "/snapshots/{snapshot}/file",
    status_code=201,
    response_model=Snapshot,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _FILE}},
        "parameters": [
            {
                "name": "X-Content-SHA256",
                "in": "header",
                "required": False,
                "description": "What the body must have, hexadecimal.",
                "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
            }
        ],
    },
)
async def upload_snapshot(snapshot: str, request: Request) -> Response:
    """Receive a snapshot's file, verify all of it, and keep it under this name."""
    size, sha256 = announced(request)
    info = await service_of(request).snapshots.receive(
        snapshot, pieces(request), size=size, sha256=sha256
    )
    return answer(asdict(info), 201)


@router.delete("/snapshots/{snapshot}", status_code=204, response_class=Response)
async def drop_snapshot(snapshot: str, request: Request) -> Response:
    """Remove a snapshot; collections are not touched."""
    await service_of(request).snapshots.drop(snapshot)
    return Response(status_code=204)


@router.post(
    "/snapshots/{snapshot}/restore",
    status_code=201,
    response_model=Collection,
    openapi_extra=body_of(RestoreSnapshot),
)
async def restore_snapshot(snapshot: str, request: Request) -> Response:
    """Make a collection of a snapshot; one that it replaces answers until the new one does."""
    body = await read(request, RestoreSnapshot)
    info = await service_of(request).snapshots.restore(
        snapshot, body.collection, replace=body.replace
    )
    return answer(json_from_collection(info), 201)
