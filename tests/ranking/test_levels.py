"""A whole and its frames, scored as UCoFiA scores videos; each level has hubs, and a bank."""

from __future__ import annotations

import numpy as np

from app.ranking.fusion import Fusion, fuse
from app.ranking.hubness import Penalty, similarities
from app.ranking.tokens.aggregation import Aggregation, aggregate
from app.types import F32, F64, Metric
from app.vectors.tokens import pooled

from .hubs import unit

ITEMS, DIMENSION, CLUTTER = 400, 32, 3
BANK = ITEMS // 2


def planted() -> tuple[F32, F32, F32, F32]:
    """Wholes and frames (of which one of four says something), and queries of either."""
    dice = np.random.default_rng(1)
    root = np.sqrt(DIMENSION)
    own = dice.normal(size=(ITEMS, DIMENSION)) / root
    leaning = np.zeros(DIMENSION)
    leaning[0] = 1.0
    items = own.copy()
    items[::20] += 0.4 * leaning
    wholes = own + dice.normal(size=own.shape) / root + leaning
    parts = own + 0.7 * dice.normal(size=own.shape) / root + leaning
    frames = dice.normal(size=(ITEMS, 1 + CLUTTER, DIMENSION)) / root
    frames[:, 0] = items
    tokens = unit(frames.reshape(-1, DIMENSION)).reshape(frames.shape)
    return unit(items), tokens, unit(wholes), unit(parts)


def first(scores: F64) -> float:
    """R@1 of the queries that are not in the bank."""
    return float((scores[BANK:].argmax(axis=1) == np.arange(BANK, ITEMS)).mean())


def both(one: F64, other: F64) -> F64:
    how = Fusion("sum", normalise="z")
    return np.stack([fuse(np.stack(pair), how) for pair in zip(one, other, strict=True)])


def test_each_level_corrected_beats_both_raw_which_beat_each_alone() -> None:
    items, tokens, wholes, parts = planted()
    offsets = np.arange(0, ITEMS * (1 + CLUTTER) + 1, 1 + CLUTTER)
    flat = tokens.reshape(-1, DIMENSION)
    by_whole = (wholes @ items.T).astype(np.float64)
    isa = Aggregation("isa", tau=0.01)
    by_frames = np.stack([aggregate(one[None], flat, offsets, isa) for one in parts])
    csls = Penalty("csls")
    of_whole = csls(similarities(Metric.COSINE, items, wholes[:BANK]))
    means = np.stack([pooled(one) for one in tokens])
    of_frames = csls(similarities(Metric.COSINE, means, parts[:BANK]))
    alone = [first(by_whole), first(by_frames)]
    raw = first(both(by_whole, by_frames))
    corrected = first(both(by_whole - 0.75 * of_whole, by_frames - 0.75 * of_frames))
    assert max(alone) < 0.76
    assert raw > max(alone) + 0.04
    assert corrected > raw + 0.15
