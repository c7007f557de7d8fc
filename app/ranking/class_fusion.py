"""Several heads that each say how probable every class is, as one.

A head is one way to look at a thing: a named vector, a modality, a model. Probabilities are
float64[heads, n, classes]; a head that says nothing of a thing has NaN there. Weights are
float64[heads, classes], ≥ 0: a head may be right about some classes and guess at others.

Two ways to use weights. `weighted` is the linear opinion pool p_c ∝ Σ_m w_mc p_mc, for weights that
somebody chose. `fused` is softmax_c(Σ_m w_mc p_mc), the model that `fit_weights` fits: its weights
hold a temperature too, so that what comes out is calibrated on what they were fitted on.

Source: per-class weights of modality posteriors are from Ryumina et al. (RAS, 9th ABAW
competition); fitting them as a multinomial logistic regression with weights that are not negative
is ours, and is convex.
"""

from __future__ import annotations

import numpy as np

from app.ranking.softmax import softmax_topk
from app.types import F64, I64

_STEPS = 2_000
_ENOUGH = 1e-7  # change of a weight in one step, relative to the largest


def weighted(probabilities: F64, weights: F64) -> F64:
    """Give each head's part in the fused probabilities: w_{m,c} p_{m,c}, scaled so that a row sums
    to 1 over heads and labels; zeros where nobody says anything.

    probabilities  float64[m, n, c], NaN where a head knows nothing of a label
    weights        float64[m, c], ≥ 0
    returns        float64[m, n, c]
    """
    parts = contributions(probabilities, weights)
    total = parts.sum(axis=(0, 2), keepdims=True)
    shares: F64 = np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)
    return shares


def fused(probabilities: F64, weights: F64) -> F64:
    """Give softmax_c(Σ_m w_mc p_mc): float64[n, classes]. What a head does not say counts 1/C."""
    if not probabilities.shape[-1]:  # nobody knows any class
        return np.zeros(probabilities.shape[1:])
    return softmax_topk(np.einsum("mc,mnc->nc", weights, _known(probabilities)), 1.0)


def contributions(probabilities: F64, weights: F64) -> F64:
    """Give what each head adds to each class, w_mc p_mc: float64[heads, n, classes]."""
    parts: F64 = weights[:, None, :] * np.nan_to_num(probabilities)
    return parts


def fit_weights(probabilities: F64, labels: I64, *, shared: float = 1.0) -> F64:
    """Fit float64[heads, classes] ≥ 0 for `fused` from labelled things; a few hundred are enough.

    labels   int64[n]: the class of each
    shared   how strongly the weights of a head are drawn to the mean over its classes: a class
             with few examples then has the weights of the others

    Minimises −1/n Σ_i log softmax(z_i)[y_i] + shared/2n Σ_mc (w_mc − w̄_m)² + 1e-3/2n Σ w², which is
    convex, by projected gradients with momentum and restarts (Beck & Teboulle 2009, FISTA;
    O'Donoghue & Candès 2015, restarts).
    """
    known = _known(probabilities)
    heads, count, classes = known.shape
    assert labels.shape == (count,), "one label for each"
    truth = np.zeros((count, classes))
    truth[np.arange(count), labels] = 1.0
    # The softmax bends by 1/2 at most, each class's features by their own largest eigenvalue.
    squares = np.einsum("mnc,knc->cmk", known, known) / count
    steepest = 0.5 * float(np.linalg.eigvalsh(squares)[:, -1].max()) + (shared + 1e-3) / count
    weights = ahead = np.ones((heads, classes))
    momentum = 1.0
    for _ in range(_STEPS):
        apart = softmax_topk(np.einsum("mc,mnc->nc", ahead, known), 1.0) - truth
        gradient = np.einsum("nc,mnc->mc", apart, known) / count
        gradient += shared / count * (ahead - ahead.mean(axis=1, keepdims=True))
        gradient += 1e-3 / count * ahead
        new = np.maximum(ahead - gradient / steepest, 0.0)
        if np.einsum("mc,mc->", ahead - new, new - weights) > 0:  # it runs uphill: start again
            momentum, ahead = 1.0, weights
            continue
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - weights)
        done = np.abs(new - weights).max() <= _ENOUGH * max(1.0, float(new.max()))
        weights, momentum = new, following
        if done:
            break
    return weights


def _known(probabilities: F64) -> F64:
    filled: F64 = np.where(np.isnan(probabilities), 1.0 / probabilities.shape[-1], probabilities)
    return filled
