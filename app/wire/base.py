"""What every wire model shares: the strict base, and the leaves that the service reads itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema


class WireModel(BaseModel):
    """A JSON object with known members only; nothing is coerced, nothing is echoed in errors."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=False,
    )


NOT_EMPTY = {"minItems": 1}
"""Said in the document only: the service's own check says which list is empty."""


def exactly_one(*names: str) -> ConfigDict:
    """Say in the document that exactly one of these members is given and not null.

    The service checks it, and says it better than a validator could.
    """
    given: list[JsonValue] = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names
    ]
    return ConfigDict(json_schema_extra={"oneOf": given})


_PLACE = {
    "description": "A place on the earth, in degrees of WGS 84.",
    "type": "object",
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
    },
    "required": ["lat", "lon"],
    "additionalProperties": False,
}
_ELEMENT = {"anyOf": [{"type": ["string", "integer", "number", "boolean", "null"]}, _PLACE]}

_DENSE: dict[str, JsonValue] = {
    "description": "Numbers, or base64 of little-endian float32.",
    "oneOf": [
        {"type": "array", "items": {"type": "number"}},
        {"type": "string", "format": "byte"},
    ],
}

Vector = Annotated[Any, WithJsonSchema(_DENSE)]

_BYTES: JsonValue = {"type": "string", "format": "byte"}

VectorValue = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "By the kind of the field: a vector; a vector for each token, in base64 "
            "with the shape; indices, ascending, and weights of a sparse vector.",
            "anyOf": [
                _DENSE,
                {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "number"}},
                    "minItems": 1,
                },
                {
                    "type": "object",
                    "properties": {
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "data": _BYTES,
                    },
                    "required": ["shape", "data"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "indices": {
                            "oneOf": [{"type": "array", "items": {"type": "integer"}}, _BYTES]
                        },
                        "values": {
                            "oneOf": [{"type": "array", "items": {"type": "number"}}, _BYTES]
                        },
                    },
                    "required": ["indices", "values"],
                    "additionalProperties": False,
                },
            ],
        }
    ),
]
"""A vector of any kind: `app.service.vectors` says what is what."""

Image = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "An image file as base64, or its data: URL; or an http(s) URL, if the "
            "service fetches images.",
            "type": ["string", "null"],
        }
    ),
]

Named = Annotated[
    Any,
    WithJsonSchema(
        {"description": "Names and values, for an encoder of records.", "type": ["object", "null"]}
    ),
]

PointId = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": 'A string of 1-512 UTF-8 bytes or an integer below 2^64; 1 and "1" '
            "differ.",
            "oneOf": [
                {"type": "string", "minLength": 1, "maxLength": 512},
                {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
            ],
        }
    ),
]

Attributes = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Scalars, places or flat lists of these, by field name.",
            "type": "object",
            "additionalProperties": {"anyOf": [_ELEMENT, {"type": "array", "items": _ELEMENT}]},
        }
    ),
]

ExpiresAt = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "From this date and time on the point does not exist; null is for ever. "
            "RFC 3339 with a zone, of the years 1970-9999.",
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
        }
    ),
]

Filter = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Conditions on attributes: {field: value}, {field: {$op: operand}}, "
            "$and, $or, $not, $id, $match.",
            "type": ["object", "null"],
            "additionalProperties": True,
        }
    ),
]

_KINDS = ["keyword", "integer", "float", "bool", "datetime", "geo"]

Schema = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Declared kind of a field, by field name.",
            "type": ["object", "null"],
            "additionalProperties": {"type": "string", "enum": _KINDS},
        }
    ),
]

SchemaChange = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A kind to declare or null to forget, by field name.",
            "type": ["object", "null"],
            "additionalProperties": {"enum": [*_KINDS, None]},
        }
    ),
]

_LEXICAL = {
    "type": "object",
    "properties": {
        "fields": {
            "description": "Attributes whose words are indexed, or their weights; $text is the "
            "points' own text.",
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
                {"type": "null"},
            ],
        },
        "language": {"type": ["string", "null"], "enum": ["english", None]},
    },
    "additionalProperties": False,
}

Lexical = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "The full-text index: true for the points' own texts, or its fields and "
            "the language whose endings are cut off; null for none.",
            "anyOf": [_LEXICAL, {"type": "boolean"}, {"type": "null"}],
        }
    ),
]
"""A lexical index to be: `app.attributes.lexical` reads it."""

Names = Annotated[list[str], Field(fail_fast=True)]
"""Names, of which the first bad one ends validation."""

EncodingFormat = Literal["float", "base64"]
"""How vectors travel in an answer: lists of numbers, or base64 of little-endian float32."""
