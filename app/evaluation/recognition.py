"""Measures of recognition in the open: what is recognised, and how sure one was of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.types import F64, I64


def gap(
    confidence: NDArray[Any],
    correct: NDArray[np.bool_],
    answerable: int,
    query: I64 | None = None,
) -> float:
    """Global average precision, or micro-AP: all predictions in one list, by their confidence.

    GAP = 1/M · Σ_i P(i) · rel(i)

    confidence  [n] numbers, comparable between queries
    correct     bool[n]
    answerable  M, the queries that have a true answer; predictions for others only do harm
    query       int64[n] which query a prediction is of; of several only the surest counts, the
                earliest of those. None: each is of its own

    Predictions of equal confidence are one step: P(i) is that at the step's end, so that their
    order does not matter. Returns 0 … 1; nan if nothing is answerable.
    Source: Perronnin, Liu & Renders 2009; as used by Google Landmarks v2 (arXiv 2004.01804).
    """
    if not answerable:
        return float("nan")
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.bool_)
    if query is not None:
        order = np.lexsort((np.arange(confidence.size), -confidence))
        _, first = np.unique(np.asarray(query)[order], return_index=True)
        kept = order[first]
        confidence, correct = confidence[kept], correct[kept]
    order = np.argsort(-confidence, kind="stable")
    confidence, correct = confidence[order], correct[order]
    ends = _ends(confidence)
    hits = np.cumsum(correct)[ends]
    precisions = hits / (ends + 1)
    return float((precisions * np.diff(hits, prepend=0)).sum() / answerable)


def rejection_curve(
    confidence: NDArray[Any], correct: NDArray[np.bool_], known: NDArray[np.bool_]
) -> tuple[F64, F64, F64]:
    """Trade answers for refusals: what each threshold of confidence accepts.

    known    bool[n], whether the query has a true answer

    returns  thresholds, descending; share of strangers that are wrongly accepted; share of the
             known that are accepted and right
    """
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    ranked = np.asarray(confidence, np.float64)[order]
    right, ours = np.asarray(correct, np.bool_)[order], np.asarray(known, np.bool_)[order]
    ends = _ends(ranked)
    strangers = np.cumsum(~ours)[ends] / max(1, int((~ours).sum()))
    answered = np.cumsum(right & ours)[ends] / max(1, int(ours.sum()))
    return ranked[ends], strangers, answered


def _ends(descending: F64) -> I64:
    """Places of the last of each run of equal numbers."""
    found: I64 = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))[
        : descending.size
    ]
    return found
