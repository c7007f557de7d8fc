"""Classifiers as requests say them, run on a view; an encoder is a dict from text to vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.backends.base import Backend, View
from app.query.expression import Leaf
from app.query.memory.classify import Classifier
from app.query.memory.fitting import WHAT, Fit, Fitted, Fitting
from app.query.memory.inputs import Thing
from app.query.memory.read import ClassifierReader
from app.types import F64, Definition, Metric, Point, VectorField
from tests.reference_backend import ReferenceBackend

Json = dict[str, Any]

MAX_K = 200


def filled(
    vectors: F64,
    attributes: Sequence[Mapping[str, Any]],
    metric: Metric = Metric.COSINE,
    backend: Backend | None = None,
) -> Backend:
    """A backend with a collection "c" of points 0, 1, 2, …"""
    backend = backend or ReferenceBackend()
    backend.create("c", Definition({"v": VectorField("v", vectors.shape[1], metric)}))
    rows = vectors.astype(np.float32)
    points = [
        Point(number, {"v": row}, dict(having))
        for number, (row, having) in enumerate(zip(rows, attributes, strict=True))
    ]
    for start in range(0, len(points), 1000):
        backend.upsert("c", points[start : start + 1000])
    return backend


def read(members: Mapping[str, Any]) -> tuple[Classifier, list[Thing]]:
    reader = ClassifierReader(members, "", max_k=MAX_K, max_nodes=100)
    things = reader.things() if "inputs" in members else []
    return reader.classifier(), things


def leaves_for(
    classifier: Classifier, things: Sequence[Thing], field: VectorField, texts: Mapping[str, F64]
) -> dict[tuple[str, str], Any]:
    """What the leaves mean: vectors as given, ids, and texts by the dict."""
    leaves: dict[tuple[str, str], Any] = {}
    expressions = [thing.expression for thing in things]
    expressions += [lookup.expression for _, lookup in classifier.lookups()]
    for expression in expressions:
        assert isinstance(expression, Leaf)
        value = expression.value
        if expression.kind == "text":
            value = texts[value].astype(np.float32)
        elif expression.kind == "vector":
            value = np.asarray(value, dtype=np.float32)
        leaves[expression.at, field.name] = value
    return leaves


def classified(
    backend: Backend, members: Mapping[str, Any], texts: Mapping[str, F64] | None = None
) -> list[Json]:
    """Answer a request."""
    classifier, things = read(members)

    def run(view: View) -> list[Json]:
        field = view.definition.vectors["v"]
        leaves = leaves_for(classifier, things, field, texts or {})
        fields = {head.at: field for head in classifier.heads}
        return classifier.answers(classifier.judge(view, things, fields, leaves))

    return backend.view("c", run)


def labels(
    backend: Backend, queries: F64, texts: Mapping[str, F64] | None = None, **members: Any
) -> list[Any]:
    """The labels of many vectors, as many at a time as a request takes."""
    found: list[Any] = []
    for start in range(0, len(queries), 250):
        inputs = [{"vector": row} for row in queries[start : start + 250]]
        answers = classified(backend, {"inputs": inputs, "label": "y", **members}, texts)
        found += [answer["label"] for answer in answers]
    return found


def fitted(
    backend: Backend,
    members: Mapping[str, Any],
    texts: Mapping[str, F64] | None = None,
    *,
    what: Sequence[str] = WHAT,
    keep: bool = False,
    **more: Any,
) -> tuple[Classifier, Fitted, Json]:
    """Fit a classifier on the points that it remembers."""
    classifier, _ = read(members)
    given: Json = {"label": "y", "filter": None, "sample": 400, "seed": 0, **more}
    fit = Fit("/fit", what=frozenset(what), keep=keep, **given)

    def run(view: View) -> tuple[Fitted, Json]:
        field = view.definition.vectors["v"]
        leaves = leaves_for(classifier, [], field, texts or {})
        fields = {head.at: field for head in classifier.heads}
        return Fitting(view, classifier, fit, fields, leaves).run()

    chosen, report = backend.view("c", run)
    return chosen.into(classifier), chosen, report


def accuracy(found: Sequence[Any], truth: Sequence[Any]) -> float:
    return float(np.mean([a == b for a, b in zip(found, truth, strict=True)]))


def unit(vectors: F64) -> F64:
    scaled: F64 = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled
