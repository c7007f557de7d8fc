"""Candidates on their way through a plan, with what each stage made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.backends.base import Candidates
from app.types import F64, I64, AttributeScalar


class Group(NamedTuple):
    """Points that share a value: rows, best first."""

    value: AttributeScalar
    rows: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Candidates, best first, ties by id.

    rows     int64[n]: what the view knows them by; all different
    keys     their ids as `app.keys.key_from_id` writes them
    scores   float64[n], higher for better
    parts    what earlier stages made of each: name → float64[n], NaN where a stage did not see it
    notes    facts of single candidates, by row: matched pairs, contributions, …
    groups   what is to be shown, where points are grouped; a row may stand in several
    """

    rows: I64
    keys: list[bytes]
    scores: F64
    parts: dict[str, F64] = field(default_factory=dict)
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    groups: tuple[Group, ...] | None = None

    @classmethod
    def of(cls, candidates: Candidates, name: str) -> Pool:
        """Begin with what a recall found."""
        return cls(candidates.rows, candidates.keys, candidates.scores, {name: candidates.scores})

    def __len__(self) -> int:
        return len(self.keys)

    def scored(self, scores: F64, name: str) -> Pool:
        """Take new scores, float64[n], under a name, and put the candidates in their order.

        Those whose score is NaN are left out.
        """
        parts = {**self.parts, name: scores}
        kept = np.flatnonzero(~np.isnan(scores))
        return replace(self, scores=scores, parts=parts).taken(_order(scores, self.keys, kept))

    def parted(self, scores: F64, name: str) -> Pool:
        """Note scores under a name, and leave the order as it is."""
        return replace(self, parts={**self.parts, name: scores})

    def taken(self, places: NDArray[np.int64] | Sequence[int]) -> Pool:
        """Keep candidates by place, in the order given."""
        chosen = np.asarray(places, dtype=np.int64)
        return replace(
            self,
            rows=self.rows[chosen],
            keys=[self.keys[place] for place in chosen.tolist()],
            scores=self.scores[chosen],
            parts={name: part[chosen] for name, part in self.parts.items()},
        )

    def noted(self, notes: dict[int, dict[str, Any]]) -> Pool:
        """Add facts of candidates, by row."""
        merged = dict(self.notes)
        for row, facts in notes.items():
            merged[row] = {**merged.get(row, {}), **facts}
        return replace(self, notes=merged)

    def joined(self, other: Pool) -> Pool:
        """Append the candidates of another pool that this one lacks, whatever their scores."""
        known = set(self.rows.tolist())
        new = [place for place, row in enumerate(other.rows.tolist()) if row not in known]
        more = other.taken(new)
        nothing = np.full(len(new), np.nan)
        return replace(
            self,
            rows=np.concatenate([self.rows, more.rows]),
            keys=self.keys + more.keys,
            scores=np.concatenate([self.scores, more.scores]),
            parts={
                name: np.concatenate([part, more.parts.get(name, nothing)])
                for name, part in self.parts.items()
            },
            notes={**more.notes, **self.notes},
        )

    def first(self, count: int) -> Pool:
        """Keep the best `count`."""
        return self if len(self) <= count else self.taken(np.arange(count))


EMPTY = Pool(np.empty(0, dtype=np.int64), [], np.empty(0, dtype=np.float64))


def union(pools: Sequence[Pool]) -> tuple[Pool, F64]:
    """Put pools together: every candidate once, ordered by id, and what each pool scored it.

    returns   a pool whose scores are zero, and float64[pools, n], NaN where a pool lacks it
    """
    every = [key for pool in pools for key in pool.keys]
    seen = np.concatenate([EMPTY.rows, *(pool.rows for pool in pools)])
    _, first, places = np.unique(seen, return_index=True, return_inverse=True)
    by_id = sorted(range(first.size), key=[every[at] for at in first.tolist()].__getitem__)
    moved = np.empty(first.size, dtype=np.int64)
    moved[by_id] = np.arange(first.size)
    first, places = first[by_id], moved[places.reshape(-1)]  # numpy 2.0 gives the input's shape
    count = first.size
    scores = np.full((len(pools), count), np.nan)
    parts: dict[str, F64] = {}
    notes: dict[int, dict[str, Any]] = {}
    start = 0
    for number, pool in enumerate(pools):
        at = places[start : start + len(pool)]
        start += len(pool)
        scores[number, at] = pool.scores
        for name, part in pool.parts.items():
            own = name if name not in parts or pool is pools[0] else f"{name} {number + 1}"
            parts.setdefault(own, np.full(count, np.nan))[at] = part
        for row, facts in pool.notes.items():
            notes[row] = {**notes.get(row, {}), **facts}
    keys = [every[at] for at in first.tolist()]
    return Pool(seen[first], keys, np.zeros(count), parts, notes), scores


def _order(
    scores: F64, keys: Sequence[bytes], kept: NDArray[np.int64]
) -> NDArray[np.int64] | list[int]:
    """Order places by score, best first, ties by key."""
    order = kept[np.argsort(-scores[kept], kind="stable")]
    ranked = scores[order]
    tied = np.flatnonzero(ranked[1:] == ranked[:-1])
    # A union comes in the order of ids, and the sort keeps that: then ties are settled already.
    if any(keys[order[at]] > keys[order[at + 1]] for at in tied.tolist()):
        negated = (-scores).tolist()
        return sorted(order.tolist(), key=lambda place: (negated[place], keys[place]))
    return order
