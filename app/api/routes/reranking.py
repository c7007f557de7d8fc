"""Reranking, in the shapes that Cohere's and Jina's clients speak."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.answers import long_answer
from app.api.body import read
from app.api.openapi import body_of
from app.api.service import service_of
from app.log import request_id
from app.service.reranking import Reranked, ToRerank
from app.wire.reranking import RerankAnswer, RerankDocuments

router = APIRouter(tags=["encoders"])

_UNIT_DOCUMENTS = 100  # of one search unit, as Cohere counts them


@router.post("/v1/rerank", response_model=RerankAnswer, openapi_extra=body_of(RerankDocuments))
async def rerank(request: Request) -> Response:
    """Order documents by how well each answers a query."""
    return await _answered(request, "1")


@router.post("/v2/rerank", response_model=RerankAnswer, openapi_extra=body_of(RerankDocuments))
async def rerank_v2(request: Request) -> Response:
    """Order documents, at the path of Cohere's second API; the same as `/v1/rerank`."""
    return await _answered(request, "2")


async def _answered(request: Request, version: str) -> Response:
    body = await read(request, RerankDocuments)
    reranked = await service_of(request).rerank(
        ToRerank(
            query=body.query,
            documents=body.documents,
            model=body.model,
            top_n=body.top_n,
            fields=body.rank_fields,
            most_tokens=body.max_tokens_per_doc,
        )
    )
    with_documents = body.return_documents is True
    return await long_answer(
        lambda: _json(reranked, version, with_documents=with_documents),
        records=len(reranked.ranking),
    )


def _json(reranked: Reranked, version: str, *, with_documents: bool) -> dict[str, Any]:
    """`app.wire.reranking.RerankAnswer`"""
    results: list[dict[str, Any]] = []
    for index, score in reranked.ranking:
        result: dict[str, Any] = {"index": index, "relevance_score": score}
        if with_documents:
            result["document"] = {"text": reranked.documents[index]}
        results.append(result)
    units = -(-len(reranked.documents) // _UNIT_DOCUMENTS)
    return {
        "id": request_id.get(),
        "model": reranked.model,
        "results": results,
        "meta": {
            "api_version": {"version": version},
            "billed_units": {"search_units": units},
        },
        "usage": {"prompt_tokens": reranked.tokens, "total_tokens": reranked.tokens},
    }
