"""Collections: what defines one, and what one looks like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.types import (
    MAX_DIMENSION,
    MAX_EF_CONSTRUCTION,
    MAX_LINKS,
    MIN_EF_CONSTRUCTION,
    MIN_LINKS,
)
from app.wire.base import Lexical, Schema, SchemaChange, WireModel

MetricName = Literal["cosine", "ip", "l2"]
KindName = Literal["dense", "sparse", "tokens"]


class VectorSpec(WireModel):
    """One vector of a collection to be. With an encoder the dimension comes from it.

    A sparse one has none. Tokens compare by cosine, sparse vectors by inner product.
    """

    kind: KindName | None = None
    dimension: int | None = Field(None, ge=1, le=MAX_DIMENSION)
    metric: MetricName | None = None
    encoder: str | None = None


class IndexSpec(WireModel):
    """How graphs are built; members left out keep their value."""

    m: int | None = Field(None, ge=MIN_LINKS, le=MAX_LINKS)
    ef_construction: int | None = Field(None, ge=MIN_EF_CONSTRUCTION, le=MAX_EF_CONSTRUCTION)


class CreateCollection(WireModel):
    """Named `vectors`, or the shorthand for one vector named "default" on the top level."""

    vectors: dict[str, VectorSpec] | None = None
    kind: KindName | None = None
    dimension: int | None = Field(None, ge=1, le=MAX_DIMENSION)
    metric: MetricName | None = None
    encoder: str | None = None
    # `schema` and `set` are names of pydantic's own or of Python: the wire name is the alias.
    schema_: Schema = Field(None, alias="schema")
    index: IndexSpec | None = None
    lexical: Lexical = None


class AlterCollection(WireModel):
    """Schema fields to declare (a kind) or to forget (null), settings of later builds, and the
    lexical index, which null drops."""

    schema_: SchemaChange = Field(None, alias="schema")
    index: IndexSpec | None = None
    lexical: Lexical = None


class VectorDescription(WireModel):
    """One vector of a collection that exists; `dimension` is null if it is sparse."""

    kind: KindName
    dimension: int | None
    metric: MetricName
    encoder: str | None


class IndexDescription(WireModel):
    """How the graphs of a collection are built."""

    m: int
    ef_construction: int


class LexicalDescription(WireModel):
    """The words that are indexed: weights of fields, and the language of the stemmer."""

    fields_: dict[str, float] = Field(alias="fields")
    language: str | None


class Segment(WireModel):
    """One searchable piece of a collection."""

    kind: Literal["head", "graph"]
    points: int
    deleted: int


class Collection(WireModel):
    """A collection's definition and state."""

    name: str
    vectors: dict[str, VectorDescription]
    schema_: Schema = Field(alias="schema")
    index: IndexDescription
    lexical: LexicalDescription | None
    points: int
    segments: list[Segment]
    building: bool
    created_at: str


class Collections(WireModel):
    """All collections, by name."""

    collections: list[Collection]
