"""A head that lets the nearest labelled points vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.attributes.filter import Filter, both
from app.backends.base import Recall
from app.errors import LimitExceeded
from app.keys import id_from_key
from app.query.labels import (
    Label,
    columns,
    holding,
    in_order,
    key_of,
    labelled,
    labels_in,
    remembered,
)
from app.query.limits import MOST_CACHED, MOST_SEARCHES, MOST_VOTERS
from app.query.memory.head import Judged, check_said
from app.query.memory.inputs import Bench, metric_of
from app.query.plan import Lookup
from app.query.reading import refused
from app.ranking.memory.prototypes import borrowed, similarities
from app.ranking.memory.votes import kernel, votes, voting_weights
from app.types import F64, I64, Projection, VectorKind


class Voter(NamedTuple):
    """A neighbour; one without a key was made up for a rare label."""

    score: float
    key: bytes
    labels: list[Label]


@dataclass(frozen=True, slots=True)
class Voting:
    """The k nearest points that hold a label vote.

    filter      who may vote
    k           how many do
    how, beta   their weights: `app.ranking.memory.votes`
    reciprocal  only those vote that would have the thing among their own k nearest
    augment     labels with fewer points get made-up ones, up to so many: `borrowed`
    """

    at: str
    name: str
    using: str | None
    weight: float
    filter: Filter | None
    label: str
    k: int
    how: str = "similarity"
    beta: float = 20.0
    ef: int | None = None
    exact: bool = False
    reciprocal: bool = False
    augment: int = 0
    by_vote: bool = True

    def lookups(self) -> Iterator[Lookup]:
        """Give none: only things are looked up."""
        yield from ()

    def judge(self, bench: Bench) -> Judged:
        """Find the neighbours of each thing, and count."""
        if len(bench.things) * self.k > MOST_VOTERS:
            raise LimitExceeded(
                f"inputs × k is at most {MOST_VOTERS} in one request",
                pointer=self.at,
                limit=MOST_VOTERS,
            )
        running = bench.running
        remember = labelled(self.filter, self.label)
        found = []
        for thing in bench.things:
            lookup = Lookup(
                thing.at,
                thing.expression,
                bench.field.name,
                remember,
                self.k,
                self.ef,
                self.exact,
            )
            found.append(lookup.run(running))
        rows = np.unique(np.concatenate([pool.rows for pool in found]))
        held = self._labels(bench, rows)
        voters = [
            [
                Voter(score, key, held[row])
                for row, key, score in zip(
                    pool.rows.tolist(), pool.keys, pool.scores.tolist(), strict=True
                )
            ]
            for pool in found
        ]
        if self.reciprocal:
            voters = self._mutual(bench, remember, rows, [pool.rows for pool in found], voters)
        made_up = 0
        if self.augment:
            made_up, voters = self._with_borrowed(bench, remember, voters)
        facts = {"matches": running.matches, "made_up": made_up}
        return self._counted(voters, facts, explain=running.explain)

    def _labels(self, bench: Bench, rows: I64) -> dict[int, list[Label]]:
        shown = Projection(fields=frozenset((self.label,)), with_text=False)
        records = bench.running.view.records(rows, shown)
        return {
            row: labels_in(record.attributes, self.label)
            for row, record in zip(rows.tolist(), records, strict=True)
        }

    def _counted(
        self, voters: list[list[Voter]], facts: dict[str, Any], *, explain: bool
    ) -> Judged:
        labels = in_order(label for few in voters for voter in few for label in voter.labels)
        places = columns(labels)
        size = (len(voters), len(labels))
        check_said(1, *size, self.at)
        shares, scores = np.zeros(size), np.zeros(size)
        nearest = np.full(len(voters), np.nan)
        told = []
        for number, few in enumerate(voters):
            near = np.array([voter.score for voter in few])
            holds = [[places[key_of(label)] for label in voter.labels] for voter in few]
            weights = voting_weights(near, self.how, self.beta)
            shares[number] = votes(weights, holds, len(labels))
            scores[number] = votes(kernel(near, self.how, self.beta), holds, len(labels))
            if few:
                nearest[number] = near.max()
            shown = zip(few, weights.tolist(), strict=True) if explain else ()
            told.append([_told(*one) for one in shown])
        return Judged(labels, scores, shares, nearest, told, facts=facts)

    def _mutual(
        self,
        bench: Bench,
        remember: Filter,
        rows: I64,
        found: Sequence[I64],
        voters: list[list[Voter]],
    ) -> list[list[Voter]]:
        """Keep the voters that are nearer to the thing than to all but k − 1 others."""
        if bench.field.kind is not VectorKind.DENSE:
            raise refused("neighbours are mutual in a field of dense vectors only", self.at)
        if rows.size > MOST_SEARCHES:
            raise LimitExceeded(
                f"mutual neighbours take {rows.size} searches; at most {MOST_SEARCHES} are made",
                pointer=self.at,
                limit=MOST_SEARCHES,
            )
        view = bench.running.view
        vectors, _ = view.vectors(bench.field.name, rows)
        reach: dict[int, float] = {}
        for row, key, vector in zip(rows.tolist(), view.keys(rows), vectors, strict=True):
            wanted = Recall(
                vector,
                bench.field.name,
                remember,
                k=self.k,
                ef=self.ef,
                exact=self.exact,
                exclude=(id_from_key(key),),
            )
            scores = view.recall(wanted).candidates.scores
            reach[row] = float(scores[-1]) if scores.size >= self.k else -np.inf
        return [
            [
                voter
                for row, voter in zip(own.tolist(), few, strict=True)
                if voter.score >= reach[row]
            ]
            for own, few in zip(found, voters, strict=True)
        ]

    def _with_borrowed(
        self, bench: Bench, remember: Filter, voters: list[list[Voter]]
    ) -> tuple[int, list[list[Voter]]]:
        """Let made-up points of rare labels vote among the real ones."""
        made, labels = self._made_up(bench, remember)
        if not labels:
            return 0, voters
        scores = similarities(metric_of(bench.field), bench.vectors(), made)
        merged = []
        for own, few in zip(scores, voters, strict=True):
            best = np.argsort(-own, kind="stable")[: self.k]
            more = [Voter(float(own[one]), b"", [labels[one]]) for one in best.tolist()]
            merged.append(sorted(few + more, key=lambda voter: -voter.score)[: self.k])
        return len(labels), merged

    def _made_up(self, bench: Bench, remember: Filter) -> tuple[F64, list[Label]]:
        view, using = bench.running.view, bench.field.name
        every = remembered(view, remember, self.label, self.at)
        named = bench.named_points(remember, self.label)
        means: list[F64] = []
        heads: list[F64] = []
        head_means: list[F64] = []
        rare = []
        for number, label in enumerate(every):
            own = both(remember, holding(self.label, label))
            mean, count = view.mean(using, own)
            wide = mean.astype(np.float64)
            if 0 < count < self.augment:
                rare.append((label, wide, self.augment - count))
            elif count:
                rows = view.sample(using, own, self.augment, number)
                vectors, _ = view.vectors(using, rows)
                heads.append(vectors.astype(np.float64))
                head_means.append(np.broadcast_to(wide, vectors.shape))
            if sum(map(len, heads)) + sum(missing for *_, missing in rare) > MOST_CACHED:
                raise LimitExceeded(
                    f"augment × labels is at most {MOST_CACHED}", pointer=self.at, limit=MOST_CACHED
                )
        if not heads or not rare:
            return np.empty((0, bench.field.dimension)), []
        if named:
            raise refused(
                "a point that is stored already is in the means that examples are made of: give "
                "its vector or text instead of its id",
                self.at,
            )
        residuals, middles = np.concatenate(heads), np.concatenate(head_means)
        drawn = np.random.default_rng(0)
        labels: list[Label] = []
        for label, middle, missing in rare:
            chosen = drawn.choice(len(residuals), size=missing, replace=missing > len(residuals))
            means.append(borrowed(middle, residuals[chosen], middles[chosen]))
            labels += [label] * missing
        return np.concatenate(means), labels


def _told(voter: Voter, weight: float) -> dict[str, Any]:
    who: dict[str, Any] = {"id": id_from_key(voter.key)} if voter.key else {"made_up": True}
    return {**who, "score": voter.score, "weight": weight, "labels": voter.labels}
