"""A head that compares with one vector for each label: the mean of the points that hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.attributes.filter import Filter, both
from app.backends.base import View
from app.query.labels import (
    Label,
    columns,
    holding,
    key_of,
    labelled,
    labels_in,
    remembered,
)
from app.query.limits import MOST_GROUPS
from app.query.memory.head import Judged
from app.query.memory.inputs import Bench, in_form, metric_of
from app.query.plan import Lookup
from app.ranking.memory.prototypes import left_out, moved, similarities, without_group_means
from app.ranking.softmax import softmax_topk
from app.types import F64, I64, PointId, VectorField


class Kept(NamedTuple):
    """Means that a stored classifier keeps: labels in order, float64[c, d], and items in each."""

    labels: list[Label]
    means: F64
    counts: I64

    def after(self, labels: Sequence[Label], rows: F64, momentum: float | None) -> Kept:
        """Learn examples in their order, float64[examples, d]; labels may be new ones."""
        found = {
            key_of(label): (label, mean, count)
            for label, mean, count in zip(
                self.labels, self.means, self.counts.tolist(), strict=True
            )
        }
        for label, row in zip(labels, rows, strict=True):
            _, mean, count = found.get(key_of(label), (label, row, 0))
            found[key_of(label)] = (label, *moved(mean, count, row[None], momentum))
        kept = [found[key] for key in sorted(found)]
        return Kept(
            [label for label, _, _ in kept],
            np.stack([mean for _, mean, _ in kept]),
            np.array([count for _, _, count in kept], dtype=np.int64),
        )


class Groups(NamedTuple):
    """Means by group, float64[p, d], and where each stands."""

    places: Mapping[tuple[int, object], int]
    means: F64

    def of(self, group: Label | None) -> F64:
        """Give the mean of a group; of one that is not known, the mean of all groups."""
        place = None if group is None else self.places.get(key_of(group))
        mean: F64 = self.means.mean(axis=0) if place is None else self.means[place]
        return mean


@dataclass(frozen=True, slots=True)
class ClassMeans:
    """Similarity to the mean of each label, softly: softmax(s / temperature).

    nuisance   an attribute of one value a point, whose groups' means are taken out of the points
               and of the things
    kept       means from a stored classifier, in the place of those of today
    """

    at: str
    name: str
    using: str | None
    weight: float
    filter: Filter | None
    label: str
    temperature: float = 0.05
    nuisance: str | None = None
    kept: Kept | None = None
    by_vote: bool = False

    def lookups(self) -> Iterator[Lookup]:
        """Give none: only things are looked up."""
        yield from ()

    def judge(self, bench: Bench) -> Judged:
        """Compare. A thing that is a remembered point itself is left out of the mean first."""
        view, field = bench.running.view, bench.field
        remember = labelled(self.filter, self.label)
        kept = self.kept or class_means(view, field, remember, self.label, self.at)
        queries, means = bench.vectors(), kept.means
        groups = None
        if self.nuisance is not None:
            groups = self._groups(view, field)
            means = self._centred(view, field, remember, kept, groups)
            queries = queries - np.stack(
                [groups.of(self._group(bench, number)) for number in range(len(bench.things))]
            )
        scores = similarities(metric_of(field), queries, in_form(field, means))
        if self.kept is None:
            self._leave_out(bench, remember, kept, means, queries, groups, scores)
        nearest = scores.max(axis=1) if kept.labels else np.full(len(queries), np.nan)
        return Judged(
            kept.labels,
            scores,
            softmax_topk(scores, self.temperature),
            nearest,
            [[] for _ in bench.things],
            in_form(field, means),
            queries,
            {"points": int(kept.counts.sum()), "labels": len(kept.labels)},
        )

    def _leave_out(
        self,
        bench: Bench,
        remember: Filter,
        kept: Kept,
        means: F64,
        queries: F64,
        groups: Groups | None,
        scores: F64,
    ) -> None:
        """Score things that are remembered by means without them."""
        named = bench.named_points(remember, self.label)
        if not named:
            return
        places, field = columns(kept.labels), bench.field
        for number, ids in enumerate(bench.excluded()):
            for id_ in ids:
                if id_ not in named:
                    continue
                labels, vector = named[id_]
                if groups is not None:
                    vector = vector - groups.of(self._group_of(bench, id_))
                for label in labels:
                    place = places[key_of(label)]
                    rest = left_out(means[place], int(kept.counts[place]), vector)
                    scores[number, place] = (
                        -np.inf
                        if rest is None
                        else similarities(
                            metric_of(field), queries[number][None], in_form(field, rest[None])
                        )[0, 0]
                    )

    # ── what a group has in common ───────────────────────────────────────────────────────────

    def _groups(self, view: View, field: VectorField) -> Groups:
        assert self.nuisance is not None
        among = labelled(self.filter, self.nuisance)
        found = remembered(view, among, self.nuisance, self.at, MOST_GROUPS)
        means = [
            view.mean(field.name, both(self.filter, holding(self.nuisance, group)))[0]
            for group in found
        ]
        if not found:
            return Groups({}, np.zeros((1, field.dimension)))
        return Groups(columns(found), np.stack(means).astype(np.float64))

    def _centred(
        self, view: View, field: VectorField, remember: Filter, kept: Kept, groups: Groups
    ) -> F64:
        assert self.nuisance is not None
        counts = np.zeros((len(kept.labels), len(groups.means)), dtype=np.int64)
        for number, label in enumerate(kept.labels):
            among = both(remember, holding(self.label, label))
            facet = view.subset(among).facet(self.nuisance, MOST_GROUPS)
            for group, count in facet.values:
                place = None if group is None else groups.places.get(key_of(group))
                if place is not None:
                    counts[number, place] = count
        return without_group_means(kept.means, counts, groups.means)

    def _group(self, bench: Bench, number: int) -> Label | None:
        """Tell which group a thing is of: as it was said, or as the point says that it names."""
        thing, ids = bench.things[number], bench.excluded()[number]
        if thing.group is not None or not ids:
            return thing.group
        return self._group_of(bench, ids[0])

    def _group_of(self, bench: Bench, id_: PointId) -> Label | None:
        assert self.nuisance is not None
        view = bench.running.view
        (attributes,) = view.attributes(view.find([id_]))
        found = labels_in(attributes, self.nuisance)
        return found[0] if found else None


def class_means(view: View, field: VectorField, remember: Filter, label: str, at: str) -> Kept:
    """Average the points of each label. Raises LimitExceeded if there are too many labels."""
    means, counts, labels = [], [], []
    for one in remembered(view, remember, label, at):
        mean, count = view.mean(field.name, both(remember, holding(label, one)))
        if count:
            labels.append(one)
            means.append(mean.astype(np.float64))
            counts.append(count)
    stacked = np.stack(means) if means else np.zeros((0, field.dimension))
    return Kept(labels, stacked, np.array(counts, dtype=np.int64))
