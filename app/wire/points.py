"""Points: writing, patching, reading and removing them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import FailFast, Field

from app.wire.base import (
    NOT_EMPTY,
    Attributes,
    EncodingFormat,
    ExpiresAt,
    Filter,
    Image,
    Named,
    Names,
    PointId,
    VectorValue,
    WireModel,
    exactly_one,
)
from app.wire.status import Problem

Ids = Annotated[list[PointId], Field(json_schema_extra=NOT_EMPTY)]


class NewPoint(WireModel):
    """A point to write: `vector` for the only vector, `vectors` by name, `text` to encode.

    An `image` and a `record` are encoded like a text, and not stored. `encoder` reads the text,
    image or record for vectors of its space, instead of their own.
    """

    id: PointId
    text: str | None = None
    image: Image = None
    record: Named = None
    encoder: str | None = None
    vector: VectorValue = None
    vectors: dict[str, VectorValue] | None = None
    attributes: Attributes = None
    expires_at: ExpiresAt = None


class UpsertPoints(WireModel):
    """Points to insert or replace, all or none of them."""

    # Stop at the first bad point: a body of a million bad ones must not become a million errors.
    points: Annotated[list[NewPoint], FailFast(), Field(json_schema_extra=NOT_EMPTY)]


class PatchPoints(WireModel):
    """What to change of the points named by `ids` or chosen by `filter`.

    Attributes are set and removed; `expires_at` is left as it is unless it is given.
    """

    model_config = exactly_one("ids", "filter")

    ids: Ids | None = None
    filter: Filter = None
    set_: Attributes = Field(None, alias="set")
    unset: Names | None = None
    expires_at: ExpiresAt = None


class GetPoints(WireModel):
    """Points to read, and which parts of them."""

    ids: Ids
    fields_: Names | None = Field(None, alias="fields")
    with_text: bool = True
    with_vectors: bool = False
    encoding_format: EncodingFormat = "float"


class DeletePoints(WireModel):
    """Points to remove: named by `ids` or chosen by `filter`."""

    model_config = exactly_one("ids", "filter")

    ids: Ids | None = None
    filter: Filter = None


class CountPoints(WireModel):
    """Which points to count; all of them without a filter."""

    filter: Filter = None


class ScrollPoints(WireModel):
    """One page of a walk through points in the order of their ids."""

    filter: Filter = None
    limit: int = Field(100, ge=1)
    cursor: str | None = None
    fields_: Names | None = Field(None, alias="fields")
    with_text: bool = True
    with_vectors: bool = False
    encoding_format: EncodingFormat = "float"


class Record(WireModel):
    """A stored point; `text` and `vectors` only if asked for and stored.

    `expires_at` only if it has one, as RFC 3339 in UTC with milliseconds.
    """

    id: PointId
    attributes: Attributes
    text: str | None = None
    vectors: dict[str, VectorValue] | None = None
    expires_at: ExpiresAt = None


class ExportPoints(WireModel):
    """Which points to export, and how: all of them, whole, after no id, unless it says so."""

    filter: Filter = None
    after: PointId = None
    with_text: bool = True
    with_vectors: bool = True
    encoding_format: EncodingFormat = "base64"


class Upserted(WireModel):
    """How many points were written."""

    upserted: int


class Updated(WireModel):
    """How many points were found and patched."""

    updated: int


class Deleted(WireModel):
    """How many points were removed."""

    deleted: int


class Count(WireModel):
    """How many points there are."""

    count: int


class FoundPoints(WireModel):
    """The points that exist, in the order asked for, and the ids that do not."""

    points: list[Record]
    missing: list[PointId]


class Page(WireModel):
    """One page of a scroll; `next_cursor` is null on the last one."""

    points: list[Record]
    next_cursor: str | None


class LineFault(WireModel):
    """A line of an import that was left out; `pointer` is a place in that line."""

    line: int
    code: str
    detail: str
    pointer: str


class Imported(WireModel):
    """How far an import is: every good line before `next_line` is durable.

    state    "running" and "failed" only where progress is told line by line
    errors   the first lines that were left out; at the end only
    problem  what ended it, if it failed
    """

    state: Literal["done", "running", "failed"]
    next_line: int
    upserted: int
    failed: int
    blank: int
    errors: list[LineFault] | None = None
    problem: Problem | None = None
