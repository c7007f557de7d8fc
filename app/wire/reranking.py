"""Reranking, in the shapes that Cohere's and Jina's clients speak."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from app.wire.base import NOT_EMPTY, Names, WireModel

_TEXT = {"type": "string", "minLength": 1}

Document = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A text, or an object that has it in `text` or in the members that "
            "`rank_fields` names.",
            "anyOf": [_TEXT, {"type": "object", "additionalProperties": True}],
        }
    ),
]


class RerankDocuments(WireModel):
    """Documents to order by a query. Members that only other services know are ignored."""

    model_config = ConfigDict(extra="ignore")

    query: str
    documents: Annotated[list[Document], Field(json_schema_extra=NOT_EMPTY)]
    model: str | None = None
    top_n: int | None = Field(None, ge=1)
    return_documents: bool | None = None
    rank_fields: Names | None = None
    max_tokens_per_doc: int | None = Field(None, ge=1)
    max_chunks_per_doc: int | None = Field(None, ge=1)


class RankedText(WireModel):
    """What was read of a document."""

    text: str


class Ranked(WireModel):
    """One document: its place in the request and its score, higher for better."""

    index: int
    relevance_score: float
    document: RankedText | None = None


class RerankUsage(WireModel):
    """Tokens that the reranker read."""

    prompt_tokens: int
    total_tokens: int


class RerankUnits(WireModel):
    """One unit for each hundred documents; nothing is billed."""

    search_units: int


class RerankVersion(WireModel):
    """Of the shape of the answer."""

    version: str


class RerankMeta(WireModel):
    """What Cohere's clients read besides the results."""

    api_version: RerankVersion
    billed_units: RerankUnits


class RerankAnswer(WireModel):
    """The best documents first."""

    id: str
    model: str
    results: list[Ranked]
    meta: RerankMeta
    usage: RerankUsage
