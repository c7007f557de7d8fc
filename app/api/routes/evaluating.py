"""Evaluations: how good the answers of a collection are."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.answers import answer
from app.api.body import read
from app.api.evaluation import evaluation_from_wire, json_from_evaluation
from app.api.openapi import body_of
from app.api.service import service_of
from app.wire.evaluating import Evaluate, Evaluation

router = APIRouter(prefix="/v1/collections/{name}", tags=["queries"])


@router.post("/evaluate", response_model=Evaluation, openapi_extra=body_of(Evaluate))
async def evaluate_queries(name: str, request: Request) -> Response:
    """Measure the answers to judged queries, asked in one or more ways."""
    started = time.perf_counter()
    body = await read(request, Evaluate)
    service = service_of(request)
    outcome, points = await service.evaluating.evaluate(name, evaluation_from_wire(body))
    took_ms = round((time.perf_counter() - started) * 1e3, 3)
    return await run_in_threadpool(
        lambda: answer(json_from_evaluation(outcome, points, took_ms, per_query=body.per_query))
    )
