"""From a wanted collection to its definition: defaults, encoders' dimensions, contradictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.attributes.lexical import check_lexical
from app.attributes.schema import check_schema
from app.encoders.base import EncoderInfo
from app.encoders.dimensions import lengths_in_words, makes
from app.errors import EncoderUnavailable, InvalidDefinition, LikewiseError
from app.service.checks import check_name, place
from app.service.requests import NewCollection, NewIndex, NewLexical, NewVector
from app.types import (
    MAX_TOKEN_DIMENSION,
    MOST_VECTORS,
    Definition,
    IndexSettings,
    Lexical,
    Metric,
    VectorField,
    VectorKind,
)

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
        lexical=check_lexical(new.lexical),
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


def changed_lexical(change: NewLexical) -> Callable[[Lexical | None], Lexical | None]:
    """Put another lexical index, or none, in the place of the present one.

    Raises InvalidDefinition.
    """
    wanted = check_lexical(change.lexical)
    return lambda present: wanted


def _vectors(
    new: NewCollection, default_encoder: str, describe: Callable[[str], EncoderInfo]
) -> Mapping[str, VectorField]:
    if new.vectors is None:
        only = new.shorthand or NewVector()
        return {SHORTHAND: _field(SHORTHAND, only, "", default_encoder, describe)}
    if new.shorthand is not None:
        raise InvalidDefinition(
            "give either `vectors` or the shorthand (kind, dimension, metric, encoder), not both",
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
    kind = VectorKind(new.kind or VectorKind.DENSE)
    if kind is not VectorKind.DENSE:
        return _other_field(name, kind, new, at, describe)
    metric = Metric(new.metric or Metric.COSINE)
    encoder = new.encoder
    if encoder is None and new.dimension is not None:
        return VectorField(name, new.dimension, metric)
    if encoder is None:
        encoder = default_encoder
    info = _described(encoder, kind, at, describe)
    dimension = info.dimension if new.dimension is None else new.dimension
    if not makes(info, dimension):
        raise InvalidDefinition(
            f"encoder {encoder!r} makes vectors of {lengths_in_words(info)}: give one of these as "
            "`dimension`, or leave it out",
            pointer=place(at, "dimension"),
        )
    return VectorField(name, dimension, metric, encoder)


def _other_field(
    name: str,
    kind: VectorKind,
    new: NewVector,
    at: str,
    describe: Callable[[str], EncoderInfo],
) -> VectorField:
    """Define a field of tokens or of sparse vectors, which is encoded only if it says by whom."""
    metric = Metric.COSINE if kind is VectorKind.TOKENS else Metric.IP
    if new.metric not in (None, metric.value):
        raise InvalidDefinition(
            f"vectors of kind {kind.value} compare by {metric.value} only: leave it out",
            pointer=place(at, "metric"),
        )
    info = None if new.encoder is None else _described(new.encoder, kind, at, describe)
    if kind is VectorKind.SPARSE:
        if new.dimension is not None:
            raise InvalidDefinition(
                "sparse vectors have no dimension: leave it out", pointer=place(at, "dimension")
            )
        return VectorField(name, 0, metric, new.encoder, kind)
    dimension = new.dimension
    if info is not None and info.token_dimension:
        if dimension not in (None, info.token_dimension):
            raise InvalidDefinition(
                f"encoder {info.name!r} makes vectors of {info.token_dimension} numbers for each "
                "token: give that, or leave it out",
                pointer=place(at, "dimension"),
            )
        dimension = info.token_dimension
    if dimension is None:
        raise InvalidDefinition(
            "say how many numbers the vector of each token has", pointer=place(at, "dimension")
        )
    if dimension > MAX_TOKEN_DIMENSION:
        raise InvalidDefinition(
            f"the vector of a token has at most {MAX_TOKEN_DIMENSION} numbers, received "
            f"{dimension}",
            pointer=place(at, "dimension"),
        )
    return VectorField(name, dimension, metric, new.encoder, kind)


def _described(
    encoder: str, kind: VectorKind, at: str, describe: Callable[[str], EncoderInfo]
) -> EncoderInfo:
    """Find the encoder of a field. Raises InvalidDefinition if it makes no vectors of its kind."""
    try:
        info = describe(encoder)
    except LikewiseError as error:
        error.pointer = place(at, "encoder")
        raise
    if info.dimension == 0:
        raise EncoderUnavailable(info.detail, pointer=place(at, "encoder"), encoder=encoder)
    if kind.value not in info.outputs:
        lacking = "no single vector" if kind is VectorKind.DENSE else f"no {kind.value}"
        raise InvalidDefinition(
            f"encoder {encoder!r} makes {' and '.join(info.outputs)} outputs, {lacking} to store",
            pointer=place(at, "encoder"),
        )
    return info
