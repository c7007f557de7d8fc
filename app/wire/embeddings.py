"""Encoders and embeddings, in the shapes that OpenAI clients speak."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from app.wire.base import EncodingFormat, Texts, Vector, WireModel


class CreateEmbeddings(WireModel):
    """Texts to encode. Members that only other services know are ignored, as clients send them."""

    model_config = ConfigDict(extra="ignore")

    input: Texts
    model: str | None = None
    encoding_format: EncodingFormat | None = None
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "document"] | None = None
    user: str | None = None


class Embedding(WireModel):
    """The vector of one input."""

    object: Literal["embedding"]
    index: int
    embedding: Vector


class Usage(WireModel):
    """Tokens that the encoder read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(WireModel):
    """One vector for each input, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(WireModel):
    """An encoder and whether it can be used now."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimension: int
    max_tokens: int
    modality: str
    status: Literal["ready", "loading", "unavailable"]
    detail: str | None = None


class Models(WireModel):
    """All installed encoders."""

    object: Literal["list"]
    data: list[Model]
