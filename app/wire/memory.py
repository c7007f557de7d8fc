"""Memory: classify and verify. `app.query.memory` reads the parts, and says it better."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import FailFast, Field, WithJsonSchema

from app.wire.base import NOT_EMPTY, Filter, WireModel
from app.wire.language import part

_LABEL = {"type": ["string", "integer", "number", "boolean"]}

Thing = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A query's leaf or composition: {text}, {image}, {record}, {vector}, "
            "{id}, {tokens}, …; with `nuisance`, the group it is of.",
            "type": "object",
        }
    ),
]

Things = Annotated[list[Thing], FailFast(), Field(json_schema_extra=NOT_EMPTY)]

Label = Annotated[Any, WithJsonSchema(_LABEL)]

MaybeLabel = Annotated[Any, WithJsonSchema({"type": [*_LABEL["type"], "null"]})]

AnyLabel = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A label, or two of a compound one; null where it abstains.",
            "anyOf": [
                {"type": [*_LABEL["type"], "null"]},
                {"type": "array", "items": _LABEL, "minItems": 2, "maxItems": 2},
            ],
        }
    ),
]

Labels = Annotated[
    Any,
    part(
        "Labels by name, or by text: {label: text, list of texts or {attributes: […]}}.",
        "object",
        "array",
    ),
]

ByLabel = Annotated[Any, part("Numbers by label.", "object")]


class Judging(WireModel):
    """How to judge: one head, or several of `heads`, and what is made of what they say.

    method       knn, prototypes, zero_shot or cache
    label        the attribute that says what a point is
    filter       which points are remembered
    k, weights, beta, ef, exact, reciprocal, augment     of knn
    temperature, nuisance                                of prototypes
    labels, templates, aggregate, group_above            of zero_shot and cache
    alpha, shots, sample, labelled                       of cache
    heads        {name, weight} and the members above, of each
    """

    using: str | None = None
    label: str | None = None
    filter: Filter = None
    method: str | None = None
    k: int | None = None
    weights: str | None = None
    beta: float | None = None
    ef: int | None = None
    exact: bool | None = None
    reciprocal: bool | None = None
    augment: int | None = None
    temperature: float | None = None
    nuisance: str | None = None
    labels: Labels = None
    templates: list[str] | None = None
    aggregate: str | None = None
    group_above: float | None = None
    alpha: float | None = None
    shots: int | None = None
    sample: int | None = None
    labelled: bool | None = None
    heads: Annotated[Any, part("Several heads.", "array")] = None
    class_weights: Annotated[Any, part("By head, weights by label.", "object")] = None
    fuse: str | None = None
    compose: Annotated[
        Any, part("pairs, or {pairs, by, temperature}: labels of two.", "string", "object")
    ] = None
    multi_label: bool | None = None
    thresholds: Annotated[Any, part("One share, or shares by label.", "number", "object")] = None
    reject: Annotated[
        Any, part("{min_score or threshold, min_probability, min_margin}.", "object")
    ] = None
    top: int | None = None
    explain: bool | None = None


class Classify(Judging):
    """Things to be judged; by a kept `classifier`, or as the other members say."""

    inputs: Things
    classifier: str | None = None


class LabelScore(WireModel):
    """One label of an answer.

    score   what compares between inputs
    heads   what each head adds to the probability
    """

    label: AnyLabel
    probability: float
    score: float
    heads: dict[str, float] | None = None


class Classified(WireModel):
    """What one input is.

    label      the best one; null where it abstains
    nearest    similarity of the likest thing in memory; null if there is nothing
    abstained  why: min_score, min_probability, min_margin, nothing_like_it, nothing_remembered;
               null if it does not
    labels     all that reach their threshold, where several are asked for
    voters     who spoke for what, by head; only if explained
    """

    label: AnyLabel
    probability: float
    margin: float
    nearest: float | None
    abstained: str | None
    labels: list[AnyLabel] | None = None
    scores: list[LabelScore]
    voters: dict[str, list[dict[str, Any]]] | None = None


class ClassifyAnswer(WireModel):
    """One result for each input, in order; all on one state of the collection."""

    results: list[Classified]
    took_ms: float
    explain: dict[str, Any] | None = None


class Fit(WireModel):
    """Numbers to be chosen on labelled points, each judged without itself.

    what        some of temperature, cache, weights, thresholds; all that apply without it
    label       the attribute that tells what they are, if it is not the heads' own
    sample      how many of those that pass the filter
    keep_means  whether class means stay as they are now
    """

    what: list[str] | None = None
    label: str | None = None
    filter: Filter = None
    sample: int | None = None
    seed: int | None = None
    keep_means: bool | None = None


class MakeClassifier(Judging):
    """A classifier to be kept, fitted if that is asked for."""

    fit: Fit | None = None


class Classifier(WireModel):
    """A classifier that is kept: its definition, what was fitted, and what that was worth."""

    name: str
    definition: dict[str, Any]
    spaces: dict[str, dict[str, Any]]
    fitted: dict[str, Any]
    report: dict[str, Any]
    created_at: str


class Learn(WireModel):
    """Examples that kept class means move towards, in their order: inputs with their `label`.

    momentum   share of each new example; null makes the mean one of all examples
    """

    examples: Things
    momentum: float | None = None


class Named(WireModel):
    """Something that is kept."""

    name: str
    created_at: str


class Classifiers(WireModel):
    """The classifiers of a collection, by name."""

    classifiers: list[Named]


class LabelledPair(WireModel):
    """Two things, and whether they are the same."""

    a: Thing
    b: Thing
    same: bool


class Pair(WireModel):
    """Two things; or one, and the label that it claims to have."""

    a: Thing
    b: Annotated[Any, part("As `a`.", "object")] = None
    claim: MaybeLabel = None


class Verify(WireModel):
    """Whether two things are the same: `a` and `b`, `a` and a `claim`, or `pairs` of such.

    threshold   the name of a kept one, a score, or {accept, reject}; scores alone without it
    label, filter, best_of   whom a claim is held against: max is the likest, mean their mean
    """

    a: Annotated[Any, part("A query's leaf or composition.", "object")] = None
    b: Annotated[Any, part("As `a`.", "object")] = None
    claim: MaybeLabel = None
    pairs: list[Pair] | None = Field(None, fail_fast=True)
    using: str | None = None
    threshold: Annotated[
        Any, part("A name, a score, or {accept, reject}.", "string", "number", "object")
    ] = None
    label: str | None = None
    filter: Filter = None
    best_of: str | None = None


class Verified(WireModel):
    """What a pair is.

    score       higher for liker; null if nobody is enrolled under the claim
    distance    squared between unit vectors, plain under l2, null for products
    decision    null without a threshold
    confidence  that it is the same, as if half of all pairs were
    far, frr    share of impostors that score as high, and of genuine pairs that score lower
    enrolled    points that hold the claimed label
    """

    score: float | None
    distance: float | None
    decision: Literal["same", "different", "unsure"] | None
    confidence: float | None = None
    far: float | None = None
    frr: float | None = None
    enrolled: int | None = None


class Rate(WireModel):
    """A share that was counted, `hits` of `of`, with its interval at 95 %.

    low, high     as if pairs were independent (Clopper-Pearson)
    over_labels   as if labels were drawn, and with them all their pairs; null where labels are
                  not known, or it is not what was measured
    """

    share: float
    low: float
    high: float
    hits: int
    of: int
    over_labels: list[float] | None


class Chosen(WireModel):
    """Rates among the pairs that a threshold was chosen by."""

    far: Rate
    tar: Rate


class Threshold(WireModel):
    """A threshold that is kept, and where it comes from.

    accept, reject   same at or above the one, different below the other
    measured         "held_out": pairs of other labels than those it was chosen by
    far, tar         false and true accepts among these
    """

    name: str
    using: str
    encoder: str | None
    space: str | None
    accept: float
    reject: float
    target_far: float
    target_frr: float | None
    measured: Literal["held_out", "calibration"]
    far: Rate
    tar: Rate
    chosen: Chosen
    equal_error: float
    created_at: str


class VerifyAnswer(WireModel):
    """One answer for each pair, in order."""

    pairs: list[Verified]
    threshold: Threshold | None
    took_ms: float


class ChooseThreshold(WireModel):
    """A threshold to be chosen for a rate of false accepts, by pairs that are labelled.

    pairs       such pairs; or else
    label, filter, sample   points to draw, of which those that share a label are the same
    target_far  share of impostors that may be accepted
    target_frr  share of genuine pairs that may be called different; between both is unsure
    held_out    whether half of the labels (or pairs) is left to measure on; without it true for
                points and false for pairs
    """

    using: str | None = None
    pairs: list[LabelledPair] | None = Field(None, fail_fast=True)
    label: str | None = None
    filter: Filter = None
    sample: int | None = None
    seed: int | None = None
    target_far: float | None = None
    target_frr: float | None = None
    held_out: bool | None = None


class Thresholds(WireModel):
    """The thresholds of a collection, by name."""

    thresholds: list[Named]
