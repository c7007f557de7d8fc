"""Between wire models and the service's vocabulary: pure functions, no rules."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.backends.base import Answer, CollectionInfo
from app.encoders.base import EncoderInfo
from app.exchange import StoredAttributes
from app.query.read import MEMBERS
from app.service.requests import (
    NewCollection,
    NewIndex,
    NewLexical,
    NewLifetime,
    NewPoint,
    NewVector,
    Query,
    Rerank,
    ToCount,
)
from app.types import Hit, Lexical, Projection, Record, Sparse, VectorValue
from app.wire.base import EncodingFormat
from app.wire.collections import AlterCollection, CreateCollection, IndexSpec, VectorSpec
from app.wire.facets import CountFacets
from app.wire.points import GetPoints, PatchPoints, ScrollPoints, UpsertPoints
from app.wire.points import NewPoint as WirePoint
from app.wire.queries import Query as WireQuery
from app.wire.queries import Rerank as WireRerank

Json = dict[str, Any]

_EPOCH = datetime(1970, 1, 1)  # of UTC, which is added as a letter
_WHOLE = Projection()
_PLANNED = frozenset(MEMBERS)
_SHORTHAND = frozenset({"dimension", "metric", "encoder", "kind"})


def collection_from_wire(body: CreateCollection) -> NewCollection:
    """A collection to be."""
    short = NewVector(body.dimension, body.metric, body.encoder, body.kind)
    return NewCollection(
        vectors=None if body.vectors is None else _vectors_from_wire(body.vectors),
        shorthand=short if _SHORTHAND & body.model_fields_set else None,
        schema=body.schema_,
        index=index_from_wire(body.index) or NewIndex(),
        lexical=body.lexical,
    )


def index_from_wire(index: IndexSpec | None) -> NewIndex | None:
    """Index settings to change."""
    return None if index is None else NewIndex(index.m, index.ef_construction)


def lexical_from_wire(body: AlterCollection) -> NewLexical | None:
    """The lexical index that is wanted; null is none, nothing is no change."""
    return NewLexical(body.lexical) if "lexical" in body.model_fields_set else None


def points_from_wire(body: UpsertPoints) -> list[NewPoint]:
    """Points to write."""
    return [point_from_wire(point) for point in body.points]


def point_from_wire(point: WirePoint) -> NewPoint:
    """A point to write."""
    return NewPoint(
        point.id,
        point.text,
        point.vector,
        point.vectors,
        point.attributes,
        point.expires_at,
        point.image,
        point.record,
        point.encoder,
    )


def lifetime_from_wire(body: PatchPoints) -> NewLifetime | None:
    """The lifetime that a patch gives; null is one, nothing is none."""
    return NewLifetime(body.expires_at) if "expires_at" in body.model_fields_set else None


def query_from_wire(query: WireQuery, at: str, vector: object) -> Query:
    """A query that stands at `at` in the body, with its vector as it is there or read already."""
    params = query.params
    return Query(
        text=query.text,
        vector=vector,
        id=query.id,
        using=query.using,
        filter=query.filter,
        k=query.k,
        offset=query.offset,
        score_threshold=query.score_threshold,
        ef=None if params is None else params.ef,
        exact=params is not None and params.exact,
        projection=projection_from_wire(query),
        explain=query.explain,
        at=at,
        rerank=None if query.rerank is None else _rerank_from_wire(query.rerank),
        image=query.image,
        record=query.record,
        encoder=query.encoder,
        members=_members(query),
    )


def facets_from_wire(body: CountFacets) -> ToCount:
    """Facets to count."""
    query = body.query
    found = None if query is None else query_from_wire(query, "/query", query.vector)
    return ToCount(body.facets, body.filter, found)


def _members(query: WireQuery) -> dict[str, object] | None:
    """Give the members that make a plan of a query; None if there are none."""
    if query.model_fields_set.isdisjoint(_PLANNED):
        return None
    members = {name: getattr(query, name) for name in MEMBERS}
    return {name: value for name, value in members.items() if value is not None} or None


def _rerank_from_wire(rerank: WireRerank) -> Rerank:
    return Rerank(rerank.model, rerank.field, rerank.template, rerank.query, rerank.candidates)


def projection_from_wire(body: WireQuery | GetPoints | ScrollPoints) -> Projection:
    """Which parts of points an answer carries."""
    fields = body.fields_
    if fields is None and body.with_text and not body.with_vectors:
        return _WHOLE
    return Projection(
        fields=None if fields is None else frozenset(fields),
        with_text=body.with_text,
        with_vectors=body.with_vectors,
    )


def json_from_collection(info: CollectionInfo) -> Json:
    """`app.wire.collections.Collection`"""
    definition = info.definition
    return {
        "name": info.name,
        "vectors": {
            name: {
                "kind": vector.kind.value,
                "dimension": vector.dimension or None,
                "metric": vector.metric.value,
                "encoder": vector.encoder,
            }
            for name, vector in definition.vectors.items()
        },
        "schema": dict(definition.schema),
        "index": {
            "m": definition.index.m,
            "ef_construction": definition.index.ef_construction,
        },
        "lexical": None if definition.lexical is None else _json_from_lexical(definition.lexical),
        "points": info.points,
        "segments": info.segments,
        "building": info.building,
        "created_at": info.created_at,
    }


def _json_from_lexical(lexical: Lexical) -> Json:
    return {"fields": dict(lexical.fields), "language": lexical.language}


def json_from_records(records: Sequence[Record], encoding: EncodingFormat) -> list[Json]:
    """`app.wire.points.Record`, each"""
    return [_json_from_record(record, encoding) for record in records]


def json_from_answer(answer: Answer, encoding: EncodingFormat, took_ms: float) -> Json:
    """`app.wire.queries.QueryAnswer`"""
    found: Json = {
        "points": [_json_from_hit(hit, encoding) for hit in answer.hits],
        "matches": answer.matches,
        "plan": answer.plan,
        "exact": answer.exact,
        "took_ms": round(took_ms, 3),
    }
    if answer.explanation is not None:
        found["explain"] = answer.explanation
    return found


def json_from_vector(vector: VectorValue, encoding: EncodingFormat) -> Any:
    """A vector as the caller wants it. Arrays are left to the JSON writer, which is faster.

    In base64 vectors of tokens come with their shape, which the text does not show.
    """
    if isinstance(vector, Sparse):
        if encoding == "base64":
            indices = _base64(vector.indices.astype("<u4"))
            return {"indices": indices, "values": _base64(vector.values.astype("<f4"))}
        return {"indices": vector.indices, "values": np.ascontiguousarray(vector.values)}
    if encoding == "base64":
        text = _base64(vector.astype("<f4"))
        return text if vector.ndim == 1 else {"shape": list(vector.shape), "data": text}
    return np.ascontiguousarray(vector)


def _base64(numbers: NDArray[Any]) -> str:
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def json_from_encoder(info: EncoderInfo) -> Json:
    """`app.wire.embeddings.Model`"""
    model: Json = {
        "id": info.name,
        "object": "model",
        "created": info.created,
        "owned_by": info.owned_by,
        "dimension": info.dimension,
        "dimensions": info.dimensions,
        "max_tokens": info.max_tokens,
        "modality": info.modality,
        "space": info.space,
        "status": info.status,
        "outputs": list(info.outputs),
    }
    if info.token_dimension:
        model["token_dimension"] = info.token_dimension
    if info.detail:
        model["detail"] = info.detail
    return model


def _vectors_from_wire(vectors: dict[str, VectorSpec]) -> dict[str, NewVector]:
    return {
        name: NewVector(v.dimension, v.metric, v.encoder, v.kind) for name, v in vectors.items()
    }


def _json_from_hit(hit: Hit, encoding: EncodingFormat) -> Json:
    record = _json_from_record(hit.record, encoding)
    record["score"] = hit.score
    if hit.rerank_score is not None:
        record["rerank_score"] = hit.rerank_score
    if hit.group is not None:
        record["group"] = hit.group
    if hit.scores is not None:
        record["scores"] = hit.scores
    if hit.notes is not None:
        record["notes"] = hit.notes
    return record


def _json_from_record(record: Record, encoding: EncodingFormat) -> Json:
    attributes = record.attributes
    found: Json = {
        "id": record.id,
        "attributes": orjson.Fragment(attributes.json)
        if isinstance(attributes, StoredAttributes)
        else attributes,
    }
    if record.text is not None:
        found["text"] = record.text
    if record.vectors is not None:
        found["vectors"] = {
            name: json_from_vector(vector, encoding) for name, vector in record.vectors.items()
        }
    if record.expires_at is not None:
        found["expires_at"] = _text_from_ms(record.expires_at)
    return found


def _text_from_ms(since_1970_ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    at = _EPOCH + timedelta(milliseconds=since_1970_ms)
    return at.isoformat(timespec="milliseconds") + "Z"
