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
from typing import NamedTuple

import numpy as np

from app.kernels import postings as kernels
from app.postings.postings import Lists
from app.postings.search import Searchable, Weighing
from app.types import F64, I64, U64, Bits
from app.vectors.arrays import read_only

K1 = 1.2
B = 0.75


class Words(NamedTuple):
    """A part's words, and which of its slots are alive; `full` if all are."""

    postings: Searchable
    live: Bits
    full: bool


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
    for part, lists in zip(parts, found, strict=True):
        own, length = kernels.measure(part.postings.lengths, mix, read_only(part.live))
        texts += own
        total += length
        if part.full and mix.all():
            counts += lists.ends - lists.starts
        else:
            counts += kernels.holding(mix, *lists, read_only(part.live))
    factors = idf(texts, counts) * (K1 + 1.0)
    average = total / texts if texts else 1.0
    weighed = []
    for part, lists in zip(parts, found, strict=True):
        lengths = part.postings.lengths @ mix
        norms = (K1 * (1.0 - B + B * lengths / average)).astype(np.float32)
        weighed.append(Weighed(lists, Weighing(factors, mix, read_only(norms))))
    return weighed, counts


def idf(texts: int, holding: I64) -> F64:
    """Weigh words by how few of the texts hold them: float64[words]."""
    rare: F64 = np.log1p((texts - holding + 0.5) / (holding + 0.5))
    return rare
