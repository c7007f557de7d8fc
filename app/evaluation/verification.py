"""Measures of verification: are two things the same, by a threshold on their score.

A pair is accepted if its score is at least the threshold. TAR is the share of equal pairs that are
accepted (FaceNet calls it VAL), FAR that of different pairs.
Source: Schroff, Kalenichenko & Philbin 2015 (FaceNet, arXiv 1503.03832), section 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.types import F64


class Roc(NamedTuple):
    """What thresholds accept, from none to all: float64[steps] each; the first accepts nothing."""

    far: F64
    tar: F64
    thresholds: F64


def roc(scores: NDArray[Any], same: NDArray[np.bool_]) -> Roc:
    """Follow the threshold down; equal scores are one step.

    scores   [n], higher for more alike
    same     bool[n], at least one of either
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked, equal = np.asarray(scores, np.float64)[order], np.asarray(same, np.bool_)[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    tar = np.cumsum(equal)[ends] / int(equal.sum())
    far = np.cumsum(~equal)[ends] / int((~equal).sum())
    return Roc(
        np.concatenate(([0.0], far)),
        np.concatenate(([0.0], tar)),
        np.concatenate(([np.inf], ranked[ends])),
    )


def roc_auc(curve: Roc) -> float:
    """Area under the curve: how likely an equal pair scores above a different one, ties half."""
    steps = np.diff(curve.far)
    return float((steps * (curve.tar[1:] + curve.tar[:-1]) / 2).sum())


def eer(curve: Roc) -> float:
    """Equal error rate: where as many equal pairs are refused as different ones are accepted.

    Between two thresholds the curve is a straight line.
    """
    over = curve.far - (1 - curve.tar)  # ascending from −1 to 1
    after = int(np.searchsorted(over, 0.0))
    if over[after] == 0:
        return float(curve.far[after])
    before = after - 1
    part = -over[before] / (over[after] - over[before])
    return float(curve.far[before] + part * (curve.far[after] - curve.far[before]))


def tar_at_far(curve: Roc, far: float) -> float:
    """Greatest share of equal pairs that a threshold accepts at a FAR of no more than `far`."""
    return float(curve.tar[curve.far <= far + 1e-15].max())


def ten_fold(scores: NDArray[Any], same: NDArray[np.bool_], folds: int = 10) -> tuple[float, float]:
    """Accuracy as on Labeled Faces in the Wild: the threshold comes from the other folds.

    Pair i of either kind belongs to fold i mod `folds`, so that each fold has its share of both.
    Of thresholds that are equally good the highest is taken.

    returns  mean and standard error of the folds' accuracies; nan with fewer pairs than folds
    Source: Huang et al. 2007, Labeled Faces in the Wild, section "restricted".
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, np.bool_)
    fold = np.empty(scores.size, np.int64)
    for kind in (same, ~same):
        if int(kind.sum()) < folds:
            return float("nan"), float("nan")
        fold[kind] = np.arange(int(kind.sum())) % folds
    reached = []
    for number in range(folds):
        rest, here = fold != number, fold == number
        curve = roc(scores[rest], same[rest])
        equal = int(same[rest].sum())
        right = curve.tar * equal + (1 - curve.far) * (int(rest.sum()) - equal)
        threshold = curve.thresholds[int(np.argmax(right))]
        reached.append(float(((scores[here] >= threshold) == same[here]).mean()))
    return float(np.mean(reached)), float(np.std(reached, ddof=1) / np.sqrt(folds))


def separation(scores: NDArray[Any], same: NDArray[np.bool_], tail: float = 0.05) -> float:
    """Gap between equal and different pairs: quantile(Sᵖ, tail) − quantile(Sⁿ, 1 − tail).

    Above 0 one threshold tells all but the tails apart; with `tail` 0 it is min Sᵖ − max Sⁿ.
    Source: the well-discriminative space of Jung et al. 2022 (UNPG, arXiv 2203.11593).
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, np.bool_)
    return float(np.quantile(scores[same], tail) - np.quantile(scores[~same], 1 - tail))
