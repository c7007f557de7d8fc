"""Collections: what defines one, and what one looks like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.wire.base import Schema, SchemaChange, WireModel

MetricName = Literal["cosine", "ip", "l2"]

# Ceilings that no setting moves. They keep one row of a graph and one vector in proportion.
MAX_DIMENSION = 65_536
MAX_LINKS = 128
MAX_EF_CONSTRUCTION = 4_096


class VectorSpec(WireModel):
    """One vector of a collection to be. With an encoder the dimension comes from it."""

    dimension: int | None = Field(None, ge=1, le=MAX_DIMENSION)
    metric: MetricName | None = None
    encoder: str | None = None


class IndexSpec(WireModel):
    """How graphs are built; members left out keep their value."""

    m: int | None = Field(None, ge=4, le=MAX_LINKS)
    ef_construction: int | None = Field(None, ge=8, le=MAX_EF_CONSTRUCTION)


class CreateCollection(WireModel):
    """Named `vectors`, or the shorthand for one vector named "default" on the top level."""

    vectors: dict[str, VectorSpec] | None = None
    dimension: int | None = Field(None, ge=1, le=MAX_DIMENSION)
    metric: MetricName | None = None
    encoder: str | None = None
    # `schema` and `set` are names of pydantic's own or of Python: the wire name is the alias.
    schema_: Schema = Field(None, alias="schema")
    index: IndexSpec | None = None


class AlterCollection(WireModel):
    """Schema fields to declare (a kind) or to forget (null), and settings of later builds."""

    schema_: SchemaChange = Field(None, alias="schema")
    index: IndexSpec | None = None


class VectorDescription(WireModel):
    """One vector of a collection that exists."""

    dimension: int
    metric: MetricName
    encoder: str | None


class IndexDescription(WireModel):
    """How the graphs of a collection are built."""

    m: int
    ef_construction: int


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
    points: int
    segments: list[Segment]
    building: bool
    created_at: str


class Collections(WireModel):
    """All collections, by name."""

    collections: list[Collection]
