"""Queries in a list, with or without the points that answer them, as banks and calibrations take.

{"text": …}, {"vector": …}, {"id": …}, {"image": …}, {"record": …}, {"query": {…}}
and beside it "relevant": [ids], where answers are known
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.encoders.base import EncoderInfo
from app.errors import LimitExceeded
from app.query.limits import MOST_FOUND
from app.query.reading import Members, items
from app.query.trying import Labelled
from app.service.checks import check_ids
from app.service.planned import Encode, PlannedQuery, Planning, encode_all
from app.service.requests import Query
from app.types import Definition

_KINDS = ("text", "vector", "id", "image", "record", "query")
_TOGETHER = 64  # queries that are encoded at a time: others get a turn between

MOST_RELEVANT = 1_000
"""Points that answer one query."""


@dataclass(frozen=True, slots=True)
class QueryLists:
    """Reads lists of queries as plans of one lookup each."""

    planning: Planning
    encode: Encode
    describe: Callable[[str], EncoderInfo]
    usable: Callable[[str], object]

    def read(
        self, raw: Any, at: str, *, most: int, definition: Definition, using: str, k: int
    ) -> list[PlannedQuery]:
        """Read queries. Raises InvalidQuery, and what their leaves raise, with their place."""
        return [
            self._query(Members(one, f"{at}/{place}", "a query"), definition, using, k)
            for place, one in enumerate(items(raw, at, most=most))
        ]

    def labelled(
        self, raw: Any, at: str, *, most: int, definition: Definition, using: str, k: int
    ) -> list[Labelled]:
        """Read queries that know their answers. Together they find at most MOST_FOUND points."""
        found = []
        given = items(raw, at, most=most)
        if len(given) * k > MOST_FOUND:
            raise LimitExceeded(
                f"labelled queries × candidates is at most {MOST_FOUND}",
                pointer=at,
                limit=MOST_FOUND,
            )
        for place, one in enumerate(given):
            members = Members(one, f"{at}/{place}", "a labelled query")
            relevant = members.items("relevant", most=MOST_RELEVANT)
            ids = check_ids(relevant, limit=MOST_RELEVANT, pointer=members.place("relevant"))
            found.append(Labelled(self._query(members, definition, using, k), ids))
        return found

    def _query(self, members: Members, definition: Definition, using: str, k: int) -> PlannedQuery:
        given = {kind: members.raw(kind) for kind in _KINDS}
        members.end()
        composed = given.pop("query")
        query = Query(
            **given,
            using=using,
            k=k,
            at=members.at,
            members=None if composed is None else {"query": composed},
        )
        planned = self.planning.planned(definition, query, None)
        for encoder in {unread.encoder for unread in planned.unread}:
            self.usable(encoder)
        return planned

    async def encode_all(self, queries: Sequence[PlannedQuery]) -> None:
        """Encode what the queries give, some at a time."""
        for start in range(0, len(queries), _TOGETHER):
            await encode_all(queries[start : start + _TOGETHER], self.encode, self.describe)
