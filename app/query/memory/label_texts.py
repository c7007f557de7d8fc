"""Heads that know labels by texts: zero-shot, and with a cache of points beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.attributes.filter import Filter, both
from app.backends.base import View
from app.errors import InvalidQuery
from app.keys import id_from_key
from app.query.labels import Label, columns, holding, in_order, key_of, labelled
from app.query.memory.head import Judged
from app.query.memory.inputs import Bench, LabelText, in_form, metric_of, prepared
from app.query.plan import Lookup
from app.query.running import Running
from app.ranking.algebra.vectors import NOTHING, grouped_mean, groups, mean, unit
from app.ranking.memory.caches import (
    Cache,
    affinities,
    blended,
    unlabelled_cache,
    usual_shots,
)
from app.ranking.memory.prototypes import similarities
from app.ranking.softmax import softmax_topk
from app.types import F64, I64, PointId, VectorField

_TOLD = 10  # keys of a cache that are told of one thing


@dataclass(frozen=True, slots=True)
class Texts:
    """What a label is called: texts, or attributes of which near-duplicates count once."""

    label: Label
    texts: tuple[LabelText, ...]
    grouped: bool


@dataclass(frozen=True, slots=True)
class LabelTexts:
    """Similarity to the texts of each label, softly: softmax(s / temperature).

    above   cosine from which two attributes of a label are the same thing said twice
    """

    at: str
    name: str
    using: str | None
    weight: float
    labels: tuple[Texts, ...]
    temperature: float = 0.05
    above: float = 0.8
    by_vote: bool = False

    def lookups(self) -> Iterator[Lookup]:
        """Give every text, to be encoded; none is searched for."""
        for texts in self.labels:
            for text in texts.texts:
                yield Lookup(text.at, text, self.using, None, 1)

    def judge(self, bench: Bench) -> Judged:
        """Compare things with labels."""
        labels, classes = class_vectors(self.labels, bench.running, bench.field, self.above)
        queries = bench.vectors()
        scores = similarities(metric_of(bench.field), queries, classes)
        return Judged(
            labels,
            scores,
            softmax_topk(scores, self.temperature),
            scores.max(axis=1),
            [[] for _ in bench.things],
            classes,
            queries,
            {"labels": len(labels), "texts": sum(len(one.texts) for one in self.labels)},
        )


@dataclass(frozen=True, slots=True)
class Cached:
    """Label texts, refined by points: `app.ranking.memory.caches`.

    label    the attribute whose values say what a point is; None takes points without labels
    shots    keys of a class; None lets their number decide
    sample   points that keys are chosen among
    alpha    what the cache has to say; 0 is zero-shot
    """

    at: str
    name: str
    using: str | None
    weight: float
    filter: Filter | None
    labels: tuple[Texts, ...]
    label: str | None
    alpha: float = 0.3
    beta: float = 1.0
    shots: int | None = None
    sample: int = 4096
    temperature: float = 0.01
    above: float = 0.8
    by_vote: bool = False

    def lookups(self) -> Iterator[Lookup]:
        """Give every text, to be encoded; none is searched for."""
        yield from self._texts().lookups()

    def _texts(self) -> LabelTexts:
        return LabelTexts(self.at, self.name, self.using, self.weight, self.labels)

    def judge(self, bench: Bench) -> Judged:
        """Compare things with labels and with keys."""
        field = bench.field
        labels, classes = class_vectors(self.labels, bench.running, field, self.above)
        classes, queries = unit(classes), unit(bench.vectors())
        cache, ids = self._cache(bench, labels, classes)
        weights = affinities(queries, cache, classes, self.beta, labelled=self.label is not None)
        for number, excluded in enumerate(bench.excluded()):
            for place, id_ in enumerate(ids):
                if id_ in excluded:
                    weights[number, place] = 0.0
        logits = blended(
            queries, classes, cache, weights, alpha=self.alpha, scale=1.0 / self.temperature
        )
        told: list[list[dict[str, Any]]] = [[] for _ in bench.things]
        if bench.running.explain:
            told = [_told(own, cache, labels, ids) for own in weights * self.alpha]
        scores = logits * self.temperature
        facts = {"labels": len(labels), "keys": int(cache.values.size), "alpha": self.alpha}
        return Judged(
            labels,
            scores,
            softmax_topk(logits, 1.0),
            scores.max(axis=1),
            told,
            classes,
            queries,
            facts,
        )

    def _cache(
        self, bench: Bench, labels: Sequence[Label], classes: F64
    ) -> tuple[Cache, list[PointId]]:
        """Choose keys: the points, which class each stands for, and their ids."""
        view, using = bench.running.view, bench.field.name
        if self.alpha == 0:
            return Cache(np.zeros((0, classes.shape[1])), _NO_PLACES, _NO_PLACES), []
        if self.label is not None:
            return self._labelled(view, using, labels)
        rows = view.sample(using, self.filter, self.sample, 0)
        vectors, _ = view.vectors(using, rows)
        shots = self.shots or usual_shots(rows.size, len(labels))
        cache = unlabelled_cache(unit(vectors), classes, shots)
        ids = [id_from_key(key) for key in view.keys(rows)]
        return cache, [ids[place] for place in cache.places.tolist()]

    def _labelled(
        self, view: View, using: str, labels: Sequence[Label]
    ) -> tuple[Cache, list[PointId]]:
        assert self.label is not None
        remember = labelled(self.filter, self.label)
        shots = self.shots or 16
        found = [
            view.sample(using, both(remember, holding(self.label, label)), shots, number)
            for number, label in enumerate(labels)
        ]
        # A point of several labels is drawn for each, and read once.
        rows, places = np.unique(np.concatenate(found), return_inverse=True)
        vectors, _ = view.vectors(using, rows)
        values = np.repeat(np.arange(len(labels)), [few.size for few in found])
        ids = [id_from_key(key) for key in view.keys(rows)]
        cache = Cache(unit(vectors)[places], values, places.astype(np.int64))
        return cache, [ids[place] for place in places.tolist()]


def _told(
    weights: F64, cache: Cache, labels: Sequence[Label], ids: Sequence[PointId]
) -> list[dict[str, Any]]:
    """Name the keys that have most to say of one thing."""
    best = np.argsort(-weights, kind="stable")[:_TOLD].tolist()
    return [
        {
            "id": ids[one],
            "weight": float(weights[one]),
            "labels": [labels[int(cache.values[one])]],
        }
        for one in best
        if weights[one] > 0
    ]


def class_vectors(
    labels: Sequence[Texts], running: Running, field: VectorField, above: float
) -> tuple[list[Label], F64]:
    """Make one vector of each label's texts: labels in order, and float64[c, d] as searched."""
    known = columns(in_order(one.label for one in labels))
    found: list[F64 | None] = [None] * len(known)
    for one in labels:
        probes = [running.leaves[text.at, field.name] for text in one.texts]
        vectors = unit(np.stack([prepared(field, probe) for probe in probes]))
        if one.grouped:
            whole = unit(grouped_mean(vectors, groups(vectors, above)))
        else:
            whole = mean(vectors)
        if np.linalg.norm(whole) < NOTHING:
            raise InvalidQuery(
                "the texts of this label cancel each other out", pointer=one.texts[0].at
            )
        found[known[key_of(one.label)]] = in_form(field, whole)
    return in_order(one.label for one in labels), np.stack(
        [one for one in found if one is not None]
    )


_NO_PLACES: I64 = np.empty(0, dtype=np.int64)
