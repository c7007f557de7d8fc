"""From what speaks for each label to a label, several of them, or none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.ranking.softmax import softmax_topk
from app.types import F64, I64


class Bar(NamedTuple):
    """What an answer must reach; what does not is abstained from. None asks for nothing.

    score        of the likest thing in memory
    probability  of the best label
    margin       between the probabilities of the best two labels
    """

    score: float | None = None
    probability: float | None = None
    margin: float | None = None


def margins(probabilities: F64) -> F64:
    """Best less second best of each row, float64[n, c] → float64[n]; the best where it is alone."""
    if probabilities.shape[1] == 0:
        return np.zeros(probabilities.shape[0])
    if probabilities.shape[1] == 1:
        return probabilities[:, 0]
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    found: F64 = top[:, 1] - top[:, 0]
    return found


def kept_out(nearest: float, probability: float, margin: float, bar: Bar) -> str | None:
    """Say which part of the bar an answer fails, or None. What has no score (NaN) fails a bar."""
    for name, reached, asked in (
        ("min_score", nearest, bar.score),
        ("min_probability", probability, bar.probability),
        ("min_margin", margin, bar.margin),
    ):
        if asked is not None and not reached >= asked:
            return name
    return None


def f1_thresholds(scores: F64, truth: I64) -> tuple[F64, F64]:
    """Choose for each label the threshold with the best F1; a label is given at or above it.

    scores   float64[n, c] of points that did not take part in making them
    truth    bool or 0/1 [n, c]
    returns  float64[c], and the F1 reached. Of equal ones the highest. A label that no point holds
             gets the threshold inf: it would be wrong each time
    Source: F1 is best at a cut between two scores (Lipton et al. 2014, arXiv 1402.1892).
    """
    n, labels = scores.shape
    found, reached = np.full(labels, np.inf), np.zeros(labels)
    for label in range(labels):
        order = np.argsort(-scores[:, label], kind="stable")
        sorted_scores = scores[order, label]
        held = truth[order, label].astype(np.int64)
        total = int(held.sum())
        if total == 0:
            continue
        right = np.cumsum(held)
        f1 = 2.0 * right / (np.arange(1, n + 1) + total)
        # Only where the next score is lower can a cut be.
        last = np.append(sorted_scores[:-1] > sorted_scores[1:], True)
        f1 = np.where(last & (sorted_scores > 0), f1, 0.0)
        best = int(np.argmax(f1))
        if f1[best] > 0:
            below = sorted_scores[best + 1] if best + 1 < n else sorted_scores[best]
            found[label] = (sorted_scores[best] + max(below, 0.0)) / 2
            if found[label] <= below:  # neighbours in float64
                found[label] = sorted_scores[best]
            reached[label] = f1[best]
    return found, reached


TEMPERATURES: F64 = np.geomspace(0.002, 2.0, 61)


def best_temperature(scores: F64, truth: I64) -> float:
    """Choose τ of softmax(s / τ) for the least Σ −log p(truth), on a fixed grid of .002 … 2.

    scores   float64[n, c]
    truth    int64[n], the column of each one's label
    Source: temperature scaling (Guo et al. 2017, arXiv 1706.04599).
    """
    picked = np.arange(truth.size)
    losses = [
        -np.log(np.maximum(softmax_topk(scores, float(tau))[picked, truth], 1e-12)).sum()
        for tau in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])
