"""Measures of classification, and of groups against classes; labels are integers from 0 on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.types import F64, I64


class Scores(NamedTuple):
    """How well labels were told; 0 … 1 each.

    macro_f1      mean F1 of the classes that occur, each alike
    mean_recall   mean recall of the classes that are true of something
    """

    accuracy: float
    macro_f1: float
    micro_f1: float
    mean_recall: float


def table(truth: I64, told: I64) -> NDArray[np.int64]:
    """Count how often each label was told for each: int64[true, told], square."""
    classes = int(max(truth.max(), told.max())) + 1
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, told), 1)
    return counts


def scores(truth: I64, told: I64) -> Scores:
    """Measure labels against the truth: int64[n] each, n ≥ 1; −1 in `told` is no answer.

    With one label each, micro-F1 is the F1 of all decisions: less than accuracy never, and more
    where answers were refused.
    """
    answered = told >= 0
    right = int((truth == told).sum())
    counts = (
        table(truth[answered], told[answered]) if answered.any() else np.zeros((1, 1), np.int64)
    )
    classes = max(int(truth.max()) + 1, counts.shape[0])
    hits, guessed, due = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    hits[: counts.shape[0]] = np.diag(counts)
    guessed[: counts.shape[0]] = counts.sum(axis=0)
    due[: int(truth.max()) + 1] = np.bincount(truth)
    occurs = (guessed + due) > 0
    f1 = 2 * hits[occurs] / (guessed + due)[occurs]
    return Scores(
        right / truth.size,
        float(f1.mean()),
        2 * right / (int(answered.sum()) + truth.size),
        float((hits[due > 0] / due[due > 0]).mean()),
    )


def calibration_error(
    confidence: NDArray[Any], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error: Σ_b n_b/n · |accuracy(b) − confidence(b)|, bins of equal width.

    confidence   [n]; what lies outside of 0 … 1 is taken for the nearest end
    Source: Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017 (arXiv 1706.04599).
    """
    confidence = np.clip(np.asarray(confidence, np.float64), 0.0, 1.0)
    correct = np.asarray(correct, np.float64)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    off = np.bincount(place, correct - confidence, minlength=bins)
    return float(np.abs(off).sum() / confidence.size)


def vote(labels: Sequence[Any], weights: Sequence[float]) -> tuple[Any, float]:
    """Let neighbours vote, nearest first: the label with most weight, and its share of all.

    Negative weights count as nothing; if all do, each vote counts alike. Of equal labels the one
    that came first wins. Returns (None, 0) of nobody.
    """
    sums: dict[Any, float] = {}
    even = not any(weight > 0 for weight in weights)
    for label, weight in zip(labels, weights, strict=True):
        sums[label] = sums.get(label, 0.0) + (1.0 if even else max(weight, 0.0))
    if not sums:
        return None, 0.0
    best = max(sums, key=sums.__getitem__)
    return best, sums[best] / sum(sums.values())


# ── groups ───────────────────────────────────────────────────────────────────────────────────


def mutual_information(truth: I64, groups: I64) -> float:
    """Normalised mutual information: I(T; G) over the mean of both entropies; 0 … 1.

    1 if both are one group. Source: Strehl & Ghosh 2002, with the arithmetic mean.
    """
    joint = table(truth, groups) / truth.size
    across, down = joint.sum(axis=1), joint.sum(axis=0)
    mean = (_entropy(across) + _entropy(down)) / 2
    if mean == 0:
        return 1.0
    return max(0.0, (_entropy(across) + _entropy(down) - _entropy(joint.ravel())) / mean)


def adjusted_rand(truth: I64, groups: I64) -> float:
    """Rand's index less what chance gives: 1 for the same groups, about 0 for random ones.

    Source: Hubert & Arabie 1985.
    """
    counts = table(truth, groups)
    both, every = float(_pairs(counts).sum()), float(_pairs(np.array(truth.size)))
    one, other = float(_pairs(counts.sum(axis=1)).sum()), float(_pairs(counts.sum(axis=0)).sum())
    expected, most = one * other / every if every else 0.0, (one + other) / 2
    return (both - expected) / (most - expected) if most != expected else 1.0


def purity(truth: I64, groups: I64) -> float:
    """Share of things that are of the most frequent class of their group."""
    return float(table(truth, groups).max(axis=0).sum() / truth.size)


def _entropy(shares: F64) -> float:
    held = shares[shares > 0]
    return float(-(held * np.log(held)).sum())


def _pairs(counts: NDArray[Any]) -> F64:
    found: F64 = counts * (counts - 1) / 2
    return found
