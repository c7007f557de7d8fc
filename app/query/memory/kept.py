"""A classifier as it is kept: how it judges, in the words of the request, and what was fitted."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from app.errors import KeptOutdated
from app.query.labels import Label, in_order
from app.query.memory.class_means import Kept
from app.query.memory.fitting import Fitted
from app.query.memory.threshold import Space, space_from
from app.types import F64, I64

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptClassifier:
    """What is kept under a name.

    definition   members of `classify` without what is to be judged
    spaces       of each head, by its name
    report       what fitting was worth
    """

    definition: Json
    spaces: dict[str, Space]
    fitted: Fitted
    report: Json

    def shown(self) -> Json:
        """Give what answers show: no vectors."""
        fitted = self.fitted
        return {
            "definition": self.definition,
            "spaces": {name: asdict(space) for name, space in self.spaces.items()},
            "fitted": {
                "temperatures": fitted.temperatures,
                "alphas": fitted.alphas,
                "weights": {name: _by_label(own) for name, own in fitted.weights.items()},
                "thresholds": _by_label(fitted.thresholds),
                "threshold": fitted.threshold,
                "means": {
                    name: {
                        "labels": list(own.labels),
                        "counts": own.counts.tolist(),
                    }
                    for name, own in fitted.means.items()
                },
            },
            "report": self.report,
        }

    def written(self) -> bytes:
        """Write it as it is kept."""
        fitted = self.fitted
        means = {
            name: {
                "labels": own.labels,
                "counts": own.counts.tolist(),
                "means": base64.b64encode(own.means.astype("<f8").tobytes()).decode(),
            }
            for name, own in fitted.means.items()
        }
        return orjson.dumps(
            {
                "definition": self.definition,
                "spaces": {name: asdict(space) for name, space in self.spaces.items()},
                "temperatures": fitted.temperatures,
                "alphas": fitted.alphas,
                "weights": fitted.weights,
                "thresholds": fitted.thresholds,
                "threshold": fitted.threshold,
                "means": means,
                "report": self.report,
            }
        )


def _by_label(pairs: list[tuple[Label, float]]) -> list[Json]:
    return [{"label": label, "value": value} for label, value in pairs]


def classifier_from(body: bytes) -> KeptClassifier:
    """Read what `written` wrote. It may be anybody's: raises KeptOutdated if it is not that."""
    try:
        raw = orjson.loads(body)
        spaces = {_text(name): space_from(one) for name, one in raw["spaces"].items()}
        fitted = Fitted(
            {_text(name): _number(one) for name, one in raw["temperatures"].items()},
            {_text(name): _number(one) for name, one in raw["alphas"].items()},
            {_text(name): _labelled(own) for name, own in raw["weights"].items()},
            _labelled(raw["thresholds"]),
            None if raw["threshold"] is None else _number(raw["threshold"]),
            {
                _text(name): _means(own, spaces[name].dimension)
                for name, own in raw["means"].items()
            },
        )
        if any(value <= 0 for value in fitted.temperatures.values()):
            raise ValueError
        if not isinstance(raw["definition"], dict) or not isinstance(raw["report"], dict):
            raise ValueError
        return KeptClassifier(raw["definition"], spaces, fitted, raw["report"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise KeptOutdated("the classifier cannot be read: make it anew") from None


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ValueError
    if raw < 0:
        raise ValueError
    return float(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return raw


def _label(raw: object) -> Label:
    if not isinstance(raw, str | int | float):
        raise ValueError
    return raw


def _labelled(raw: Any) -> list[tuple[Label, float]]:
    return [(_label(label), _number(value)) for label, value in raw]


def _means(raw: Mapping[str, Any], dimension: int) -> Kept:
    labels = [_label(one) for one in raw["labels"]]
    numbers = np.frombuffer(base64.b64decode(raw["means"], validate=True), "<f8")
    counts: I64 = np.array(raw["counts"], dtype=np.int64)
    means: F64 = numbers.reshape(len(labels), dimension).astype(np.float64)
    if counts.shape != (len(labels),) or (counts < 1).any() or not np.isfinite(means).all():
        raise ValueError
    if in_order(labels) != labels:
        raise ValueError
    return Kept(labels, means, counts)
