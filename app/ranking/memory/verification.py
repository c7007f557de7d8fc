"""Whether two things are the same, by one threshold chosen for a rate of false accepts.

Scores are higher for better. A pair is accepted when its score is at or above the threshold.

    FAR(t) = share of impostor pairs with s ≥ t        false accepts
    TAR(t) = share of genuine pairs with s ≥ t         VAL in the paper

Source: FaceNet (Schroff et al. 2015, arXiv 1503.03832, section 4); intervals of Clopper and Pearson
(1934, Biometrika 26:404-413), which hold for independent pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from app.types import F64


class Rate(NamedTuple):
    """A share that was counted: how many of how many, and its interval at 95 %."""

    share: float
    low: float
    high: float
    hits: int
    of: int


def threshold_for(impostors: F64, target_far: float) -> float:
    """Choose the least threshold whose false accepts among `impostors` are within the target.

    It lies between two scores, in their middle where there is room: so neither the pair that would
    be one too many, nor rounding, decides. Above all scores where none may be accepted.

    impostors  float64[n], n ≥ 1
    """
    falling = np.sort(impostors)[::-1]
    allowed = math.floor(target_far * falling.size + 1e-9)
    if allowed >= falling.size:
        return float(np.nextafter(falling[-1], -np.inf))
    refused = float(falling[allowed])  # this one and its equals must stay below
    above = falling[:allowed]
    above = above[above > refused]
    if above.size == 0:
        return float(np.nextafter(refused, np.inf))
    middle = (refused + float(above[-1])) / 2
    return middle if middle > refused else float(above[-1])


def rejecting_threshold(genuine: F64, target_frr: float) -> float:
    """Choose the greatest threshold below which at most that share of genuine pairs lies."""
    return -threshold_for(-genuine, target_frr)


def rate(scores: F64, threshold: float) -> Rate:
    """Count what is accepted."""
    hits, of = int(np.count_nonzero(scores >= threshold)), int(scores.size)
    low, high = clopper_pearson(hits, of)
    return Rate(hits / of if of else 0.0, low, high, hits, of)


def equal_error(genuine: F64, impostors: F64) -> tuple[float, float]:
    """Find where as many genuine pairs are refused as impostors are accepted: (rate, threshold)."""
    cuts = np.unique(np.concatenate([genuine, impostors]))
    refused = np.searchsorted(np.sort(genuine), cuts, side="left") / max(genuine.size, 1)
    accepted = 1 - np.searchsorted(np.sort(impostors), cuts, side="left") / max(impostors.size, 1)
    best = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[best] + accepted[best]) / 2), float(cuts[best])


# ── intervals ────────────────────────────────────────────────────────────────────────────────


def clopper_pearson(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Give the exact interval of a binomial share: those p that do not make `hits` surprising.

    Its ends solve P(X ≥ hits | low) = α/2 and P(X ≤ hits | high) = α/2, by bisection over the
    regularised incomplete beta function: P(X ≥ k) = I_p(k, n − k + 1).
    """
    assert 0 <= hits <= of, "clopper_pearson: at most all of them"
    if of == 0:
        return 0.0, 1.0
    half = (1.0 - level) / 2
    low = 0.0 if hits == 0 else _solved(lambda p: incomplete_beta(hits, of - hits + 1, p), half)
    high = 1.0
    if hits < of:
        high = _solved(lambda p: incomplete_beta(hits + 1, of - hits, p), 1.0 - half)
    return low, high


def _solved(rising: object, wanted: float) -> float:
    """Find where a rising function of 0 … 1 reaches a value."""
    assert callable(rising)
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Give I_x(a, b), a, b > 0, to about 1e-12.

    Source: its continued fraction, by Lentz's method (Abramowitz and Stegun 1964, 26.5.8).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 20_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for part in (even, odd):
            d = 1.0 + part * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + part / c
            c = c if abs(c) > tiny else tiny
            found *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return found


def interval_over_labels(
    accepted: F64, compared: F64, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Give the interval of a rate whose pairs are not independent: labels are drawn, not pairs.

    One person's faces are in many pairs, and a person who is like everybody else is wrong in all of
    them. So whole labels are drawn again, with repetition, and the rate is taken over the pairs
    among those that were drawn: Σ m_i m_j A_ij / Σ m_i m_j N_ij.

    accepted, compared   float64[labels, labels], accepted and all pairs of two labels, i ≤ j; or
                         float64[labels], of one label each (genuine pairs)
    Source: the bootstrap over subjects (Bolle et al. 2004, "The subset bootstrap for confidence
    intervals in biometrics"; Efron and Tibshirani 1993).
    """
    labels = accepted.shape[0]
    drawn = np.random.default_rng(seed).multinomial(labels, np.full(labels, 1 / labels), draws)
    times = drawn.astype(np.float64)
    if accepted.ndim == 1:
        hits, of = times @ accepted, times @ compared
    else:
        hits = np.einsum("bi,bi->b", times @ accepted, times)
        of = np.einsum("bi,bi->b", times @ compared, times)
    rates = hits[of > 0] / of[of > 0]
    if rates.size == 0:
        return 0.0, 1.0
    half = (1 - level) / 2
    low, high = np.quantile(rates, [half, 1 - half])
    return float(low), float(high)


# ── confidence ───────────────────────────────────────────────────────────────────────────────


class Confidence(NamedTuple):
    """P(same | s) = 1 / (1 + e^{−(slope (s − middle))}), as if half of all pairs were genuine."""

    slope: float
    middle: float

    def of(self, scores: F64) -> F64:
        """Give the probability that pairs of these scores are genuine."""
        logits = np.clip(self.slope * (scores - self.middle), -700.0, 700.0)
        found: F64 = 1.0 / (1.0 + np.exp(-logits))
        return found


def confidence(genuine: F64, impostors: F64) -> Confidence:
    """Fit it to labelled pairs, each side with half of the weight; the slope is never negative.

    Newton's method on the logistic loss with targets drawn in from 0 and 1, so that sides that do
    not overlap get a slope that is finite. Source: Platt 1999, "Probabilistic outputs for support
    vector machines".
    """
    scores = np.concatenate([genuine, impostors])
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - centre) / spread
    sides = (genuine.size, impostors.size)
    wanted = np.concatenate(
        [np.full(sides[0], (sides[0] + 1) / (sides[0] + 2)), np.full(sides[1], 1 / (sides[1] + 2))]
    )
    weight = np.concatenate([np.full(side, 0.5 / max(side, 1)) for side in sides])
    features = np.stack([x, np.ones_like(x)])
    found = np.zeros(2)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(found @ features, -700.0, 700.0)))
        gradient = features @ (weight * (p - wanted)) + 1e-6 * found
        curve = (features * (weight * p * (1 - p))) @ features.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        length = float(np.abs(step).max())
        found -= step * min(1.0, 2.0 / length) if length > 0 else 0.0
        if length < 1e-9:
            break
    slope = max(float(found[0]), 0.0)
    middle = -float(found[1]) / slope if slope > 0 else 0.0
    return Confidence(slope / spread, centre + middle * spread)
