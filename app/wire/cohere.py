"""Embeddings in the shapes that Cohere's clients speak, versions 1 and 2 of its API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from app.wire.base import WireModel
from app.wire.embeddings import NumberFormat

Texts = Annotated[
    list[Any],
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ),
]


Images = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "description": "Of the form data:image/…;base64,….",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
        },
    ),
]


class CohereEmbed(WireModel):
    """Texts or images to encode. Members that only other services know are ignored: clients send
    them."""

    model_config = ConfigDict(extra="ignore")

    texts: Texts | None = None
    images: Images | None = None
    model: str | None = None
    input_type: (
        Literal["search_query", "search_document", "classification", "clustering", "image"] | None
    ) = None
    embedding_types: Annotated[list[NumberFormat], Field(min_length=1, max_length=6)] | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    output_dimension: int | None = Field(None, ge=1)


class BilledUnits(WireModel):
    """What the encoder read: tokens of texts, or images."""

    input_tokens: int | None = None
    images: int | None = None


class CohereVersion(WireModel):
    """The version of the API."""

    version: Literal["1", "2"]


class CohereMeta(WireModel):
    """What was used."""

    api_version: CohereVersion
    billed_units: BilledUnits


class CohereEmbeddings(WireModel):
    """Vectors of each input, in order: by the kind of their numbers, or one list of floats."""

    response_type: Literal["embeddings_by_type", "embeddings_floats"]
    id: str
    embeddings: dict[NumberFormat, list[Any]] | list[list[float]]
    texts: list[str]
    meta: CohereMeta
