"""Query banks and calibrations: what is asked of one, and what one looks like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from app.wire.base import WireModel
from app.wire.language import part

Queries = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "Queries: each {text}, {vector}, {id}, {image}, {record} or {query}; "
            "those of `dev` have `relevant` too, the ids that answer them.",
            "type": ["array", "null"],
            "items": {"type": "object"},
        }
    ),
]

_Method = Literal["csls", "sinkhorn", "center"]


class PutQueryBank(WireModel):
    """A bank of queries that stand for those to come, by which hubs are corrected.

    using       the vector; not needed where there is one of numbers
    queries     what is asked; or else
    sample      points stand for queries: {points, filter, seed}
    method      csls, sinkhorn or center, or a list of those to try; all of them without it
    strength    how much of its penalty an item loses, or a list of those to try
    k, tau      of csls, and of sinkhorn
    dev         labelled queries, by which the bank is tried and chosen
    candidates  of each of these
    """

    using: str | None = None
    queries: Queries = None
    sample: Annotated[Any, part("{points, filter, seed}", "object")] = None
    method: Annotated[Any, part("A method, or those to try.", "string", "array")] = None
    strength: Annotated[Any, part("A strength, or those to try.", "number", "array")] = None
    k: Annotated[Any, part("Of csls: nearest queries of the bank.", "integer")] = None
    tau: Annotated[Any, part("Of sinkhorn.", "number")] = None
    dev: Queries = None
    candidates: Annotated[Any, part("Points that each labelled query recalls.", "integer")] = None


class QueryBank(WireModel):
    """A bank that is kept.

    queries   how many it has
    measured  what labelled queries said (docs/similarity/fusion.md)
    wins      whether its gain is larger than the gain's error; null: nobody measured it
    revision  another number whenever it is put
    """

    name: str
    using: str
    queries: int
    dimension: int
    method: _Method
    strength: float
    k: int
    tau: float
    wins: bool | None
    bytes: int
    created_at: str
    revision: int
    measured: dict[str, Any] | None


class QueryBanks(WireModel):
    """All banks of a collection, by name."""

    banks: list[QueryBank]


class PutCalibration(WireModel):
    """A curve from scores to probabilities, fitted to pairs that are known.

    scores, matches   of pairs, one by one; or else
    using, dev        labelled queries, whose candidates are the pairs
    candidates        of each of these
    method            platt or isotonic; without it the better one
    """

    scores: Annotated[Any, part("Numbers.", "array")] = None
    matches: Annotated[Any, part("true or false, as many.", "array")] = None
    using: str | None = None
    dev: Queries = None
    candidates: Annotated[Any, part("Points that each labelled query recalls.", "integer")] = None
    method: str | None = None


class Calibration(WireModel):
    """A calibration that is kept.

    error_before  expected calibration error of the scores as they are, cut to 0 … 1
    error_after   of probabilities, each by a curve that did not see the pair
    """

    name: str
    method: Literal["platt", "isotonic"]
    pairs: int
    matches: int
    error_before: float
    error_after: float
    created_at: str
    revision: int


class Calibrations(WireModel):
    """All calibrations of a collection, by name."""

    calibrations: list[Calibration]
