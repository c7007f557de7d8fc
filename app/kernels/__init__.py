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
    from app.kernels import bits, build, graph, ranking, scan, segments, texts  # noqa: F401  # importing compiles some

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
    segments.align(np.eye(2), 0.5, 0.5, 2, 2, 0, 0)
    bits.count(bits.full(2))
    bits.slots_of(bits.full(2))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
