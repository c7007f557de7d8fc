"""Memory: what to classify and verify, and what the service answers, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ._images import image_to_wire
from ._listed import Listed
from ._queries import given, plain

Json = Mapping[str, Any]

ThingLike: TypeAlias = "str | bytes | Path | Mapping[str, Any]"
"""A text; an image; or a query's leaf or composition: {"id": 7}, {"vector": [0.1, 0.2]}, …"""

JUDGING = frozenset(
    {
        *("using", "label", "filter", "method", "k", "weights", "beta", "ef", "exact"),
        *("reciprocal", "augment", "temperature", "nuisance", "labels", "templates", "aggregate"),
        *("group_above", "alpha", "shots", "sample", "labelled", "heads", "class_weights", "fuse"),
        *("compose", "multi_label", "thresholds", "reject", "top", "explain"),
    }
)
"""Options of `classify` and `make_classifier`, as docs/similarity/memory.md has them."""


# ── what is sent ─────────────────────────────────────────────────────────────────────────────


def thing_to_wire(thing: ThingLike) -> dict[str, Any]:
    """Return what is to be judged as the service reads it."""
    if isinstance(thing, str):
        return {"text": thing}
    if isinstance(thing, bytes | Path):
        return {"image": image_to_wire(thing)}
    found: dict[str, Any] = plain(thing)
    return found


def things_to_wire(things: Iterable[ThingLike]) -> list[dict[str, Any]]:
    """Return several; raises TypeError for a single one."""
    if isinstance(things, str | bytes | Path | Mapping):
        raise TypeError("expected a list of inputs, received one")
    return [thing_to_wire(thing) for thing in things]


def judging_to_wire(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a classifier; raises TypeError for unknown ones."""
    unknown = options.keys() - JUDGING
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    return given(options)


def pairs_to_wire(pairs: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Return pairs: their things in the form of the wire."""
    if pairs is None:
        return None
    return [
        {
            name: thing_to_wire(value) if name in ("a", "b") else value
            for name, value in pair.items()
        }
        for pair in pairs
    ]


def verify_to_wire(
    a: ThingLike | None, b: ThingLike | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is to be verified."""
    things = {
        "a": None if a is None else thing_to_wire(a),
        "b": None if b is None else thing_to_wire(b),
    }
    return given({**things, **options})


# ── what comes back ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label of a classification.

    label   a label; two of a compound one
    score   what compares between inputs
    heads   what each head adds to the probability, if there are several
    """

    label: Any
    probability: float
    score: float
    heads: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """What one input is.

    label      the best one; None where the service abstains
    nearest    similarity of the likest thing in memory; None if there is nothing
    abstained  why it does, else None
    labels     all that reach their threshold, where several were asked for
    scores     the best labels, best first
    voters     who spoke for what, by head; only if explained
    """

    label: Any
    probability: float
    margin: float
    nearest: float | None
    abstained: str | None
    scores: tuple[LabelScore, ...]
    labels: list[Any] | None = None
    voters: dict[str, list[dict[str, Any]]] | None = None


@dataclass(frozen=True, slots=True)
class Classifications(Listed[Classification]):
    """One result for each input, in order.

    explain   what each head did, if asked for
    """

    results: tuple[Classification, ...]
    took_ms: float
    explain: dict[str, Any] | None = None

    @property
    def _items(self) -> tuple[Classification, ...]:
        return self.results


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier that the collection keeps.

    spaces   what the vectors of each head are
    fitted   what was chosen on labelled points
    report   what that was worth
    """

    name: str
    definition: dict[str, Any]
    spaces: dict[str, dict[str, Any]]
    fitted: dict[str, Any]
    report: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The name of something that a collection keeps."""

    name: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A share that was counted, `hits` of `of`, with its interval at 95 %.

    low, high     as if pairs were independent
    over_labels   as if labels were drawn, and with them all their pairs; None where labels are
                  not known, or it is not what was measured
    """

    share: float
    low: float
    high: float
    hits: int
    of: int
    over_labels: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores at or above `accept` are the same, below `reject` different, between unsure.

    measured     "held_out" or "calibration": where `far` and `tar` were counted
    far, tar     false and true accepts
    chosen_far, chosen_tar   the same among the pairs that the threshold was chosen by
    """

    name: str
    using: str
    encoder: str | None
    space: str | None
    accept: float
    reject: float
    target_far: float
    target_frr: float | None
    measured: str
    far: Rate
    tar: Rate
    chosen_far: Rate
    chosen_tar: Rate
    equal_error: float
    created_at: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a pair is.

    score       higher for liker; None if nobody is enrolled
    distance    squared between unit vectors, plain under l2, None for products
    decision    "same", "different" or "unsure"; None without a threshold
    confidence  that it is the same, as if half of all pairs were
    far, frr    share of impostors that score as high, and of genuine pairs that score lower
    """

    score: float | None
    distance: float | None
    decision: str | None
    confidence: float | None = None
    far: float | None = None
    frr: float | None = None
    enrolled: int | None = None


@dataclass(frozen=True, slots=True)
class Verifications(Listed[Verification]):
    """One answer for each pair, in order, and the kept threshold that was used."""

    pairs: tuple[Verification, ...]
    took_ms: float
    threshold: Threshold | None = None

    @property
    def _items(self) -> tuple[Verification, ...]:
        return self.pairs


def classifications_from_json(body: Json) -> Classifications:
    results = tuple(_classification(one) for one in body["results"])
    return Classifications(results, body["took_ms"], body.get("explain"))


def _classification(body: Json) -> Classification:
    scores = tuple(
        LabelScore(one["label"], float(one["probability"]), float(one["score"]), one.get("heads"))
        for one in body["scores"]
    )
    return Classification(
        body["label"],
        float(body["probability"]),
        float(body["margin"]),
        body["nearest"],
        body["abstained"],
        scores,
        body.get("labels"),
        body.get("voters"),
    )


def classifier_from_json(body: Json) -> Classifier:
    return Classifier(
        body["name"],
        dict(body["definition"]),
        dict(body["spaces"]),
        dict(body["fitted"]),
        dict(body["report"]),
        body["created_at"],
    )


def kept_from_json(listed: Sequence[Json]) -> list[Kept]:
    return [Kept(one["name"], one["created_at"]) for one in listed]


def threshold_from_json(body: Json) -> Threshold:
    return Threshold(
        body["name"],
        body["using"],
        body["encoder"],
        body["space"],
        float(body["accept"]),
        float(body["reject"]),
        float(body["target_far"]),
        body["target_frr"],
        body["measured"],
        _rate(body["far"]),
        _rate(body["tar"]),
        _rate(body["chosen"]["far"]),
        _rate(body["chosen"]["tar"]),
        float(body["equal_error"]),
        body["created_at"],
    )


def _rate(body: Json) -> Rate:
    return Rate(
        float(body["share"]),
        float(body["low"]),
        float(body["high"]),
        body["hits"],
        body["of"],
        body["over_labels"],
    )


def verifications_from_json(body: Json) -> Verifications:
    pairs = tuple(
        Verification(
            one["score"],
            one["distance"],
            one["decision"],
            one.get("confidence"),
            one.get("far"),
            one.get("frr"),
            one.get("enrolled"),
        )
        for one in body["pairs"]
    )
    used = body["threshold"]
    return Verifications(
        pairs, body["took_ms"], None if used is None else threshold_from_json(used)
    )
