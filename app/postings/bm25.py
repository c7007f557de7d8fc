"""BM25 over all parts of a collection: scores are those of one index over its live points.

    score = Σ over words  idf · (k₁ + 1) · f / (f + k₁ · (1 − b + b · length / average))
    idf   = ln(1 + (N − n + ½) / (n + ½))

f is how often the word stands in the point's fields, and length how many words these have, each
field counted by its weight: Robertson & Zaragoza 2009, section 3.4; fields are weighted before they
saturate, Robertson, Zaragoza & Taylor, CIKM 2004. The 1 in the logarithm, which keeps a word of
most points above zero, is Lucene's. N counts the live points with any words in these fields, n
those of them that hold the word, and the average is theirs: dead ones do not count, so a score does
not depend on when segments were merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.kernels import postings as kernels
from app.postings.postings import Lists
from app.postings.search import NO_NORMS, Searchable, Weighing
from app.types import F32, F64, I64, U64, Bits
from app.vectors.arrays import read_only

K1 = 1.2
B = 0.75


@dataclass(slots=True, eq=False)
class Measured:
    """What a part is in the weights of a mix: of each slot its length, of the live ones the sum.

    texts     live slots with any words in the fields that count
    total     their lengths together
    lengths   float32[slots]
    """

    texts: int
    total: float
    lengths: F32
    _norms: tuple[float, F32] = (-1.0, NO_NORMS)

    def norms(self, average: float) -> F32:
        """Give k₁ · (1 − b + b · length / average) of each slot: float32[slots].

        The average is the collection's. It changes with every write, and with nothing else.
        """
        known, norms = self._norms  # one step: other threads may put another pair there
        if known != average:
            norms = self.lengths * np.float32(K1 * B / average)
            norms += np.float32(K1 * (1.0 - B))
            norms = read_only(norms)
            self._norms = average, norms
        return norms


MOST_REMEMBERED = 4
"""Mixes of one part: the definition's, and what queries bring."""


class Words(NamedTuple):
    """A part's words, and which of its slots are alive; `full` if all are.

    measured   what is remembered of it by mix: nothing of it depends on the query, and working it
               out takes longer than most queries. It belongs to these words and live slots
    """

    postings: Searchable
    live: Bits
    full: bool
    measured: dict[bytes, Measured]


class Weighed(NamedTuple):
    """A query over one part, ready for `app.postings.search`."""

    lists: Lists
    weighing: Weighing


def weigh(parts: Sequence[Words], terms: U64, mix: F64) -> tuple[list[Weighed], I64]:
    """Weigh words over all parts of a collection.

    terms     uint64[terms], all different
    mix       float64[fields], the weights of text fields, none negative
    returns   the query over each part, and int64[terms]: the live points that hold each term
    """
    mix = read_only(mix)
    texts, total = 0, 0.0
    found = [part.postings.lists(terms) for part in parts]
    counts = np.zeros(terms.size, dtype=np.int64)
    measured = [_measured(part, mix) for part in parts]
    for part, lists, one in zip(parts, found, measured, strict=True):
        texts += one.texts
        total += one.total
        if part.full and mix.all():
            counts += lists.ends - lists.starts
        else:
            counts += kernels.holding(mix, *lists, read_only(part.live))
    factors = idf(texts, counts) * (K1 + 1.0)
    average = total / texts if texts else 1.0
    weighed = []
    for lists, one in zip(found, measured, strict=True):
        weighed.append(Weighed(lists, Weighing(factors, mix, one.norms(average))))
    return weighed, counts


def _measured(part: Words, mix: F64) -> Measured:
    name = mix.tobytes()
    known = part.measured.get(name)
    if known is None:
        texts, total = kernels.measure(part.postings.lengths, mix, read_only(part.live))
        lengths = (part.postings.lengths @ mix).astype(np.float32)
        known = Measured(texts, total, lengths)
        if len(part.measured) >= MOST_REMEMBERED:
            part.measured.clear()
        part.measured[name] = known
    return known


def idf(texts: int, holding: I64) -> F64:
    """Weigh words by how few of the texts hold them: float64[words]."""
    rare: F64 = np.log1p((texts - holding + 0.5) / (holding + 0.5))
    return rare
