"""Late interaction: one score from all products of a query's tokens with a candidate's.

Each query token i makes a value of its row S_i of `S = query · candidateᵀ`; the score is the mean
of the values, over the query's tokens (`regulated`: a weighted mean).

    mean       cos(q_i, x̄)                 x̄ the mean of the candidate's tokens: plain pooling
    max        max_j S_ij                  MaxSim
    lse        τ log mean_j exp(S_ij / τ)  between the mean product (τ→∞) and max (τ→0)
    attend     cos(q_i, Σ_j w_ij x_j)      w_i = softmax_topk(S_i, τ, k); τ→∞ is mean, τ→0 is max
    isa        Σ_j u_ij S_ij               u_i = softmax_topk(softmax_topk(S_i, τ, k), τ, k)
    regulated  Σ_i r_i cos(q_i, v̂_i)       v̂_i as in attend; r from agreement, `steps` times

`symmetric` is the mean of that and of the same with the sides exchanged.

Candidates of different lengths are computed together: sorted by length, cut into blocks, padded in
each to its longest, and the padding masked. So each aggregator is a few calls of numpy for a block,
and memory is bounded by the block, not by the request. MaxSim needs no padding.

Sources: ColBERT (arXiv 2004.12832) for MaxSim; X-Pool (arXiv 2203.15086) for attend: its learned
projections start as identities, which is what is left without training; UCoFiA (arXiv 2309.10091)
for isa, without its linear layer; RCAR (arXiv 2303.13371) for regulated: its aggregation regulator
without what is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.ranking.softmax import softmax_topk
from app.types import F32, F64, I64

AggregationKind: TypeAlias = Literal["mean", "max", "lse", "attend", "isa", "regulated"]

BLOCK = 1 << 20  # products or padded numbers computed at once: a few megabytes, about a cache


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How products become a score.

    tau            sharpness of lse, attend, isa and regulated; unused by mean and max
    topk           most candidate tokens that a query token may look at, in those four; None: all
    steps          rounds of `regulated`; 0 is attend
    agreement_tau  how little agreement counts in `regulated`; inf is attend
    symmetric      mean of both directions
    """

    kind: AggregationKind = "max"
    tau: float = 0.05
    topk: int | None = None
    steps: int = 3
    agreement_tau: float = 0.4  # at .1 single tokens take over: docs/similarity/tokens.md
    symmetric: bool = False


def aggregate(query: F32, tokens: F32, offsets: I64, how: Aggregation) -> F64:
    """Score every candidate.

    query    float32[m, d], m ≥ 1, rows of unit length
    tokens   float32[total, d], rows of unit length, those of one candidate after another
    offsets  int64[candidates + 1], rising: candidate c has rows offsets[c] … offsets[c + 1] − 1,
             at least one
    returns  float64[candidates], higher is better, −1 … 1
    """
    lengths = np.diff(offsets)
    assert (offsets[0], offsets[-1]) == (0, len(tokens)), "aggregate: offsets cover all tokens"
    assert len(query), "aggregate: the query has tokens"
    assert (lengths > 0).all(), "aggregate: each candidate has tokens"
    scores = np.empty(len(lengths), np.float64)
    if how.kind == "max":
        _maxsim(query, tokens, offsets, how.symmetric, scores)
        return scores
    for block in _blocks(query, tokens, offsets):
        scores[block.candidates] = _both_ways(query, block, how)
    return scores


def contributions(query: F32, candidate: F32, how: Aggregation) -> F64:
    """Split one candidate's score among pairs of tokens.

    candidate  float32[n, d]
    returns    float64[m, n] that sums to what `aggregate` gives (to 1e-6). Sums over a row and
               over a column are what one query token and one candidate token contribute.

    Values that are weighted sums of products are split as such. `lse` is no sum: its value goes to
    tokens by its gradient's weights, softmax(S_i / τ).
    """
    products = query @ candidate.T
    forth = _rows(query, candidate, products, how, None, None).spread(products)
    if not how.symmetric:
        return forth
    back = _rows(candidate, query, products.T, how, None, None).spread(products.T)
    shared: F64 = (forth + back.T) / 2
    return shared


class _Block(NamedTuple):
    """Some candidates of like lengths.

    candidates  int64[b], which
    tokens      float32[b, n, d], zeros after each one's own
    present     bool[b, n]; None if nothing is padded
    """

    candidates: I64
    tokens: F32
    present: NDArray[np.bool_] | None


class _Rows(NamedTuple):
    """What one direction makes of products [..., r, c].

    weights  [..., r, c], each row sums to 1
    values   [..., r]
    shares   [..., r] of each value in the score, summing to 1
    linear   whether a value is its row's weighted products, up to a factor
    """

    weights: F64
    values: F64
    shares: F64
    linear: bool

    def scores(self) -> F64:
        scored: F64 = (self.values * self.shares).sum(axis=-1)
        return scored

    def spread(self, products: F32) -> F64:
        """Split the score among the cells of products."""
        cells = self.weights * products if self.linear else self.weights
        sums = cells.sum(axis=-1)
        # A row whose products cancel has no sum to scale: then its value is zero as well.
        factor = np.divide(self.values, sums, out=np.zeros_like(sums), where=sums != 0)
        spread: F64 = cells * (factor * self.shares)[..., None]
        return spread


def _maxsim(query: F32, tokens: F32, offsets: I64, symmetric: bool, scores: F64) -> None:
    candidates = len(offsets) - 1
    first = 0
    while first < candidates:
        room = offsets[first] + max(1, BLOCK // len(query))
        last = max(first + 1, int(np.searchsorted(offsets, room, side="right")) - 1)
        starts = offsets[first:last] - offsets[first]
        products = tokens[offsets[first] : offsets[last]] @ query.T
        best = np.maximum.reduceat(products, starts, axis=0)
        scores[first:last] = best.mean(axis=1, dtype=np.float64)
        if symmetric:
            back = np.add.reduceat(products.max(axis=1).astype(np.float64), starts)
            scores[first:last] += back / np.diff(offsets[first : last + 1])
            scores[first:last] /= 2
        first = last


def _blocks(query: F32, tokens: F32, offsets: I64) -> Iterator[_Block]:
    lengths = np.diff(offsets)
    order = np.argsort(lengths, kind="stable")
    wide = max(len(query), tokens.shape[1])
    first = 0
    while first < len(order):
        shortest = int(lengths[order[first]])
        last = min(len(order), first + max(1, BLOCK // (shortest * wide)))
        while last - first > 1 and (last - first) * int(lengths[order[last - 1]]) * wide > BLOCK:
            last -= max(1, (last - first) // 8)
        yield _block(order[first:last], tokens, offsets, lengths)
        first = last


def _block(chosen: I64, tokens: F32, offsets: I64, lengths: I64) -> _Block:
    own = lengths[chosen]
    longest = int(own[-1])
    shape = (len(chosen), longest, tokens.shape[1])
    if own[0] == longest and (np.diff(chosen) == 1).all():  # they stand as they are needed
        at = int(offsets[chosen[0]])
        return _Block(chosen, tokens[at : at + len(chosen) * longest].reshape(shape), None)
    padded = np.zeros(shape, np.float32)
    for row, candidate in zip(padded, chosen.tolist(), strict=True):
        row[: lengths[candidate]] = tokens[offsets[candidate] : offsets[candidate + 1]]
    return _Block(chosen, padded, np.arange(longest) < own[:, None])


def _both_ways(query: F32, block: _Block, how: Aggregation) -> F64:
    products = np.matmul(query, block.tokens.swapaxes(-1, -2))
    forth = _rows(query, block.tokens, products, how, None, block.present).scores()
    if not how.symmetric:
        return forth
    turned = np.ascontiguousarray(products.swapaxes(-1, -2))
    back = _rows(block.tokens, query, turned, how, block.present, None).scores()
    both: F64 = (forth + back) / 2
    return both


def _rows(
    left: F32,
    right: F32,
    products: F32,
    how: Aggregation,
    rows: NDArray[np.bool_] | None,
    columns: NDArray[np.bool_] | None,
) -> _Rows:
    """Aggregate each row of products, and say what share it has.

    left      float32[..., r, d], right float32[..., c, d]: one of them may lack the leading axis
    products  float32[..., r, c]
    rows, columns  bool[..., r] and bool[..., c]: False is padding; None: there is none
    """
    seen = None if columns is None else columns[..., None, :]
    shares = _even(products.shape[:-1], rows)
    if how.kind == "max":
        weights = softmax_topk(products, 1.0, 1, seen)
        return _Rows(weights, (weights * products).sum(axis=-1), shares, True)
    if how.kind == "lse":
        return _Rows(*_log_mean_exp(products, how, seen), shares, False)
    tau = np.inf if how.kind == "mean" else how.tau
    topk = None if how.kind == "mean" else how.topk
    weights = softmax_topk(products, tau, topk, seen)
    if how.kind == "isa":
        weights = softmax_topk(weights, how.tau, how.topk, seen)
        return _Rows(weights, (weights * products).sum(axis=-1), shares, True)
    attended = np.matmul(weights.astype(np.float32), right)
    lengths = np.sqrt(np.einsum("...d,...d->...", attended, attended, dtype=np.float64))
    lengths = np.maximum(lengths, 1e-12)  # tokens that cancel out: any direction, value zero
    values = (weights * products).sum(axis=-1) / lengths
    if how.kind == "regulated":
        aligned = left * (attended / lengths[..., None].astype(np.float32))
        shares = _regulated(aligned, shares, rows, how)
    return _Rows(weights, values, shares, True)


def _even(shape: tuple[int, ...], rows: NDArray[np.bool_] | None) -> F64:
    if rows is None:
        return np.full(shape, 1.0 / shape[-1])
    even: F64 = rows / rows.sum(axis=-1, keepdims=True)
    return even


def _log_mean_exp(
    products: F32, how: Aggregation, seen: NDArray[np.bool_] | None
) -> tuple[F64, F64]:
    """Give softmax weights, and τ log of the mean of exp(S / τ) over the tokens that take part."""
    weights = softmax_topk(products, how.tau, how.topk, seen)
    width = products.shape[-1] if seen is None else seen.sum(axis=-1)
    part = width if how.topk is None else np.minimum(width, how.topk)
    # The best product S has weight exp(S / τ) / Σ exp: its weight gives the sum without another.
    best = products.max(axis=-1) if seen is None else np.where(seen, products, -2).max(axis=-1)
    values: F64 = best.astype(np.float64) - how.tau * np.log(part * weights.max(axis=-1))
    return weights, values


def _regulated(aligned: F32, shares: F64, rows: NDArray[np.bool_] | None, how: Aggregation) -> F64:
    """Give more weight to rows whose alignment agrees with that of the whole, `steps` times.

    aligned  float32[..., r, d]: a_i = q_i ⊙ v̂_i, which sums to the cosine of the two

    A token that finds nothing has an alignment of small numbers of both signs, which agrees with
    nobody's; those that find their own agree with each other.
    """
    lengths = np.sqrt(np.einsum("...d,...d->...", aligned, aligned))
    directions = aligned / np.maximum(lengths, 1e-12)[..., None]
    for _ in range(how.steps):
        whole = np.matmul(shares[..., None, :].astype(np.float32), aligned)
        whole /= np.maximum(np.sqrt((whole * whole).sum(axis=-1, keepdims=True)), 1e-12)
        agreement = np.matmul(directions, whole.swapaxes(-1, -2))[..., 0]
        shares = softmax_topk(agreement, how.agreement_tau, None, rows)
    return shares
