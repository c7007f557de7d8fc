"""What a collection keeps beside its points: query banks and calibrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._points import PointId
from ._queries import plain

Json: TypeAlias = "Mapping[str, Any]"

AskedLike: TypeAlias = "str | Mapping[str, Any]"
"""A text, or a dict with `text`, `vector`, `id`, `image`, `record` or `query`."""

LabelledLike: TypeAlias = "tuple[AskedLike, Sequence[PointId]] | Mapping[str, Any]"
"""(what is asked, ids that answer it), or a dict of what is asked with `relevant` in it."""


@dataclass(frozen=True, slots=True)
class QueryBank:
    """A bank of queries that stand for those to come, by which hubs are corrected.

    queries   how many it has
    strength  of its penalty that an item's score loses
    wins      whether that gained more than its error on labelled queries; None: nobody measured it
    revision  another number whenever it is put
    measured  what labelled queries said: docs/similarity/fusion.md
    """

    name: str
    using: str
    queries: int
    dimension: int
    method: str
    strength: float
    k: int
    tau: float
    wins: bool | None
    bytes: int
    created_at: str
    revision: int
    measured: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A curve from scores to probabilities.

    pairs         that it was fitted to, of which `matches` match
    error_before  expected calibration error of the scores themselves
    error_after   of probabilities of pairs that their curve did not see
    """

    name: str
    method: str
    pairs: int
    matches: int
    error_before: float
    error_after: float
    created_at: str
    revision: int


def query_bank_from_json(body: Json) -> QueryBank:
    return QueryBank(**{name: body[name] for name in QueryBank.__dataclass_fields__})


def query_banks_from_json(body: Json) -> list[QueryBank]:
    return [query_bank_from_json(bank) for bank in body["banks"]]


def calibration_from_json(body: Json) -> Calibration:
    return Calibration(**{name: body[name] for name in Calibration.__dataclass_fields__})


def calibrations_from_json(body: Json) -> list[Calibration]:
    return [calibration_from_json(one) for one in body["calibrations"]]


def queries_to_wire(queries: Iterable[AskedLike] | None) -> list[object] | None:
    """Return queries as the service reads them."""
    if isinstance(queries, str):
        raise TypeError("expected a list of queries, received one string")
    return None if queries is None else [_asked(one) for one in queries]


def labelled_to_wire(labelled: Iterable[LabelledLike] | None) -> list[object] | None:
    """Return labelled queries as the service reads them.

    >>> labelled_to_wire([("a whale", [1, 2])])
    [{'text': 'a whale', 'relevant': [1, 2]}]
    """
    if labelled is None:
        return None
    found: list[object] = []
    for one in labelled:
        if isinstance(one, Mapping):
            found.append(plain(one))
        else:
            asked, relevant = one
            found.append({**_asked(asked), "relevant": list(relevant)})
    return found


def _asked(one: AskedLike) -> dict[str, object]:
    found: dict[str, object] = {"text": one} if isinstance(one, str) else plain(one)
    return found
