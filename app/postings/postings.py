"""Postings of a segment: for each term the slots that hold it, ascending, and their weights.

Theory of operation
-------------------
One structure serves sparse vectors and words. A *term* is a number of 64 bits: the index of a
sparse vector's dimension, or a word's hash. A *posting* is a slot and a row of weights: one float32
of a sparse vector, or for words how often they stand in each text field, uint16. What a posting is
worth to a query is decided when the query is asked (`app.postings.search`), so BM25's average
length, document count and field weights are never baked in.

    <name>.terms.npy    uint64[terms], ascending
    <name>.starts.npy   int64[terms + 1], where each term's postings start
    <name>.slots.npy    uint32[postings], ascending within a term
    <name>.weights.npy  float32 or uint16 [postings, fields]
    <name>.tops.npy     as the weights, [blocks, fields]: the largest of every `BLOCK` postings
    <name>.lengths.npy  uint32[slots, fields], the words of each text; only of words
    <name>.least.npy    uint32[blocks, fields], the shortest text of every block; only of words

Blocks are counted over all postings, whatever their terms. So they need no table of their own, and
a block that several terms share bounds each of them too loosely, never wrongly. They are what
block-max pruning goes by: Ding & Suel, SIGIR 2011.

Building takes numpy alone: the build process does without compiled code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile
from app.types import I64, U32, U64
from app.vectors.arrays import map_array, read_only, save_array

BLOCK = 128
"""Postings that share a bound. The kernels know this number too."""

MOST_OCCURRENCES = 65_535
"""A word that stands in a text more often than this is counted as standing there this often."""

NO_LENGTHS: U32 = read_only(np.empty((0, 0), dtype=np.uint32))

Weights = NDArray[Any]
"""Rows of weights: float32[any, 1] of sparse vectors, uint16[any, fields] of words."""


class Lists(NamedTuple):
    """The postings of some terms in one part, which never change once taken.

    starts, ends   int64[terms], places in `slots` and `weights`; equal where a term is nowhere
    tops, least    as in `Postings`; no rows where there are no blocks
    """

    starts: I64
    ends: I64
    slots: U32
    weights: Weights
    tops: Weights
    lengths: U32
    least: U32


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """The arrays above, read-only. Safe for any number of threads."""

    terms: U64
    starts: I64
    slots: U32
    weights: Weights
    tops: Weights
    lengths: U32
    least: U32

    @property
    def bytes(self) -> int:
        """Count the bytes of all arrays."""
        return sum(array.nbytes for _, array in self._arrays())

    def lists(self, terms: U64) -> Lists:
        """Find the postings of terms: uint64[any]."""
        starts = np.zeros(terms.size, dtype=np.int64)
        ends = np.zeros(terms.size, dtype=np.int64)
        if self.terms.size:
            at = np.minimum(np.searchsorted(self.terms, terms), self.terms.size - 1)
            known = self.terms[at] == terms
            starts[known] = self.starts[at[known]]
            ends[known] = self.starts[at[known] + 1]
        return Lists(
            starts, ends, self.slots, self.weights, self.tops, self.lengths, self.least
        )  # fmt: skip

    def by_slot(self, slots: int) -> tuple[I64, U64, Weights]:
        """Turn the index back into rows.

        slots     of the part
        returns   int64[slots + 1], uint64[postings], weights [postings, fields]: the terms of slot
                  s, ascending, and their weights stand from the first array's s to its s + 1
        """
        order = np.argsort(self.slots, kind="stable")
        terms = np.repeat(self.terms, np.diff(self.starts))[order]
        counts = np.bincount(self.slots, minlength=slots)
        return np.concatenate([[0], np.cumsum(counts)]), terms, self.weights[order]

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write the files, which the caller syncs."""
        paths = []
        for kind, array in self._arrays():
            path = folder / f"{name}.{kind}.npy"
            save_array(path, array)
            paths.append(path)
        return paths

    @classmethod
    def open(cls, folder: Path, name: str, slots: int, *, fields: int = 0) -> Postings:
        """Map the files of a part with so many slots. Raises CorruptFile.

        fields   text fields of words; 0 for a sparse vector's
        """

        def mapped(kind: str, dtype: type[np.generic], dimensions: int) -> NDArray[Any]:
            return map_array(folder / f"{name}.{kind}.npy", (dtype,), dimensions)

        weight = np.uint16 if fields else np.float32
        opened = cls(
            mapped("terms", np.uint64, 1),
            mapped("starts", np.int64, 1),
            mapped("slots", np.uint32, 1),
            mapped("weights", weight, 2),
            mapped("tops", weight, 2),
            mapped("lengths", np.uint32, 2) if fields else NO_LENGTHS,
            mapped("least", np.uint32, 2) if fields else NO_LENGTHS,
        )
        if not opened._sound(slots, fields):
            path = folder / f"{name}.starts.npy"
            raise CorruptFile(f"{name} is no index over these slots", path=str(path))
        return opened

    def _sound(self, slots: int, fields: int) -> bool:
        """Tell whether compiled code may go by the arrays: it checks no bounds."""
        postings, width = self.slots.size, max(fields, 1)
        blocks = _blocks(postings)
        return bool(
            self.starts.shape == (self.terms.size + 1,)
            and self.weights.shape == (postings, width)
            and self.tops.shape == (blocks, width)
            and (not fields or self.lengths.shape == (slots, fields))
            and (not fields or self.least.shape == (blocks, fields))
            and self.starts[0] == 0
            and self.starts[-1] == postings
            and np.all(self.starts[1:] >= self.starts[:-1])
            and np.all(self.terms[1:] > self.terms[:-1])
            and (postings == 0 or int(self.slots.max()) < slots)
            and np.isin(
                np.flatnonzero(self.slots[1:] <= self.slots[:-1]) + 1, self.starts, kind="sort"
            ).all()
        )

    def _arrays(self) -> list[tuple[str, NDArray[Any]]]:
        arrays: list[tuple[str, NDArray[Any]]] = [
            ("terms", self.terms),
            ("starts", self.starts),
            ("slots", self.slots),
            ("weights", self.weights),
            ("tops", self.tops),
        ]
        if self.lengths.shape[1]:
            arrays += [("lengths", self.lengths), ("least", self.least)]
        return arrays


def build(bounds: I64, terms: U64, weights: Weights, lengths: U32 | None = None) -> Postings:
    """Invert rows of terms.

    bounds    int64[slots + 1]: slot s holds `terms[bounds[s] : bounds[s + 1]]`, all different
    weights   float32 or uint16 [postings, fields]
    lengths   uint32[slots, fields] of words; None for sparse vectors
    """
    order = np.argsort(terms, kind="stable")  # so slots ascend within a term
    ordered = terms[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))[: terms.size]
    slots = np.repeat(np.arange(bounds.size - 1, dtype=np.uint32), np.diff(bounds))[order]
    weighed = weights[order]
    counted = least = NO_LENGTHS
    if lengths is not None:
        counted = lengths
        least = _of_blocks(np.minimum, lengths[slots])
    return Postings(
        read_only(ordered[first]),
        read_only(np.append(first, terms.size).astype(np.int64)),
        read_only(slots),
        read_only(weighed),
        read_only(_of_blocks(np.maximum, weighed)),
        read_only(counted),
        read_only(least),
    )


def _blocks(postings: int) -> int:
    return (postings + BLOCK - 1) // BLOCK


def _of_blocks(chosen: np.ufunc, rows: NDArray[Any]) -> NDArray[Any]:
    """Reduce [postings, fields] to [blocks, fields]."""
    if rows.shape[0] == 0:
        return rows
    reduced: NDArray[Any] = chosen.reduceat(rows, np.arange(0, rows.shape[0], BLOCK), axis=0)
    return reduced
