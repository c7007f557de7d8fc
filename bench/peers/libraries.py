"""Index libraries: no filter language, so the caller brings the rows that pass.

Imports are local: one process measures one system.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.papers import Clauses, Columns, Data, K
from bench.peers.base import EF_CONSTRUCTION, M, System

F32 = NDArray[np.float32]


class _Library(System):
    compiles = True

    def __init__(self, data: Data, columns: Columns, folder: Path, cores: int) -> None:
        self._columns = columns
        self._vectors = data.vectors
        self._build(data.vectors, cores)

    def _build(self, vectors: F32, cores: int) -> None:
        raise NotImplementedError


class Hnswlib(_Library):
    """The filter is a callback per candidate; a bound C method is the fastest Python has."""

    distribution = "hnswlib"
    what = "HNSW; filter callback `bytearray.__getitem__`, bytes made beforehand"

    def _build(self, vectors: F32, cores: int) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
        self._index.add_items(vectors, num_threads=cores)

    def form(self, clauses: Clauses) -> tuple[int, Any] | None:
        if not clauses:
            return None
        mask = self._columns.mask(clauses)
        return min(K, int(mask.sum())), bytearray(mask.tobytes()).__getitem__

    def prepare(self, mode: str, width: int | None) -> None:
        self._index.set_ef(width)

    def search(self, query: F32, form: tuple[int, Any] | None) -> Sequence[int]:
        if form is None:
            return self._index.knn_query(query, k=K, num_threads=1)[0][0]
        due, allows = form
        try:
            return self._index.knn_query(query, k=due, num_threads=1, filter=allows)[0][0]
        except RuntimeError:  # how it says that it found fewer than k
            return []


class _Faiss(_Library):
    distribution = "faiss-cpu"

    def _build(self, vectors: F32, cores: int) -> None:
        import faiss

        self._faiss = faiss
        faiss.omp_set_num_threads(cores)
        self._index = self._made(vectors.shape[1])
        self._index.add(vectors)

    def _made(self, dimension: int) -> Any:
        raise NotImplementedError

    def prepare(self, mode: str, width: int | None) -> None:
        self._faiss.omp_set_num_threads(1)
        self._width = width

    def form(self, clauses: Clauses) -> Any:
        if not clauses:
            return None
        packed = np.packbits(self._columns.mask(clauses), bitorder="little")
        selector = self._faiss.IDSelectorBitmap(packed)
        selector.keeps = packed  # the selector only points at it
        return selector

    def search(self, query: F32, form: Any) -> Sequence[int]:
        found = self._index.search(query[None], K, params=self._parameters(form))[1][0]
        return found[found >= 0]

    def _parameters(self, selector: Any) -> Any:
        raise NotImplementedError


class FaissHnsw(_Faiss):
    what = "IndexHNSWFlat, IDSelectorBitmap made beforehand"

    def _made(self, dimension: int) -> Any:
        index = self._faiss.IndexHNSWFlat(dimension, M, self._faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return index

    def _parameters(self, selector: Any) -> Any:
        return self._faiss.SearchParametersHNSW(sel=selector, efSearch=self._width)


class FaissFlat(_Faiss):
    modes: ClassVar = {"": (None,)}
    what = "IndexFlatIP (exact), IDSelectorBitmap made beforehand"

    def _made(self, dimension: int) -> Any:
        return self._faiss.IndexFlatIP(dimension)

    def _parameters(self, selector: Any) -> Any:
        return self._faiss.SearchParameters(sel=selector)


class Usearch(_Library):
    """The Python binding has no filter. So: ask for more than K and drop what does not pass; where
    that would ask for more rows than pass, usearch's exact search over the passing rows."""

    distribution = "usearch"
    what = "HNSW; no filter in its Python binding: over-fetch (× 1/selectivity) and drop, or exact"

    def _build(self, vectors: F32, cores: int) -> None:
        from usearch import index

        self._usearch = index
        self._index = index.Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
        )
        self._index.add(np.arange(len(vectors)), vectors, threads=cores)

    def form(self, clauses: Clauses) -> tuple[NDArray[np.bool_], NDArray[np.int64]] | None:
        if not clauses:
            return None
        mask = self._columns.mask(clauses)
        return mask, np.flatnonzero(mask)

    def prepare(self, mode: str, width: int | None) -> None:
        self._width = width
        self._index.expansion_search = width

    def search(
        self, query: F32, form: tuple[NDArray[np.bool_], NDArray[np.int64]] | None
    ) -> Sequence[int]:
        if form is None:
            return self._index.search(query, K, threads=1).keys
        mask, rows = form
        if not len(rows):
            return []
        asked = int(self._width * len(mask) / len(rows)) + 1
        if asked >= len(rows):
            nearest = self._usearch.search(
                self._vectors[rows], query, min(K, len(rows)), metric="ip", exact=True, threads=1
            )
            return rows[nearest.keys]
        found = self._index.search(query, asked, threads=1).keys.astype(np.int64)
        return found[mask[found]][:K]


class Numpy(_Library):
    modes: ClassVar = {"": (None,)}
    distribution = "numpy"
    what = "exact: matrix × vector over the passing rows, found beforehand"

    def _build(self, vectors: F32, cores: int) -> None:
        pass

    def form(self, clauses: Clauses) -> NDArray[np.int64] | None:
        return np.flatnonzero(self._columns.mask(clauses)) if clauses else None

    def search(self, query: F32, form: NDArray[np.int64] | None) -> Sequence[int]:
        scores = self._vectors @ query if form is None else self._vectors[form] @ query
        if len(scores) > K:
            best = np.argpartition(-scores, K - 1)[:K]
        else:
            best = np.arange(len(scores))
        return best if form is None else form[best]
