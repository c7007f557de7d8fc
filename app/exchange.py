"""What the service and a backend hand each other: questions, selections, answers.

These sit below both, so that the engine can speak them without knowing who asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from app.attributes.filter import Filter
from app.types import F32, Definition, Hit, PointId, Projection, Record

_WHOLE = Projection()


class StoredAttributes(Mapping[str, Any]):
    """Attributes as a backend stores them, JSON, which is decoded when somebody looks inside.

    Nobody does in an answer that shows them whole: then `json` is copied as it is.
    """

    __slots__ = ("_decoded", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._decoded: dict[str, Any] | None = None

    def _inside(self) -> dict[str, Any]:
        if self._decoded is None:
            self._decoded = orjson.loads(self.json)
        return self._decoded

    def __getitem__(self, name: str) -> Any:
        return self._inside()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inside())

    def __len__(self) -> int:
        return len(self._inside())

    def __repr__(self) -> str:
        return repr(self._inside())


class Search(NamedTuple):
    """One nearest-neighbour question.

    vector           float32[dimension] of the field `using`; finite, not zero under cosine; or the
                     id of the point to start from, whose vector it is, and which never appears
    ef               search width; None lets the planner choose
    exact            True forbids approximation
    score_threshold  hits below it are left out; k and offset count the rest
    exclude          a point that never appears (the one a query by id starts from)
    explain          True fills `Answer.explanation`
    """

    vector: F32 | PointId
    using: str
    filter: Filter | None = None
    k: int = 10
    offset: int = 0
    score_threshold: float | None = None
    ef: int | None = None
    exact: bool = False
    exclude: PointId | None = None
    projection: Projection = _WHOLE
    explain: bool = False


class Answer(NamedTuple):
    """What a search found.

    matches      points that passed the filter and carry the searched vector, counted exactly
    plan         "empty", "exact" (every match was compared), or "graph" (some segment's graph was
                 walked; its other parts were scanned)
    exact        whether the answer is certain to be the true one
    explanation  plan, reasons, visited nodes, distances, timings; None unless asked for
    """

    hits: list[Hit]
    matches: int
    plan: str
    exact: bool
    explanation: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Points named by id or by filter; exactly one of the two is set."""

    ids: tuple[PointId, ...] | None = None
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's definition and state.

    points    live points
    segments  one entry a searchable piece: {"kind": "head"|"graph", "points": int, "deleted": int}
    building  whether a background build is running or waiting
    """

    name: str
    definition: Definition
    points: int
    segments: list[dict[str, Any]]
    building: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot that is kept.

    collection  what it was taken of
    size        bytes of the file
    sha256      of the file, hexadecimal
    version     of the service that took it
    created_at  when it was taken
    """

    name: str
    collection: str
    points: int
    size: int
    sha256: str
    version: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scroll; `next_after` continues it, None ends it."""

    records: list[Record]
    next_after: PointId | None
