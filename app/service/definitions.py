"""From a wanted collection to its definition: defaults, encoders' dimensions, contradictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.attributes.schema import check_schema
from app.encoders.base import EncoderInfo
from app.encoders.dimensions import lengths_in_words, makes
from app.errors import EncoderUnavailable, InvalidDefinition, LikewiseError
from app.service.checks import check_name, place
from app.service.requests import NewCollection, NewIndex, NewVector
from app.types import MOST_VECTORS, Definition, IndexSettings, Metric, VectorField

SHORTHAND = "default"
"""Name of the vector of a collection that names none."""


def define(
    new: NewCollection, *, default_encoder: str, describe: Callable[[str], EncoderInfo]
) -> Definition:
    """Complete a definition. Raises InvalidDefinition, InvalidName, EncoderNotFound and what
    `check_schema` raises."""
    return Definition(
        vectors=_vectors(new, default_encoder, describe),
        schema={} if new.schema is None else check_schema(new.schema, "/schema"),
        index=changed_index(IndexSettings(), new.index),
    )


def changed_index(present: IndexSettings, change: NewIndex) -> IndexSettings:
    """Apply the given members of `change`. Raises InvalidDefinition if they contradict."""
    m = present.m if change.m is None else change.m
    ef = present.ef_construction if change.ef_construction is None else change.ef_construction
    if ef < m:
        raise InvalidDefinition(
            f"ef_construction ({ef}) must be at least m ({m}): a row links to what was found",
            pointer="/index/ef_construction",
        )
    return IndexSettings(m=m, ef_construction=ef)


def _vectors(
    new: NewCollection, default_encoder: str, describe: Callable[[str], EncoderInfo]
) -> Mapping[str, VectorField]:
    if new.vectors is None:
        only = new.shorthand or NewVector()
        return {SHORTHAND: _field(SHORTHAND, only, "", default_encoder, describe)}
    if new.shorthand is not None:
        raise InvalidDefinition(
            "give either `vectors` or the shorthand (dimension, metric, encoder), not both",
            pointer="/vectors",
        )
    if not 1 <= len(new.vectors) <= MOST_VECTORS:
        raise InvalidDefinition(
            f"a collection has 1-{MOST_VECTORS} vectors, received {len(new.vectors)}",
            pointer="/vectors",
        )
    return {
        check_name(name, "vector", place("/vectors", name)): _field(
            name, vector, place("/vectors", name), default_encoder, describe
        )
        for name, vector in new.vectors.items()
    }


def _field(
    name: str,
    new: NewVector,
    at: str,
    default_encoder: str,
    describe: Callable[[str], EncoderInfo],
) -> VectorField:
    metric = Metric(new.metric or Metric.COSINE)
    encoder = new.encoder
    if encoder is None and new.dimension is not None:
        return VectorField(name, new.dimension, metric)
    if encoder is None:
        encoder = default_encoder
    try:
        info = describe(encoder)
    except LikewiseError as error:
        error.pointer = place(at, "encoder")
        raise
    if "dense" not in info.outputs:
        raise InvalidDefinition(
            f"encoder {encoder!r} makes {' and '.join(info.outputs)} outputs, no single vector to "
            "store",
            pointer=place(at, "encoder"),
        )
    if info.dimension == 0:
        raise EncoderUnavailable(info.detail, pointer=place(at, "encoder"), encoder=encoder)
    dimension = info.dimension if new.dimension is None else new.dimension
    if not makes(info, dimension):
        raise InvalidDefinition(
            f"encoder {encoder!r} makes vectors of {lengths_in_words(info)}: give one of these as "
            "`dimension`, or leave it out",
            pointer=place(at, "dimension"),
        )
    return VectorField(name, dimension, metric, encoder)
