"""What a caller asks for, free of any transport.

Leaves that need checking (ids, vectors, attributes, filters) are as they came: the service checks
them, and blames the JSON pointer that the same value has in the request body. `at` says where in
the body a part stands ("" for the whole body).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.types import Projection


@dataclass(frozen=True, slots=True)
class NewVector:
    """One vector of a collection to be; what is None comes from the encoder or a default."""

    dimension: int | None = None
    metric: str | None = None
    encoder: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class NewIndex:
    """Index settings to change; None keeps the present one."""

    m: int | None = None
    ef_construction: int | None = None


@dataclass(frozen=True, slots=True)
class NewCollection:
    """A collection to be.

    vectors    by name, or None where the shorthand was used
    shorthand  the one vector named "default", or None
    schema, lexical  as they came
    """

    vectors: Mapping[str, NewVector] | None
    shorthand: NewVector | None
    schema: object
    index: NewIndex
    lexical: object = None


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A point to write.

    encoder  reads the text or image for vectors of its space, instead of their own encoders
    """

    id: object
    text: str | None = None
    vector: object = None
    vectors: Mapping[str, object] | None = None
    attributes: object = None
    expires_at: object = None
    image: object = None
    record: object = None
    encoder: str | None = None


class NewLexical(NamedTuple):
    """The lexical index is to be this, as it came; None is none."""

    lexical: object


class NewLifetime(NamedTuple):
    """Points are to live until `expires_at`; None is for ever."""

    expires_at: object


@dataclass(frozen=True, slots=True)
class Chosen:
    """Points named by id or chosen by a filter; the service checks that it is one of the two."""

    ids: Sequence[object] | None = None
    filter: object = None


class Rerank(NamedTuple):
    """Order the nearest points by a reranker; members as in `app.wire.queries.Rerank`."""

    model: str | None = None
    field: str | None = None
    template: str | None = None
    query: str | None = None
    candidates: int | None = None


class ToCount(NamedTuple):
    """Facets to count, raw, of what passes a filter or what a query (at "/query") finds."""

    facets: object
    filter: object = None
    query: Query | None = None


class Query(NamedTuple):
    """One nearest-neighbour question: exactly one of `text`, `image`, `record`, `vector`, `id` is
    to be set.

    encoder  reads the text, image or record instead of the vector's own; of the same space
    using    a vector's name, or name → weight
    members  those that make a plan of it, as they came: `app.query.read.MEMBERS`
    """

    text: str | None = None
    vector: object = None
    id: object = None
    using: Any = None
    filter: object = None
    k: int = 10
    offset: int = 0
    score_threshold: float | None = None
    ef: int | None = None
    exact: bool = False
    projection: Projection = Projection()
    explain: bool = False
    at: str = ""
    rerank: Rerank | None = None
    image: object = None
    record: object = None
    encoder: str | None = None
    members: Mapping[str, object] | None = None
