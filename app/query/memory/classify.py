"""Heads put together: what each says of a thing, what they say together, and what is answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.backends.base import View
from app.errors import InvalidQuery, LimitExceeded
from app.query.labels import Label, columns, key_of
from app.query.limits import MOST_LABEL_PAIRS
from app.query.memory.head import Head, Judged, aligned
from app.query.memory.inputs import Bench, Thing
from app.query.plan import Lookup
from app.query.running import Leaves, Running
from app.ranking.class_fusion import weighted
from app.ranking.memory.composing import (
    all_pairs,
    paired,
    paired_features,
    softly,
)
from app.ranking.memory.decisions import Bar, kept_out, margins
from app.ranking.softmax import softmax_topk
from app.types import F64, I64, VectorField

Json = dict[str, Any]

_NO_BAR = Bar()


@dataclass(frozen=True, slots=True)
class Compose:
    """Labels that are two labels at once.

    pairs    (name, a, b); None makes every two labels one, named by both
    by       "probabilities" adds those of the two, "features" compares with what lies between
    temperature   of the latter
    """

    at: str
    pairs: tuple[tuple[Label | None, Label, Label], ...] | None
    by: str = "probabilities"
    temperature: float = 0.05


@dataclass(frozen=True, slots=True)
class Classifier:
    """Who judges, and what makes an answer of it.

    heads        one or more
    by_class     weights of labels for each head: name → label key → weight; 1 where there is none
    fuse         "pool": Σ_m w_mc p_mc, scaled; "softmax" of it, as fitted weights are for
    compose      whether labels are made of two
    several      whether a thing may have several labels: those that reach their threshold
    threshold    for labels that `thresholds` does not have
    bar          what an answer must reach
    top          labels that are told of each thing
    """

    heads: tuple[Head, ...]
    by_class: Mapping[str, Mapping[tuple[int, Any], float]] = field(default_factory=dict)
    fuse: str = "pool"
    compose: Compose | None = None
    several: bool = False
    threshold: float = 0.5
    thresholds: Mapping[tuple[int, Any], float] = field(default_factory=dict)
    bar: Bar = _NO_BAR
    top: int = 5
    explain: bool = False

    def lookups(self) -> Iterator[tuple[Head, Lookup]]:
        """Give the texts of labels, each with its head."""
        for head in self.heads:
            for lookup in head.lookups():
                yield head, lookup

    def judge(
        self,
        view: View,
        things: Sequence[Thing],
        fields: Mapping[str, VectorField],
        leaves: Leaves,
    ) -> list[Judged]:
        """Have every head judge every thing.

        fields   of each head, by its pointer
        leaves   what things and label texts mean
        """
        found = []
        for head in self.heads:
            field = fields[head.at]
            begun_s = time.perf_counter()
            running = Running(view, Everywhere(field), leaves, explain=self.explain)
            judged = head.judge(Bench(running, field, things))
            took_ms = round((time.perf_counter() - begun_s) * 1e3, 3)
            judged.facts = {
                "name": head.name,
                "using": field.name,
                **judged.facts,
                "exact": running.exact,
                "ms": took_ms,
            }
            found.append(judged)
        return found

    def together(self, judged: Sequence[Judged]) -> Together:
        """Fuse what the heads say."""
        labels, probabilities, scores = aligned(judged, self.heads[0].at)
        weights = self._weights(labels)
        if self.several:
            # Shares of neighbours, which need not sum to 1: their weighted mean.
            total = (
                (weights * ~np.isnan(probabilities[:, 0])).sum(0) if len(judged[0].nearest) else 1
            )
            parts = weights[:, None] * np.nan_to_num(probabilities) / np.maximum(total, 1e-300)
        elif self.fuse == "softmax":
            parts = softly(probabilities, weights)
        else:
            parts = weighted(probabilities, weights)
        return Together(labels, parts, _mean_scores(scores, weights), _nearest(judged))

    def answers(self, judged: Sequence[Judged]) -> list[Json]:
        """Say of each thing what it is, or that it is not to be said."""
        found = self.together(judged)
        if self.compose is not None:
            found = self._composed(found, judged)
        totals = found.parts.sum(axis=0)
        gaps = margins(totals)
        return [
            self._answer(number, found, totals[number], float(gaps[number]), judged)
            for number in range(len(totals))
        ]

    def _weights(self, labels: Sequence[Label]) -> F64:
        weights = np.empty((len(self.heads), len(labels)))
        for row, head in zip(weights, self.heads, strict=True):
            own = self.by_class.get(head.name, {})
            row[:] = [head.weight * own.get(key_of(label), 1.0) for label in labels]
        return weights

    # ── labels of two ────────────────────────────────────────────────────────────────────────

    def _composed(self, found: Together, judged: Sequence[Judged]) -> Together:
        assert self.compose is not None
        names, pairs = _named_pairs(self.compose, found.labels)
        if self.compose.by == "features":
            parts = self._by_features(found.labels, pairs, judged)
        else:
            parts = paired(found.parts, pairs)
        scores = found.scores[:, pairs].mean(axis=2)
        return Together(names, parts, scores, found.nearest)

    def _by_features(self, labels: Sequence[Label], pairs: I64, judged: Sequence[Judged]) -> F64:
        """Compare with what lies between two class vectors, head by head, and fuse that."""
        assert self.compose is not None
        told = []
        for one in judged:
            if one.classes is None or one.queries is None:
                raise InvalidQuery(
                    "features are of heads with one vector a label: class means or label texts",
                    pointer=self.compose.at,
                )
            own = columns(one.labels)
            classes = np.zeros((len(labels), one.classes.shape[1]))
            for number, label in enumerate(labels):
                if key_of(label) in own:
                    classes[number] = one.classes[own[key_of(label)]]
            cosines = paired_features(one.queries, classes, pairs)
            told.append(softmax_topk(cosines, self.compose.temperature))
        weights = np.array([[head.weight] * len(pairs) for head in self.heads])
        return weighted(np.stack(told), weights)

    # ── one answer ───────────────────────────────────────────────────────────────────────────

    def _answer(
        self, number: int, found: Together, totals: F64, margin: float, judged: Sequence[Judged]
    ) -> Json:
        order = np.lexsort((-found.scores[number], -totals))
        order = order[totals[order] > 0]
        best = int(order[0]) if order.size else None
        nearest = float(found.nearest[number])
        probability = 0.0 if best is None else float(totals[best])
        given = [] if best is None else [best]
        why = kept_out(nearest, probability, margin, self.bar)
        if best is None:
            why = "nothing_like_it" if found.labels else "nothing_remembered"
        if self.several and why is None:
            given = [one for one in order.tolist() if totals[one] >= self._threshold(found, one)]
            why = None if given else "min_probability"
        answer: Json = {
            "label": None if why or best is None else found.labels[given[0]],
            "probability": min(probability, 1.0),
            "margin": margin,
            "nearest": nearest if nearest == nearest else None,
            "abstained": why,
        }
        if self.several:
            answer["labels"] = [] if why else [found.labels[one] for one in given]
        answer["scores"] = [
            self._told(number, int(one), found, totals) for one in order[: self.top]
        ]
        if self.explain:
            answer["voters"] = {
                head.name: one.voters[number]
                for head, one in zip(self.heads, judged, strict=True)
                if one.voters[number]
            }
        return answer

    def _threshold(self, found: Together, place: int) -> float:
        label = found.labels[place]
        return self.thresholds.get(key_of(label), self.threshold)

    def _told(self, number: int, place: int, found: Together, totals: F64) -> Json:
        told: Json = {
            "label": found.labels[place],
            "probability": min(float(totals[place]), 1.0),
            "score": float(found.scores[number, place]),
        }
        if len(self.heads) > 1:
            parts = found.parts[:, number, place].tolist()
            told["heads"] = {head.name: part for head, part in zip(self.heads, parts, strict=True)}
        return told


@dataclass(frozen=True, slots=True)
class Together:
    """What the heads say together.

    labels   in order; of compound ones their names
    parts    float64[heads, n, c]: what each head adds to each probability
    scores   float64[n, c]: what compares between things
    nearest  float64[n]: similarity of the likest thing that any head looked at
    """

    labels: list[Any]
    parts: F64
    scores: F64
    nearest: F64


class Everywhere(dict[str, VectorField | None]):
    """The one field that a head compares in, whatever it looks up."""

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, at: str) -> VectorField:
        return self._field


def _mean_scores(scores: F64, weights: F64) -> F64:
    """Average heads' scores by weight; what a head does not know counts nothing."""
    known = ~np.isnan(scores) & np.isfinite(scores)
    share = weights[:, None] * known
    total = share.sum(0)
    summed = (share * np.where(known, scores, 0.0)).sum(0)
    mean: F64 = np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)
    return mean


def _nearest(judged: Sequence[Judged]) -> F64:
    every = np.stack([one.nearest for one in judged])
    best: F64 = np.where(np.isnan(every), -np.inf, every).max(axis=0)
    return np.where(np.isinf(best), np.nan, best)


def _named_pairs(compose: Compose, labels: Sequence[Label]) -> tuple[list[Any], I64]:
    if compose.pairs is None:
        pairs = all_pairs(len(labels))
        if len(pairs) > MOST_LABEL_PAIRS:
            raise LimitExceeded(
                f"{len(labels)} labels make {len(pairs)} pairs, at most {MOST_LABEL_PAIRS} are "
                "compared: list those that are meant",
                pointer=compose.at,
                limit=MOST_LABEL_PAIRS,
            )
        return [[labels[a], labels[b]] for a, b in pairs.tolist()], pairs
    places = columns(labels)
    names, found = [], []
    for name, *both in compose.pairs:
        a, b = (places.get(key_of(label)) for label in both)
        if a is None or b is None:
            continue  # nobody knows one of the two: it cannot be both
        names.append(both if name is None else name)
        found.append((a, b))
    return names, np.array(found, dtype=np.int64).reshape(-1, 2)
