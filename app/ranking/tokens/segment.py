"""Segment alignment: the stretch of the query that a stretch of the candidate repeats, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.kernels.segments import align
from app.ranking.tokens.sides import Assignment, Fact, Sides
from app.types import F64, I64


@dataclass(frozen=True, slots=True)
class Segment:
    """Local alignment of two sequences.

    threshold  similarity above which a pair is worth something
    gap        what a token without a partner costs inside the segment; None allows none
    reverse    the candidate is read backwards: two torn edges run against each other
    cyclic     both are closed, as contours are: a segment may run over the end
    """

    threshold: float = 0.5
    gap: float | None = 0.5
    reverse: bool = False
    cyclic: bool = False


def match_segment(sides: Sides, how: Segment) -> Assignment:
    """Find the best segment: Σ (S_ij − threshold) over its pairs, less its gaps.

    Weights are 1, and a pair is worth what it adds, its share of the gaps taken off. The score is
    the sum over m, so 1 − threshold where all of the query is found word for word: a long candidate
    is not punished for the rest of it. Facts: the first and last token on each side
    (`query_from`, `query_to`, `candidate_from`, `candidate_to`; −1 if nothing is alike), `gaps`
    and, if cyclic, `exact`.

    Source: PairingNet (arXiv 2312.08704, section 3.4) looks for such diagonals among contours.
    """
    similarity = sides.similarity
    if how.reverse:
        similarity = np.ascontiguousarray(similarity[:, ::-1])
    gap = np.inf if how.gap is None else how.gap
    exact = True
    if how.cyclic:
        worth, steps, exact = _align_loops(similarity, how.threshold, gap)
    else:
        m, n = similarity.shape
        worth, steps = align(similarity, how.threshold, gap, m, n, 0, 0)
    return _assignment(similarity, how, worth, steps, exact)


def _assignment(similarity: F64, how: Segment, worth: float, steps: I64, exact: bool) -> Assignment:
    m, n = similarity.shape
    pairs = steps % np.array([m, n], np.int64)
    gains = similarity[pairs[:, 0], pairs[:, 1]] - how.threshold
    if len(pairs):
        gains -= (gains.sum() - worth) / len(pairs)
    if how.reverse:
        pairs[:, 1] = n - 1 - pairs[:, 1]
    ends = [int(end) for end in (*pairs[0], *pairs[-1])] if len(pairs) else [-1] * 4
    spans = steps[-1] - steps[0] + 1 if len(pairs) else np.zeros(2, np.int64)
    facts: dict[str, Fact] = {
        "query_from": ends[0],
        "query_to": ends[2],
        "candidate_from": ends[1],
        "candidate_to": ends[3],
        "gaps": int(spans.sum() - 2 * len(pairs)),
    }
    if how.cyclic:
        facts["exact"] = exact
    return Assignment(pairs, np.ones(len(pairs)), gains, size=float(m), facts=facts)


def _align_loops(similarity: F64, threshold: float, gap: float) -> tuple[float, I64, bool]:
    """Align two loops, using no token twice.

    returns  worth, steps (not taken round), and whether nothing better can exist

    Reading both twice allows more than the task does: if what is best there uses no token twice,
    it is the answer. It does otherwise where the loops agree nearly all round; then the shorter one
    is cut open at each of its places in turn. What is best of these can still go round the longer
    one by gaps; then its best allowed stretch is taken, and `exact` is False.
    """
    m, n = similarity.shape
    worth, steps = align(similarity, threshold, gap, 2 * m, 2 * n, 0, 0)
    if _within(steps, m, n):
        return worth, steps, True
    worth, steps = -1.0, np.empty((0, 2), np.int64)
    for cut in range(min(m, n)):
        if m <= n:
            found, path = align(similarity, threshold, gap, m, 2 * n, cut, 0)
            path[:, 0] += cut
        else:
            found, path = align(similarity, threshold, gap, 2 * m, n, 0, cut)
            path[:, 1] += cut
        if found > worth:
            worth, steps = found, path
    if _within(steps, m, n):
        return worth, steps, True
    return (*_best_stretch(similarity, threshold, gap, steps), False)


def _within(steps: I64, m: int, n: int) -> bool:
    """Whether a path uses no token twice."""
    if not len(steps):
        return True
    rows, columns = steps[-1] - steps[0] + 1
    return bool(rows <= m and columns <= n)


def _best_stretch(similarity: F64, threshold: float, gap: float, steps: I64) -> tuple[float, I64]:
    m, n = similarity.shape
    gains = similarity[steps[:, 0] % m, steps[:, 1] % n] - threshold
    skipped = np.diff(steps, axis=0).sum(axis=1) - 2
    costs = np.append(0.0, np.where(skipped > 0, skipped * gap, 0.0).cumsum())
    sums = np.append(0.0, gains.cumsum())
    best, stretch = 0.0, steps[:0]
    for first in range(len(steps)):
        spans = steps[first:] - steps[first] + 1
        allowed = int(((spans[:, 0] <= m) & (spans[:, 1] <= n)).sum())
        stop = slice(first, first + allowed)
        worths = sums[1:][stop] - sums[first] - (costs[stop] - costs[first])
        last = int(worths.argmax())
        if worths[last] > best:
            best, stretch = float(worths[last]), steps[first : first + last + 1]
    return best, stretch
