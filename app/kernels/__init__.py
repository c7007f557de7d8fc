"""Compiled loops over plain arrays: the only package that imports numba.

Compiled code is cached in `NUMBA_CACHE_DIR`, or beside the sources, and is loaded, not compiled, by
the next process; `warm` makes sure of it. numba asks for a kernel's own file only whether the cache
is stale, not for the kernels that were inlined into it, so the cache has a folder for each state
of the whole package.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numba
import numpy as np

from app.types import Bits


def _cache_folder() -> Path:
    """Name the cache of exactly these sources."""
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    root = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else here / "__pycache__"
    return root / f"kernels-{sha256(sources).hexdigest()[:16]}"


numba.config.CACHE_DIR = str(_cache_folder())


def warm() -> None:
    """Compile or load every kernel by running each once on a few numbers (seconds, or instants)."""
    from app.kernels import bits, graph, scan

    vectors = np.eye(2, 8, dtype=np.float32)
    frozen = vectors.view()
    frozen.flags.writeable = False
    none = np.empty(0, dtype=np.uint32)
    links = np.full((2, 4), graph.NONE, dtype=np.uint32)
    slots = np.arange(2, dtype=np.uint32)
    for array in (links, none, slots):
        array.flags.writeable = False
    distances = np.empty(2, dtype=np.float32)
    scan.distances_to(0, vectors[0], frozen, slots.copy(), distances)
    upper = links[:0, :2]
    for allowed in (bits.full(2), _frozen(bits.full(2))):
        graph.search_graph(
            0, vectors[0], frozen, none, links, upper, none, none, 0, 0, allowed, 1, 1 << 40,
            bits.empty(2), slots.copy(), distances, np.zeros(3, dtype=np.int64),
        )  # fmt: skip
    bits.count(bits.full(2))
    bits.slots_of(bits.full(2))


def _frozen(array: Bits) -> Bits:
    array.flags.writeable = False
    return array
