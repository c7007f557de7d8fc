"""Numbers of a classifier that are chosen on labelled points, and kept only where they help.

Each point is judged without itself. Half of the points choose, the other half decides whether what
was chosen is kept, and is what the report tells of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.attributes.filter import Filter
from app.backends.base import View
from app.errors import InvalidQuery
from app.keys import id_from_key
from app.query.labels import Label, columns, in_order, key_of, labelled, labels_in
from app.query.limits import MOST_INPUTS
from app.query.memory.class_means import ClassMeans, Kept, class_means
from app.query.memory.classify import Classifier
from app.query.memory.head import Head, Judged, aligned, check_said
from app.query.memory.inputs import Thing, leaves_of, of_points
from app.query.memory.label_texts import Cached, LabelTexts
from app.query.running import Leaves
from app.ranking.class_fusion import fit_weights
from app.ranking.memory.decisions import best_temperature, f1_thresholds
from app.ranking.softmax import softmax_topk
from app.types import I64, PointId, VectorField, VectorKind

Json = dict[str, Any]

LEAST = 20
"""Points that must be there to choose by."""

DRAWN_TO_ALL = 30
"""Points that a label must hold to have a say of one half in its threshold, beside that of all
labels together: what few points choose is chosen by chance."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What to choose, and on which points.

    label    the attribute that tells what they are
    sample   how many of those that pass `filter`
    what     "temperature", "cache", "weights", "thresholds"
    keep     whether class means are kept as they are now
    """

    at: str
    label: str
    filter: Filter | None
    sample: int
    seed: int
    what: frozenset[str]
    keep: bool


WHAT = ("temperature", "cache", "weights", "thresholds")


@dataclass(slots=True)
class Fitted:
    """What was chosen, by head and by label; empty where nothing was.

    threshold   of labels that `thresholds` does not have
    """

    temperatures: dict[str, float] = field(default_factory=dict)
    alphas: dict[str, float] = field(default_factory=dict)
    weights: dict[str, list[tuple[Label, float]]] = field(default_factory=dict)
    thresholds: list[tuple[Label, float]] = field(default_factory=list)
    threshold: float | None = None
    means: dict[str, Kept] = field(default_factory=dict)

    def into(self, classifier: Classifier) -> Classifier:
        """Put it into a classifier."""
        heads = tuple(self._head(head) for head in classifier.heads)
        found = replace(classifier, heads=heads)
        if self.weights:
            # Relative to the head's own weight, which holds for labels that were not there.
            means = self._mean_weights()
            by_class = {
                name: {key_of(label): weight / (means[name] or 1.0) for label, weight in own}
                for name, own in self.weights.items()
            }
            found = replace(found, by_class=by_class, fuse="softmax")
        if self.thresholds:
            chosen = {key_of(label): threshold for label, threshold in self.thresholds}
            found = replace(found, thresholds={**found.thresholds, **chosen})
        if self.threshold is not None:
            found = replace(found, threshold=self.threshold)
        return found

    def _mean_weights(self) -> dict[str, float]:
        return {
            name: sum(weight for _, weight in own) / max(len(own), 1)
            for name, own in self.weights.items()
        }

    def _head(self, head: Head) -> Head:
        if head.name in self.weights:
            head = replace(head, weight=self._mean_weights()[head.name])  # type: ignore[type-var]
        if isinstance(head, ClassMeans) and head.name in self.means:
            head = replace(head, kept=self.means[head.name])
        if isinstance(head, ClassMeans | LabelTexts) and head.name in self.temperatures:
            return replace(head, temperature=self.temperatures[head.name])
        if isinstance(head, Cached) and head.name in self.alphas:
            return replace(head, alpha=self.alphas[head.name])
        return head


@dataclass(slots=True)
class Fitting:
    """One fitting of a classifier on a view.

    fields   of each head, by its pointer
    leaves   what label texts mean
    """

    view: View
    classifier: Classifier
    fit: Fit
    fields: Mapping[str, VectorField]
    leaves: Leaves
    truth: list[list[Label]] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)

    def run(self) -> tuple[Fitted, Json]:
        """Choose; say what was chosen and what it was worth. Raises InvalidQuery for too few."""
        fitted = Fitted()
        report: Json = {}
        if self.fit.what:
            self._draw()
            report = self._chosen(fitted)
        if self.fit.keep:
            for head in self.classifier.heads:
                if isinstance(head, ClassMeans):
                    remember = labelled(head.filter, head.label)
                    fitted.means[head.name] = class_means(
                        self.view, self.fields[head.at], remember, head.label, head.at
                    )
        return fitted, report

    def _draw(self) -> None:
        view, first = self.view, self.fields[self.classifier.heads[0].at]
        rows = view.sample(
            first.name, labelled(self.fit.filter, self.fit.label), self.fit.sample, self.fit.seed
        )
        has = np.ones(rows.size, dtype=np.bool_)
        for one in {found.name: found for found in self.fields.values()}.values():
            if one.kind is not VectorKind.SPARSE:
                has &= view.vectors(one.name, rows)[1]
        rows = rows[has]
        held = [labels_in(attributes, self.fit.label) for attributes in view.attributes(rows)]
        several = self.classifier.several
        ids: list[PointId] = []
        for key, labels in zip(view.keys(rows), held, strict=True):
            if labels and (several or len(labels) == 1):
                ids.append(id_from_key(key))
                self.truth.append(labels)
        if len(ids) < LEAST:
            raise InvalidQuery(
                f"there are {len(ids)} labelled points to choose by; {LEAST} are the least",
                pointer=self.fit.at,
            )
        self.things = of_points(ids, self.fit.at)

    def _judged(self, classifier: Classifier) -> list[Judged]:
        """Judge all points, each without itself, as many at a time as one request may."""
        pieces: list[list[Judged]] = []
        for start in range(0, len(self.things), MOST_INPUTS):
            some = self.things[start : start + MOST_INPUTS]
            leaves = dict(self.leaves)
            for one in self.fields.values():
                leaves |= leaves_of(some, one)
            pieces.append(classifier.judge(self.view, some, self.fields, leaves))
            names = {key_of(label) for lot in pieces for one in lot for label in one.labels}
            check_said(len(pieces[0]), len(self.things), len(names), self.fit.at)
        return [_joined([piece[number] for piece in pieces]) for number in range(len(pieces[0]))]

    def _chosen(self, fitted: Fitted) -> Json:
        what, classifier = self.fit.what, self.classifier
        order = np.random.default_rng(self.fit.seed).permutation(len(self.things))
        chooses, decides = order[::2], order[1::2]
        judged = self._judged(classifier)
        report: Json = {
            "points": len(self.things),
            "as_given": self._worth(classifier, judged, decides),
        }
        if "cache" in what:
            report["cache"] = self._gate_caches(judged, chooses, fitted)
        if "temperature" in what:
            for head, one in zip(classifier.heads, judged, strict=True):
                if isinstance(head, ClassMeans | LabelTexts):
                    tau = fitted.temperatures[head.name] = self._temperature(one, chooses)
                    one.probabilities = softmax_topk(one.scores, tau)
        classifier = fitted.into(classifier)
        best = self._worth(classifier, judged, decides)
        for name, choose in (("weights", self._weights), ("thresholds", self._thresholds)):
            if name not in what:
                continue
            tried = Fitted()
            choose(judged, chooses, tried)
            if not (tried.weights or tried.thresholds):
                continue
            worth = self._worth(tried.into(classifier), judged, decides)
            kept = worth["score"] > best["score"]
            report[name] = {"score": worth["score"], "before": best["score"], "kept": kept}
            if kept:
                fitted.weights |= tried.weights
                fitted.thresholds += tried.thresholds
                fitted.threshold = tried.threshold if tried.thresholds else fitted.threshold
                classifier, best = tried.into(classifier), worth
        report["as_fitted"] = best
        return report

    # ── what it is worth ─────────────────────────────────────────────────────────────────────

    def _worth(self, classifier: Classifier, judged: Sequence[Judged], places: I64) -> Json:
        """Tell the share of right answers, or micro and macro F1 where there are several."""
        quiet = replace(classifier, explain=False, top=1, compose=None)
        answers = quiet.answers(judged)
        if not classifier.several:
            right = [
                answers[one]["label"] is not None
                and key_of(answers[one]["label"]) == key_of(self.truth[one][0])
                for one in places.tolist()
            ]
            said = [answers[one]["label"] is not None for one in places.tolist()]
            return {"accuracy": _share(right), "answered": _share(said), "score": _share(right)}
        hits: dict[Any, list[int]] = {}
        for one in places.tolist():
            given = {key_of(label) for label in answers[one]["labels"]}
            held = {key_of(label) for label in self.truth[one]}
            for key in given | held:
                counted = hits.setdefault(key, [0, 0, 0])
                counted[0] += key in given and key in held
                counted[1] += key in given
                counted[2] += key in held
        micro = np.array(list(hits.values())).sum(0)
        macro = float(np.mean([_f1(*counted) for counted in hits.values()]))
        return {"micro_f1": _f1(*micro.tolist()), "macro_f1": macro, "score": macro}

    # ── choices ──────────────────────────────────────────────────────────────────────────────

    def _gate_caches(self, judged: list[Judged], chooses: I64, fitted: Fitted) -> Json:
        """Switch off each cache that is not at least as right as label texts alone."""
        told: Json = {}
        for number, head in enumerate(self.classifier.heads):
            if not isinstance(head, Cached) or head.alpha == 0:
                continue
            alone = Classifier((replace(head, alpha=0.0),))
            without = self._judged(alone)
            scores = {
                "with": self._worth(Classifier((head,)), [judged[number]], chooses)["score"],
                "without": self._worth(alone, without, chooses)["score"],
            }
            kept = scores["with"] >= scores["without"]
            fitted.alphas[head.name] = head.alpha if kept else 0.0
            if not kept:
                judged[number] = without[0]
            told[head.name] = {**scores, "kept": kept}
        return told

    def _temperature(self, judged: Judged, chooses: I64) -> float:
        places = columns(judged.labels)
        known = [one for one in chooses.tolist() if key_of(self.truth[one][0]) in places]
        truth = np.array([places[key_of(self.truth[one][0])] for one in known], dtype=np.int64)
        return best_temperature(judged.scores[known], truth)

    def _weights(self, judged: Sequence[Judged], chooses: I64, fitted: Fitted) -> None:
        if len(judged) < 2 or self.classifier.several:
            return
        labels, probabilities, _ = aligned(judged, self.fit.at)
        places = columns(labels)
        known = [one for one in chooses.tolist() if key_of(self.truth[one][0]) in places]
        truth = np.array([places[key_of(self.truth[one][0])] for one in known], dtype=np.int64)
        weights = fit_weights(probabilities[:, known], truth)
        for head, own in zip(self.classifier.heads, weights.tolist(), strict=True):
            fitted.weights[head.name] = list(zip(labels, own, strict=True))

    def _thresholds(self, judged: Sequence[Judged], chooses: I64, fitted: Fitted) -> None:
        if not self.classifier.several:
            return
        together = self.classifier.together(judged)
        shares = together.parts.sum(0)[chooses]
        keys = [key_of(label) for label in together.labels]
        held = [{key_of(label) for label in self.truth[one]} for one in chooses.tolist()]
        truth = np.array([[key in few for key in keys] for few in held], dtype=np.int64)
        found, _ = f1_thresholds(shares, truth)
        ((together_at,), _) = f1_thresholds(shares.reshape(-1, 1), truth.reshape(-1, 1))
        fitted.threshold = min(float(together_at), 1.0)
        # A label that nobody here holds, or that nobody voted for, has no threshold of its own.
        has_own = np.isfinite(found)
        holding, own = np.where(has_own, truth.sum(axis=0), 0), np.where(has_own, found, 0.0)
        drawn = (holding * own + DRAWN_TO_ALL * fitted.threshold) / (holding + DRAWN_TO_ALL)
        fitted.thresholds += list(zip(together.labels, drawn.tolist(), strict=True))


def _joined(pieces: Sequence[Judged]) -> Judged:
    """Put together what one head said of several lots of things."""
    if len(pieces) == 1:
        return pieces[0]
    # Neighbours of different lots may hold different labels.
    labels = in_order(label for one in pieces for label in one.labels)
    places = columns(labels)
    count = sum(one.nearest.size for one in pieces)
    scores, probabilities = np.zeros((count, len(labels))), np.zeros((count, len(labels)))
    start = 0
    for one in pieces:
        at = [places[key_of(label)] for label in one.labels]
        end = start + one.nearest.size
        scores[start:end][:, at] = one.scores
        probabilities[start:end][:, at] = one.probabilities
        start = end
    first = pieces[0]
    queries = None
    if first.queries is not None:
        queries = np.concatenate([one.queries for one in pieces if one.queries is not None])
    return Judged(
        labels,
        scores,
        probabilities,
        np.concatenate([one.nearest for one in pieces]),
        [few for one in pieces for few in one.voters],
        first.classes,
        queries,
        first.facts,
    )


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths) if truths else 0.0


def _f1(hits: int, given: int, held: int) -> float:
    return 2.0 * hits / (given + held) if given + held else 0.0
