"""Definitions as JSON: written, read back, and read from a stranger."""

from __future__ import annotations

from typing import Any

from app.attributes.lexical import check_lexical
from app.attributes.schema import check_schema
from app.errors import InvalidDefinition
from app.types import (
    MAX_DIMENSION,
    MAX_EF_CONSTRUCTION,
    MAX_LINKS,
    MAX_TOKEN_DIMENSION,
    MIN_EF_CONSTRUCTION,
    MIN_LINKS,
    MOST_VECTORS,
    NAME,
    Definition,
    IndexSettings,
    Lexical,
    Metric,
    VectorField,
    VectorKind,
)


def json_from_definition(definition: Definition) -> dict[str, Any]:
    """Say a definition in plain values."""
    return {
        "vectors": {
            field.name: {
                "dimension": field.dimension,
                "metric": field.metric.value,
                "encoder": field.encoder,
                "kind": field.kind.value,
            }
            for field in definition.vectors.values()
        },
        "schema": dict(definition.schema),
        "index": {"m": definition.index.m, "ef_construction": definition.index.ef_construction},
        "lexical": None
        if definition.lexical is None
        else {
            "fields": dict(definition.lexical.fields),
            "language": definition.lexical.language,
        },
    }


def definition_from_json(raw: Any) -> Definition:
    """Read what `json_from_definition` said; the order of the vectors is that of their tables."""
    return Definition(
        vectors={
            name: VectorField(
                name,
                v["dimension"],
                Metric(v["metric"]),
                v["encoder"],
                VectorKind(v.get("kind", "dense")),  # definitions of before say none
            )
            for name, v in raw["vectors"].items()
        },
        schema=raw["schema"],
        index=IndexSettings(raw["index"]["m"], raw["index"]["ef_construction"]),
        lexical=_lexical_from_json(raw.get("lexical")),
    )


def _lexical_from_json(raw: Any) -> Lexical | None:
    return None if raw is None else Lexical(dict(raw["fields"]), raw["language"])


def checked_definition(raw: Any) -> Definition:
    """Read a definition that anyone may have written; whether an encoder is known is not asked.

    Raises InvalidDefinition for one that this service could not have made.
    """
    try:
        definition = definition_from_json(raw)
        names = list(definition.vectors)
        encoders = [field.encoder for field in definition.vectors.values()]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise InvalidDefinition("the definition lacks a member, or has one of no use") from None
    sound = (
        1 <= len(names) <= MOST_VECTORS
        and all(NAME.fullmatch(name) for name in names)
        and all(encoder is None or _is_name(encoder) for encoder in encoders)
        and all(_is_measured(field) for field in definition.vectors.values())
        and _is_within(definition.index.m, MIN_LINKS, MAX_LINKS)
        and _is_within(definition.index.ef_construction, MIN_EF_CONSTRUCTION, MAX_EF_CONSTRUCTION)
        and definition.index.m <= definition.index.ef_construction
    )
    if not sound:
        raise InvalidDefinition("the definition names or counts what no collection can have")
    check_schema(definition.schema)
    check_lexical(raw.get("lexical"))
    return definition


def _is_measured(field: VectorField) -> bool:
    """Tell whether dimension and metric are some that a field of its kind can have."""
    if field.kind is VectorKind.SPARSE:
        return _is_within(field.dimension, 0, 0) and field.metric is Metric.IP
    if field.kind is VectorKind.TOKENS:
        within = _is_within(field.dimension, 1, MAX_TOKEN_DIMENSION)
        return within and field.metric is Metric.COSINE
    return _is_within(field.dimension, 1, MAX_DIMENSION)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_within(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
