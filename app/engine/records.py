"""Stored points as answers show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.exchange import StoredAttributes
from app.keys import id_from_key
from app.storage.store import StoredPoint, StoreReader, attributes_from_json
from app.types import Projection, Record, VectorField


def record_of(point: StoredPoint, fields: Sequence[VectorField], projection: Projection) -> Record:
    """Cut a stored point to a projection."""
    return Record(
        id=id_from_key(point.key),
        attributes=_projected(point.attributes, projection),
        text=point.text if projection.with_text else None,
        vectors={
            field.name: vector
            for field, vector in zip(fields, point.vectors, strict=True)
            if vector is not None
        }
        if projection.with_vectors
        else None,
        expires_at=point.expires_at,
    )


def read_records(
    store: StoreReader,
    fields: Sequence[VectorField],
    found: Iterable[tuple[int, bytes]],
    projection: Projection,
    *,
    expiring: bool,
) -> list[Record] | None:
    """Read the records of (row, key) pairs, in order; None if a row is gone.

    expiring   whether any point of the collection expires: if none does, a projection that shows
               ids only reads nothing
    """
    pairs = list(found)
    rows = [row for row, _ in pairs]
    if projection.with_vectors:
        points = store.points(rows, vectors=True)
        if len(points) < len(pairs):
            return None
        return [record_of(points[row], fields, projection) for row in rows]
    ids_only = projection.fields is not None and not projection.fields and not projection.with_text
    if ids_only and not expiring:
        return [Record(id_from_key(key), {}, None, None) for _, key in pairs]
    shown = store.shown(rows, texts=projection.with_text)
    if len(shown) < len(pairs):
        return None
    records = []
    for row, key in pairs:
        blob, text, expires_at = shown[row]
        records.append(
            Record(id_from_key(key), _projected(blob, projection), text, None, expires_at)
        )
    return records


def _projected(blob: bytes, projection: Projection) -> Mapping[str, Any]:
    if projection.fields is None:
        return StoredAttributes(blob)
    if not projection.fields:
        return {}
    attributes = attributes_from_json(blob)
    return {name: value for name, value in attributes.items() if name in projection.fields}
