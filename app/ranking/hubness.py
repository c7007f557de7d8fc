"""Items that are near to everything, and what a bank of queries takes off their scores.

In spaces of many dimensions some items are among the nearest of far too many queries: hubs. A bank
is a sample of queries that stands for those to come. What an item owes to being near to all of them
is its penalty, and a corrected score is s − strength · penalty. A penalty is computed of one item
and the bank alone, so an item that came a moment ago has the right one, and nothing is stored.

Similarities to a bank are float32[n, bank]; penalties float64[n].

Penalties, and what they are named after:

    csls       r_x, the mean similarity of item x to the k queries of the bank nearest to it. At
               strength 1/2 the order is that of 2s − r_x − r_q, cross-domain similarity local
               scaling (Conneau et al. 2018, arXiv 1710.04087): r_q is the same for all candidates
               of a query, and is left out
    center     the mean similarity to all of the bank: of an inner product, that with the bank's
               mean, so that strength 1 centres the queries
    sinkhorn   −τ log b_x, where b scales the columns of e^(S/τ) over the bank so that every item
               has the same share of it (Sinkhorn & Knopp 1967). UCoFiA (Wang et al. 2023, arXiv
               2309.10091) scales a batch of queries so; here the scales of the bank's rows are kept
               (`sinkhorn_rows`), and give the scale of any column, at strength 1 the same one
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.types import F32, F64, I64, Metric

METHODS = ("csls", "sinkhorn", "center")

ITERATIONS = 4
"""Scalings of rows and columns each, as UCoFiA has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Penalty:
    """A way to compute what is taken off.

    k          of csls; all of the bank if that has fewer
    tau        of sinkhorn
    log_rows   of sinkhorn: float64[bank], see `sinkhorn_rows`
    """

    method: str
    k: int = 10
    tau: float = 0.05
    log_rows: F64 | None = None

    def __call__(self, similarities: F32) -> F64:
        """Give the penalty of each item: float32[n, bank] → float64[n]."""
        penalty: F64
        if self.method == "center":
            penalty = similarities.mean(axis=1, dtype=np.float64)
            return penalty
        if self.method == "csls":
            bank = similarities.shape[1]
            k = min(self.k, bank)
            best = np.partition(similarities, bank - k, axis=1)[:, bank - k :]
            penalty = best.mean(axis=1, dtype=np.float64)
            return penalty
        assert self.log_rows is not None, "sinkhorn needs the scales of its rows"
        wide = similarities.astype(np.float64)
        return self.tau * _log_sum(wide / self.tau + self.log_rows, axis=1)


def similarities(metric: Metric, vectors: F32, bank: F32) -> F32:
    """Compare every vector with every one of a bank, as the metric scores them: float32[n, bank].

    vectors, bank   float32[n, d] and [bank, d], as they are searched
    """
    products: F32 = vectors @ bank.T
    if metric is not Metric.L2:
        return products
    squares = np.einsum("nd,nd->n", vectors, vectors)[:, None]
    squares = squares + np.einsum("nd,nd->n", bank, bank)[None, :]
    apart: F32 = -np.sqrt(np.maximum(squares - 2 * products, 0, dtype=np.float32))
    return apart


def sinkhorn_rows(similarities: F32, tau: float, iterations: int = ITERATIONS) -> F64:
    """Give the logarithms of what scales the rows of e^(S/τ): float64[bank].

    similarities   float32[n, bank] of the items that stand for all
    """
    logits = similarities.astype(np.float64) / tau
    columns = -_log_sum(logits, axis=1)
    rows = np.zeros(similarities.shape[1])
    for _ in range(iterations):
        rows = -_log_sum(logits + columns[:, None], axis=0)
        columns = -_log_sum(logits + rows[None, :], axis=1)
    return rows


def occurrence_skew(nearest: I64, items: int) -> float:
    """Give the skewness of how often an item is among the nearest; above 1 there are hubs.

    nearest   int64[queries, k]: places of items; −1 for none
    items     how many there are, those that are nobody's nearest included

    Source: Radovanović, Nanopoulos & Ivanović 2010 (JMLR 11), S_{N_k}.
    """
    counts = np.bincount(nearest[nearest >= 0], minlength=items).astype(np.float64)
    apart = counts - counts.mean()
    spread = float(np.sqrt((apart**2).mean()))
    return float((apart**3).mean()) / spread**3 if spread > 0 else 0.0


def _log_sum(logits: F64, axis: int) -> F64:
    highest = logits.max(axis=axis, keepdims=True)
    summed: F64 = np.log(np.exp(logits - highest).sum(axis=axis)) + highest.squeeze(axis)
    return summed
