"""Sets of tokens with a known answer. Every builder is seeded and says what is planted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.ranking.tokens.aggregation import Aggregation, aggregate
from app.types import F32, F64, I64


def unit(vectors: F64) -> F32:
    """Scale rows to length one."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def ragged(sets: list[F32]) -> tuple[F32, I64]:
    """Lay sets of tokens one after another."""
    lengths = [len(one) for one in sets]
    return np.concatenate(sets), np.append(0, np.cumsum(lengths)).astype(np.int64)


class Pair(NamedTuple):
    """Two sets of tokens: query token i belongs to candidate token partner[i], −1 to none."""

    query: F32
    candidate: F32
    query_places: F64
    candidate_places: F64
    partner: I64

    @property
    def places(self) -> tuple[F64, F64]:
        return self.query_places, self.candidate_places

    def precision_and_recall(self, pairs: list[tuple[int, int, float]]) -> tuple[float, float]:
        right = sum(self.partner[i] == j for i, j, _ in pairs)
        return right / max(len(pairs), 1), right / int((self.partner >= 0).sum())


def repeated_texture(
    seed: int, points: int = 60, clutter: int = 15, words: int = 12, own: float = 0.0
) -> Pair:
    """Points that look like one of a few words each, rotated and scaled, among others' points.

    own  how much each looks like itself too, beside a word of length 1 and noise of length .6
    """
    r = np.random.default_rng(seed)
    d = 64
    dictionary = unit(r.standard_normal((words, d)))
    word = r.integers(words, size=points)

    itself = own * unit(r.standard_normal((points, d)))

    def seen() -> F32:
        which = np.append(word, r.integers(words, size=clutter))
        looks = dictionary[which] + 0.6 * unit(r.standard_normal((len(which), d)))
        looks[:points] += itself
        return unit(looks)

    angle, scale = r.uniform(0, 2 * np.pi), r.uniform(0.5, 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = r.uniform(0, 10, (points, 2))
    others = r.uniform(0, 10, (2 * clutter, 2))
    query_places = np.concatenate([places, others[:clutter]])
    moved = np.concatenate([places, others[clutter:]]) @ turn.T
    moved += 0.02 * scale * r.standard_normal(moved.shape)
    query, candidate = seen(), seen()
    order = r.permutation(len(candidate))
    partner = np.full(len(query), -1, np.int64)
    partner[:points] = np.argsort(order)[:points]
    return Pair(query, candidate[order], query_places, moved[order], partner)


class Grids(NamedTuple):
    """Two grids of tokens: query cell i shows what lies at places[i] of the candidate."""

    query: F32
    candidate: F32
    places: F64

    def near(self, pairs: list[tuple[int, int, float]], side: int, within: float) -> float:
        """Share of the query's cells that are in the candidate whose pair is this near (PCK)."""
        inside = ((self.places >= 0) & (self.places <= side - 1)).all(axis=1)
        found = np.full(self.places.shape, np.inf)
        for i, j, _ in pairs:
            found[i] = divmod(j, side)
        off = np.sqrt(((found - self.places) ** 2).sum(axis=1))
        return float((off[inside] <= within).mean())


def warped_grids(
    seed: int, scale: float, side: int = 16, words: int = 24, noise: float = 0.8, d: int = 48
) -> Grids:
    """A texture of few words on a plane, seen twice: the second time `scale` times as large.

    The candidate is shifted by up to two cells as well; noise has length `noise` beside words of 1.
    """
    r = np.random.default_rng(seed)
    dictionary = unit(r.standard_normal((words, d)))
    world = dictionary[r.integers(words, size=(3 * side, 3 * side))]
    if scale < 1:  # a smaller picture shows the mean of what it covers
        wide = round(1 / scale)
        covered = sum(np.roll(world, (-y, -x), (0, 1)) for y in range(wide) for x in range(wide))
    else:
        covered = world

    def seen(texture: F32, y: F64, x: F64) -> F32:
        looks = unit(texture[(y + side).astype(int), (x + side).astype(int)].astype(np.float64))
        return unit(looks + noise * unit(r.standard_normal(looks.shape)))

    y, x = (axis.astype(np.float64) for axis in np.divmod(np.arange(side * side), side))
    shift = r.integers(-2, 3, size=2)
    middle = (side - 1) / 2
    query = seen(world, y, x)
    candidate = seen(
        covered,
        np.floor((y - middle) / scale + middle + shift[0]),
        np.floor((x - middle) / scale + middle + shift[1]),
    )
    there = np.stack([y - shift[0] - middle, x - shift[1] - middle], axis=1) * scale + middle
    return Grids(query, candidate, there)


class Search(NamedTuple):
    """Queries and candidates of one length each: the answer to query i is candidate i."""

    queries: list[F32]
    candidates: F32

    def rank_1(self, how: Aggregation) -> float:
        """Share of queries whose own candidate comes first."""
        n = self.candidates.shape[1]
        tokens = self.candidates.reshape(-1, self.candidates.shape[2])
        offsets = np.arange(len(self.candidates) + 1) * n
        found = [int(aggregate(query, tokens, offsets, how).argmax()) for query in self.queries]
        return float(np.mean([best == i for i, best in enumerate(found)]))


def clutter(
    seed: int, items: int = 200, relevant: int = 4, others: int = 8, noise: float = 1.4
) -> Search:
    """One query token each; some of its candidate's tokens resemble it, the others are clutter.

    Clutter comes from a pool that all share, so that a mean looks alike everywhere.
    """
    r = np.random.default_rng(seed)
    d = 32
    topics = unit(r.standard_normal((items, d)))
    pool = unit(r.standard_normal((20, d)))
    frames = topics[:, None, :] + noise * unit(r.standard_normal((items, relevant, d)))
    around = pool[r.integers(20, size=(items, others))] + 0.5 * unit(
        r.standard_normal((items, others, d))
    )
    candidates = np.concatenate([unit(frames), unit(around)], axis=1)
    return Search([one[None] for one in topics], candidates)


def noisy_queries(seed: int, noisy: int, items: int = 100, noise: float = 2.5) -> Search:
    """Eight query tokens each, `noisy` of them of nothing, the others of their candidate's 12."""
    r = np.random.default_rng(seed)
    n, m, d = 12, 8, 128
    candidates = unit(r.standard_normal((items, n, d)))
    queries = []
    for own in candidates:
        query = unit(own[r.permutation(n)[:m]] + noise * unit(r.standard_normal((m, d))))
        if noisy:
            query[:noisy] = unit(r.standard_normal((noisy, d)))
        queries.append(query)
    return Search(queries, candidates)


class Stretch(NamedTuple):
    """Two sequences that share a stretch: query[at : at + length] is at `partners` there."""

    query: F32
    candidate: F32
    at: int
    partners: I64

    def overlap(self, pairs: list[tuple[int, int, float]]) -> float:
        """Intersection over union of the candidate's tokens found and planted."""
        found, planted = {j for _, j, _ in pairs}, set(self.partners.tolist())
        return len(found & planted) / max(len(found | planted), 1)


def shared_stretch(
    seed: int, length: int = 20, n: int = 80, reverse: bool = False, round_the_end: bool = False
) -> Stretch:
    """A stretch of the query occurs in the candidate with token noise of length .2 · √2.

    reverse  backwards; round_the_end  over the candidate's end
    """
    r = np.random.default_rng(seed)
    d = 32
    query = unit(r.standard_normal((40, d)))
    candidate = unit(r.standard_normal((n, d)))
    at = int(r.integers(40 - length))
    start = n - length // 2 if round_the_end else int(r.integers(n - length))
    partners = (start + np.arange(length)) % n
    if reverse:
        partners = partners[::-1].copy()
    copy = query[at : at + length] + 0.2 * np.sqrt(2) * unit(r.standard_normal((length, d)))
    candidate[partners] = unit(copy)
    return Stretch(query, candidate, at, partners)


def auc(right: F64, wrong: F64) -> float:
    """Chance that a right one scores above a wrong one, ties half."""
    above = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
    return float(above)
