"""Encoders and embeddings, in the shapes that OpenAI clients speak."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from app.wire.base import WireModel

_TEXT = {"type": "string", "minLength": 1}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_KINDS = {
    "text": _TEXT,
    "image": {"description": "Base64, or a URL.", "type": "string", "minLength": 1},
    "bytes": {"description": "As `image`.", "type": "string", "minLength": 1},
    "url": {"description": "As `image`.", "type": "string", "minLength": 1},
    "record": {"type": "object", "additionalProperties": True, "minProperties": 1},
    "points": {
        "description": "Rows of 2 or 3 coordinates, or of 4 or 6 numbers with a normal.",
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}},
        "minItems": 1,
    },
}
_OBJECT = {
    "type": "object",
    "properties": {**_KINDS, "expert": {"type": "string"}},
    "oneOf": [{"required": [kind]} for kind in _KINDS],
    "additionalProperties": False,
}

Inputs = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A text, the ids of its tokens, or a list of inputs: texts, ids, and "
            "objects that say what they are.",
            "anyOf": [
                _TEXT,
                _TOKENS,
                {"type": "object", "description": "As in a list.", "minProperties": 1},
                {"type": "array", "items": {"anyOf": [_TEXT, _TOKENS, _OBJECT]}, "minItems": 1},
            ],
        }
    ),
]


NumberFormat = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
"""How a vector's numbers travel; what is neither float nor base64: `app.service.quantised`."""


def _not_wanted(wanted: bool) -> bool:
    # Not Literal[False], which takes 0 as well.
    if wanted:
        raise ValueError("texts are not cut into chunks here")
    return wanted


class CreateEmbeddings(WireModel):
    """Inputs to encode. Members that only other services know are ignored: clients send them."""

    model_config = ConfigDict(extra="ignore")

    input: Inputs
    model: str | None = None
    encoding_format: NumberFormat | None = None
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "document"] | None = None
    output: Literal["dense", "tokens", "sparse", "all"] | None = None
    return_multivector: bool | None = None
    user: str | None = None
    # What clients of Jina send.
    embedding_type: NumberFormat | None = None
    task: str | None = None
    normalized: bool | None = None
    truncate: bool | None = None
    late_chunking: (
        Annotated[
            bool,
            AfterValidator(_not_wanted),
            WithJsonSchema({"type": "boolean", "const": False}),
        ]
        | None
    ) = None


_MATRIX = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_PACKED = {
    "type": "object",
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "string", "format": "byte"},
    },
    "required": ["shape", "data"],
}
_SPARSE = {
    "type": "object",
    "properties": {
        "indices": {"type": "array", "items": {"type": "integer"}},
        "values": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["indices", "values"],
}
_VECTOR = {
    "oneOf": [
        {"type": "array", "items": {"type": "number"}},
        {"type": "string", "format": "byte"},
    ]
}

Output = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "By `output`: a vector; a vector for each token, in base64 with the "
            "shape; indices and values of a sparse vector; or an object with all of these.",
            "anyOf": [
                *_VECTOR["oneOf"],
                _MATRIX,
                _PACKED,
                _SPARSE,
                {
                    "type": "object",
                    "properties": {
                        "dense": _VECTOR,
                        "tokens": {"anyOf": [_MATRIX, _PACKED]},
                        "sparse": _SPARSE,
                    },
                },
            ],
        }
    ),
]


class Embedding(WireModel):
    """What was made of one input."""

    object: Literal["embedding"]
    index: int
    embedding: Output


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
    """An encoder and whether it can be used now.

    modality  what it reads
    token_dimension  numbers of the vector of each token, where its manifest says it
    space     vectors compare within one space only, whatever they were made from
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimension: int
    dimensions: list[int] | Literal["any"]
    max_tokens: int
    modality: str
    space: str
    status: Literal["ready", "loading", "unavailable"]
    outputs: list[str]
    token_dimension: int | None = None
    detail: str | None = None


class Models(WireModel):
    """All installed encoders."""

    object: Literal["list"]
    data: list[Model]
