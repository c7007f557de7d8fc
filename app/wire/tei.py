"""Embeddings in the shape of text-embeddings-inference and of Hugging Face's inference clients."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from app.wire.base import WireModel
from app.wire.embeddings import Inputs


class TeiEmbed(WireModel):
    """Inputs to encode. Members that only other services know are ignored: clients send them."""

    model_config = ConfigDict(extra="ignore")

    inputs: Inputs
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = None
    prompt_name: Literal["query", "document", "passage"] | None = None
    dimensions: int | None = Field(None, ge=1)
