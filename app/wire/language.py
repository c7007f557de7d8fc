"""The parts of the query language in the document; `app.query` reads them, and says it better."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema


def part(description: str, *types: str) -> Any:
    """Describe a member that is read further down: its JSON types, besides null."""
    return WithJsonSchema({"description": description, "type": [*types, "null"]})


Using = Annotated[
    Any, part("The vector to search, or weights of several by name.", "string", "object")
]

Expression = Annotated[
    Any,
    part(
        "What to look for: {text}, {image}, {record}, {vector}, {id}, {tokens}, {sparse}, "
        "{lexical}, or a composition of such: {sum}, {add}, {subtract}, {reject}, {compose}, "
        "{set}, {label}, {attributes}, {union}, {intersect}, {condition}, {uncertain}, "
        "{recommend}, {discover}, {context} (docs/similarity/algebra.md).",
        "object",
    ),
]

Prefetch = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Sources of candidates: each a query of its own with using, filter, k, "
            "weight, name, or a prefetch with fuse.",
            "type": ["array", "null"],
            "items": {"type": "object"},
        }
    ),
]

Fuse = Annotated[
    Any,
    part(
        "How lists become one: rrf, sum, max, product, or {method, weights, normalise, "
        "rank_constant, floor}.",
        "string",
        "object",
    ),
]

Normalise = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "What is done to each list's scores before they are fused: minmax, z, "
            "dbsf, rank, softmax, temperature, none, {softmax: {tau}}, {temperature: {tau, top}}, "
            "{calibrated: the name of a calibration}; or a list of these, one for each list.",
            "type": ["string", "object", "array", "null"],
        }
    ),
]

Correct = Annotated[
    Any,
    part(
        "Take off scores what is owed to being near to everything: the name of a query bank, or "
        "{bank, candidates, strength, force}.",
        "string",
        "object",
    ),
]

Hybrid = Annotated[
    Any,
    part(
        "true, or {text, fields, every, weight, fuse, normalise, candidates}: weight is the share "
        "of vectors, text what is looked for by words if not the query's own.",
        "boolean",
        "object",
    ),
]

Rescore = Annotated[
    Any,
    part(
        "Score candidates by another vector or query: {using, query, candidates, weight}.", "object"
    ),
]

Boost = Annotated[
    Any,
    part(
        "Raise and lower scores by attributes: functions {exp, gauss or linear: a field, origin, "
        "scale, offset, decay}, {field, modifier, factor} or {filter}, each with weight, missing "
        "and filter; or {functions, score_mode, mode, normalise, max_boost, candidates}.",
        "array",
        "object",
    ),
]

Diversity = Annotated[
    Any,
    part(
        "Choose hits that differ: mmr or dpp, or {method, lambda or strength, candidates, using, "
        "normalise, by, most}.",
        "string",
        "object",
    ),
]

OrderBy = Annotated[
    Any,
    part(
        "The attribute that orders all points that pass, or the candidates of a query: a name, or "
        "{field, direction: asc or desc, as: value or datetime, near: a place, candidates}.",
        "string",
        "object",
    ),
]

GroupBy = Annotated[
    Any,
    part(
        "The attribute whose values make groups: a name, or {field, groups, size}.",
        "string",
        "object",
    ),
]
