"""Facets: what some points have in common, counted."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

from app.wire.base import Filter, WireModel
from app.wire.queries import Query

Facets = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "By name: {field, of: values (n), numbers (quantiles), histogram (edges "
            "or buckets) or dates (interval)}.",
            "type": "object",
            "additionalProperties": {"type": "object"},
        }
    ),
]


class CountFacets(WireModel):
    """What to count of the points that pass a filter, of those a query finds, or of all."""

    facets: Facets
    filter: Filter = None
    query: Query | None = None


class FacetAnswer(WireModel):
    """What was counted, by name, of how many points; all on one state of the collection."""

    points: int
    facets: dict[str, dict[str, Any]]
    took_ms: float
