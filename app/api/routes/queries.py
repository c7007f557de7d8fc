"""Queries: the nearest points that pass a filter."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from app.api.answers import long_answer
from app.api.body import read_with
from app.api.convert import json_from_answer
from app.api.openapi import body_of
from app.api.query_body import one_query, several_queries
from app.api.service import service_of
from app.wire.queries import Query, QueryAnswer, QueryBatch, QueryBatchAnswer

router = APIRouter(prefix="/v1/collections/{name}", tags=["queries"])


@router.post("/query", response_model=QueryAnswer, openapi_extra=body_of(Query))
async def query_points(name: str, request: Request) -> Response:
    """Find the nearest points to a text, a vector or another point."""
    started = time.perf_counter()
    body, query = await read_with(request, one_query)
    service = service_of(request)
    stages = service.work.stages
    stages["read"].note(time.perf_counter() - started)
    (found,) = await service.query(name, [query])
    found_s = time.perf_counter()
    took_ms = (found_s - started) * 1e3
    response = await long_answer(
        lambda: json_from_answer(found, body.encoding_format, took_ms),
        records=len(found.hits),
        with_vectors=body.with_vectors,
    )
    stages["answer"].note(time.perf_counter() - found_s)
    return response


@router.post("/query:batch", response_model=QueryBatchAnswer, openapi_extra=body_of(QueryBatch))
async def query_points_batch(name: str, request: Request) -> Response:
    """Answer several queries on one state of the collection; `took_ms` is that of the batch."""
    started = time.perf_counter()
    body, queries = await read_with(request, several_queries)
    service = service_of(request)
    stages = service.work.stages
    stages["read"].note(time.perf_counter() - started)
    service.check_queries(len(queries))
    found = await service.query(name, queries)
    found_s = time.perf_counter()
    took_ms = (found_s - started) * 1e3
    response = await long_answer(
        lambda: {
            "results": [
                json_from_answer(answer, query.encoding_format, took_ms)
                for answer, query in zip(found, body.queries, strict=True)
            ]
        },
        records=sum(len(answer.hits) for answer in found),
        with_vectors=any(query.with_vectors for query in body.queries),
    )
    stages["answer"].note(time.perf_counter() - found_s)
    return response


ENDPOINTS = {"query": query_points, "query:batch": query_points_batch}
"""The routes of this file by the last part of their path, for `app.api.shortcut`."""
