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
    <name>.lengths.npy  uint32[slots, fields], the words of each text; only of words

Building takes numpy alone: the build process does without compiled code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptFile
from app.types import I64, U32, U64, Sparse
from app.vectors.arrays import map_array, read_only, save_array

MOST_OCCURRENCES = 65_535
"""A word that stands in a text more often than this is counted as standing there this often."""

NO_LENGTHS: U32 = read_only(np.empty((0, 0), dtype=np.uint32))

Weights = NDArray[Any]
"""Rows of weights: float32[any, 1] of sparse vectors, uint16[any, fields] of words."""


class Lists(NamedTuple):
    """The postings of some terms in one part, which never change once taken.

    starts, ends   int64[terms], places in `slots` and `weights`; equal where a term is nowhere
    """

    starts: I64
    ends: I64
    slots: U32
    weights: Weights


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """The arrays above, read-only. Safe for any number of threads."""

    terms: U64
    starts: I64
    slots: U32
    weights: Weights
    lengths: U32

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
            at = at[known]
            starts[known], ends[known] = self.starts[at], self.starts[at + 1]
        return Lists(starts, ends, self.slots, self.weights)

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

        terms, starts = mapped("terms", np.uint64, 1), mapped("starts", np.int64, 1)
        held = mapped("slots", np.uint32, 1)
        weights = mapped("weights", np.uint16 if fields else np.float32, 2)
        lengths = mapped("lengths", np.uint32, 2) if fields else NO_LENGTHS
        # Compiled code goes by these, and checks no bounds.
        descents = np.flatnonzero(held[1:] <= held[:-1]) + 1
        if not (
            starts.shape == (terms.size + 1,)
            and weights.shape == (held.size, max(fields, 1))
            and lengths.shape == (slots if fields else 0, fields)
            and starts[0] == 0
            and starts[-1] == held.size
            and np.all(starts[1:] > starts[:-1])
            and np.all(terms[1:] > terms[:-1])
            and (held.size == 0 or int(held.max()) < slots)
            and np.isin(descents, starts).all()
        ):
            path = folder / f"{name}.starts.npy"
            raise CorruptFile(f"{name} is no index over these slots", path=str(path))
        return cls(terms, starts, held, weights, lengths)

    def _arrays(self) -> list[tuple[str, NDArray[Any]]]:
        arrays: list[tuple[str, NDArray[Any]]] = [
            ("terms", self.terms),
            ("starts", self.starts),
            ("slots", self.slots),
            ("weights", self.weights),
        ]
        if self.lengths.shape[1]:
            arrays.append(("lengths", self.lengths))
        return arrays


class Rows:
    """Sparse vectors by slot, to be inverted."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._terms: list[U64] = []
        self._weights: list[Weights] = []

    def append(self, vector: Sparse | None) -> None:
        """Add the next slot; None is one that has no vector."""
        if vector is None:
            self._counts.append(0)
            return
        self._counts.append(vector.indices.size)
        self._terms.append(vector.indices.astype(np.uint64))
        self._weights.append(vector.values[:, None])

    def extend(self, bounds: I64, terms: U64, weights: Weights) -> None:
        """Add slots as `Postings.by_slot` gives them."""
        self._counts += np.diff(bounds).tolist()
        self._terms.append(terms)
        self._weights.append(weights)

    def inverted(self) -> Postings:
        """Give the index of all slots added."""
        return build(
            np.cumsum([0, *self._counts], dtype=np.int64),
            np.concatenate([np.empty(0, dtype=np.uint64), *self._terms]),
            np.concatenate([np.empty((0, 1), dtype=np.float32), *self._weights]),
        )


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
    starts = np.append(first, terms.size).astype(np.int64)
    return Postings(
        read_only(ordered[first]),
        read_only(starts),
        read_only(slots),
        read_only(weights[order]),
        NO_LENGTHS if lengths is None else read_only(lengths),
    )
