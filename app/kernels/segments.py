"""The dynamic programme of local alignment: the one matcher whose steps depend on each other."""

from __future__ import annotations

import numba as nb
import numpy as np

from app.types import F64, I64

STOP, DIAGONAL, UP, LEFT = 0, 1, 2, 3


@nb.njit(nogil=True, cache=True, boundscheck=False)
def align(
    similarity: F64, threshold: float, gap: float, rows: int, columns: int, first: int, at: int
) -> tuple[float, I64]:
    """Find the best local alignment of a run of rows with a run of columns.

    similarity  float64[m, n]
    threshold   a pair is worth its similarity less this
    gap         what a token without a partner inside the alignment costs; inf allows none
    rows        how many rows to read from row `first`, columns from column `at`, going round the
                end: with rows > m a row is read more than once
    returns     its worth, and int64[pairs, 2], rows and columns as read, counted from 0 and not
                taken round; (0, none) if no pair is above the threshold

    H_ij = max(0, H_{i−1,j−1} + S_ij − threshold, H_{i−1,j} − gap, H_{i,j−1} − gap). Of equal ones
    a pair comes first, and of equal ends the earliest. Source: Smith & Waterman 1981
    (doi 10.1016/0022-2836(81)90087-5), with linear gaps.
    """
    m, n = similarity.shape
    step = np.zeros((rows + 1, columns + 1), np.uint8)
    above = np.zeros(columns + 1)
    best, best_row, best_column = 0.0, 0, 0
    for i in range(1, rows + 1):
        row = (first + i - 1) % m
        diagonal = 0.0  # H of the row above, one column back
        above[0] = 0.0
        for j in range(1, columns + 1):
            up = above[j]
            worth = diagonal + similarity[row, (at + j - 1) % n] - threshold
            came = DIAGONAL
            if up - gap > worth:
                worth, came = up - gap, UP
            if above[j - 1] - gap > worth:
                worth, came = above[j - 1] - gap, LEFT
            if worth <= 0.0:
                worth, came = 0.0, STOP
            diagonal = up
            above[j] = worth
            step[i, j] = came
            if worth > best:
                best, best_row, best_column = worth, i, j

    pairs = np.empty((min(rows, columns), 2), np.int64)
    left = pairs.shape[0]
    i, j = best_row, best_column
    while step[i, j] != STOP:
        if step[i, j] == DIAGONAL:
            left -= 1
            pairs[left, 0] = i - 1
            pairs[left, 1] = j - 1
            i -= 1
            j -= 1
        elif step[i, j] == UP:
            i -= 1
        else:
            j -= 1
    return best, pairs[left:]
