"""Compiled loops over plain arrays: the only package that imports numba.

Compiled code is cached in `NUMBA_CACHE_DIR`, or beside the sources, and is loaded, not compiled, by
the next process; `warm` makes sure of it. numba asks for a kernel's own file only whether the cache
is stale, not for the kernels that were inlined into it, so the cache has a folder for each state
of the whole package.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def _cache_folder() -> Path:
    """Name the cache of exactly these sources."""
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    root = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else here / "__pycache__"
    return root / f"kernels-{sha256(sources).hexdigest()[:16]}"


numba.config.CACHE_DIR = str(_cache_folder())


def warm() -> None:
    """Compile or load every kernel by running each once on a few numbers (seconds, or instants)."""
    from app.kernels import (  # noqa: F401  # importing compiles some
        bits,
        build,
        geo,
        graph,
        groups,
        phrases,
        postings,
        ranking,
        scan,
        segments,
        term_table,
        texts,
    )

    vectors = _frozen(np.eye(2, 8, dtype=np.float32))
    floats = _frozen(np.ones(8, dtype=np.float32))
    coded = (_frozen(np.eye(2, 8, dtype=np.int8)), floats, floats, floats[:0], floats[:2])
    plain = (None, floats[:0], floats[:0], floats[:0], floats[:0])
    none = _frozen(np.empty(0, dtype=np.uint32))
    links = _frozen(np.full((2, 4), graph.NONE, dtype=np.uint32))
    query = vectors[0].copy()
    allowed = _frozen(bits.full(2))
    for codes, wide in product((coded, plain), (links, _frozen(links.astype(np.uint16)))):
        scan.scan(0, query, vectors, *codes, allowed, 1)
        graph.search_graph(
            0, query, vectors, *codes, none, wide, links[:0, :2], none, none, 0, 0, allowed,
            1, 1, 1 << 40, bits.empty(2),
        )  # fmt: skip
    build.insert_rows(
        np.eye(2, 8, dtype=np.int16), np.eye(2, 8, dtype=np.int8), *np.zeros((3, 2), np.float32),
        *np.zeros((2, 2), np.int64), np.empty((2, 6), np.uint32), np.zeros(2, np.int32),
        np.empty((0, 3), np.uint32), np.zeros(0, np.int32), np.zeros(2, np.int64), 0, 2, 2, 2,
    )  # fmt: skip
    ranking.rank_rows(0, query, vectors, none.copy(), 1)
    for dtype in (np.float32, np.uint16):
        run = np.zeros(1, np.int64), np.ones(1, np.int64), none, _frozen(np.ones((0, 1), dtype))
        ones = np.ones(1), _frozen(np.ones(1)), floats[:0]
        postings.rank(*ones, run[0], run[0], *run[2:], allowed, 1)
        postings.score(*ones, run[0], run[0], *run[2:], none.copy())
        postings.holding(ones[1], run[0], run[0], *run[2:], allowed)
        pool = np.zeros(2, np.uint32), np.ones((2, 1), dtype)
        table = np.zeros(2, np.uint32), np.zeros(1, np.uint64), np.zeros((1, 3), np.int64)
        arrays = *table, np.zeros(2, np.int64), *pool
        term_table.append(*arrays, 0, np.ones(1, np.uint64), np.ones((1, 1), dtype), 0)
        term_table.find(*arrays, np.ones(1, np.uint64), 1)
    term_table.fill(*table[:2], 0)
    postings.measure(_frozen(np.ones((2, 1), np.uint32)), ones[1], allowed)
    segments.align(np.eye(2), 0.5, 0.5, 2, 2, 0, 0)
    bits.count(bits.full(2))
    bits.slots_of(bits.full(2))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
