"""Memory: what things are, and whether two are the same."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.answers import answer, long_answer
from app.api.body import read, read_as
from app.api.openapi import body_of
from app.api.service import service_of
from app.wire.base import WireModel
from app.wire.memory import (
    ChooseThreshold,
    Classifier,
    Classifiers,
    Classify,
    ClassifyAnswer,
    Learn,
    MakeClassifier,
    Threshold,
    Thresholds,
    Verify,
    VerifyAnswer,
)

router = APIRouter(prefix="/v1/collections/{name}", tags=["memory"])


def _members(body: WireModel) -> dict[str, Any]:
    """The members that were given, as they came."""
    return body.model_dump(exclude_none=True)


async def _timed(work: Awaitable[dict[str, Any]], parts: str) -> Response:
    started = time.perf_counter()
    found = await work
    found["took_ms"] = round((time.perf_counter() - started) * 1e3, 3)
    return await long_answer(lambda: found, records=sum(map(_size, found[parts])))


def _size(one: dict[str, Any]) -> int:
    """How much there is to write of one result: about one for each label and voter."""
    voters = one.get("voters", {})
    return 1 + len(one.get("scores", ())) + sum(map(len, voters.values()))


@router.post(
    "/classify",
    response_model=ClassifyAnswer,
    response_model_exclude_none=True,
    openapi_extra=body_of(Classify),
)
async def classify(name: str, request: Request) -> Response:
    """Say of each input what it is, by the points that are remembered or the texts of labels."""
    members = await read_as(request, Classify, _members)
    return await _timed(service_of(request).classifying.classify(name, members), "results")


@router.post("/verify", response_model=VerifyAnswer, openapi_extra=body_of(Verify))
async def verify(name: str, request: Request) -> Response:
    """Say of each pair whether it is the same."""
    members = await read_as(request, Verify, _members)
    return await _timed(service_of(request).verifying.verify(name, members), "pairs")


@router.get("/classifiers", response_model=Classifiers)
async def list_classifiers(name: str, request: Request) -> Response:
    """List the classifiers that the collection keeps."""
    return answer({"classifiers": await service_of(request).classifying.describe_all(name)})


@router.put(
    "/classifiers/{classifier}",
    response_model=Classifier,
    openapi_extra=body_of(MakeClassifier),
)
async def make_classifier(name: str, classifier: str, request: Request) -> Response:
    """Keep a classifier, in the place of the one of that name; fit it if that is asked for."""
    members = await read_as(request, MakeClassifier, _members)
    return answer(await service_of(request).classifying.make(name, classifier, members))


@router.get("/classifiers/{classifier}", response_model=Classifier)
async def describe_classifier(name: str, classifier: str, request: Request) -> Response:
    """Show a classifier and what its fitting was worth."""
    return answer(await service_of(request).classifying.describe(name, classifier))


@router.delete("/classifiers/{classifier}", status_code=204, response_class=Response)
async def drop_classifier(name: str, classifier: str, request: Request) -> Response:
    """Remove a classifier."""
    await service_of(request).classifying.forget(name, classifier)
    return Response(status_code=204)


@router.post(
    "/classifiers/{classifier}/learn", response_model=Classifier, openapi_extra=body_of(Learn)
)
async def teach_classifier(name: str, classifier: str, request: Request) -> Response:
    """Move the kept class means of a classifier towards new examples."""
    body = await read(request, Learn)
    members = {"examples": body.examples, "momentum": body.momentum}
    return answer(await service_of(request).classifying.learn(name, classifier, members))


@router.get("/thresholds", response_model=Thresholds)
async def list_thresholds(name: str, request: Request) -> Response:
    """List the thresholds that the collection keeps."""
    return answer({"thresholds": await service_of(request).verifying.describe_all(name)})


@router.put(
    "/thresholds/{threshold}", response_model=Threshold, openapi_extra=body_of(ChooseThreshold)
)
async def choose_threshold(name: str, threshold: str, request: Request) -> Response:
    """Choose a threshold by labelled pairs, and keep it in the place of the one of that name."""
    members = await read_as(request, ChooseThreshold, _members)
    return answer(await service_of(request).verifying.choose(name, threshold, members))


@router.get("/thresholds/{threshold}", response_model=Threshold)
async def describe_threshold(name: str, threshold: str, request: Request) -> Response:
    """Show a threshold, and the rates that were measured with it."""
    return answer(await service_of(request).verifying.describe(name, threshold))


@router.delete("/thresholds/{threshold}", status_code=204, response_class=Response)
async def drop_threshold(name: str, threshold: str, request: Request) -> Response:
    """Remove a threshold."""
    await service_of(request).verifying.forget(name, threshold)
    return Response(status_code=204)
