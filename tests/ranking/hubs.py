"""Items of which some are near to every query, and the same without."""

from __future__ import annotations

import numpy as np

from app.types import F32, F64


def unit(rows: F64) -> F32:
    found: F32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def planted(seed: int, *, hubs: bool, items: int = 1_000, dimension: int = 32) -> tuple[F32, F32]:
    """Queries and items of unit length; query n means item n.

    All queries lean in one direction, as texts do beside images. Of the items one in twenty leans a
    little the same way: those are the hubs.
    """
    dice = np.random.default_rng(seed)
    own = dice.normal(size=(items, dimension)) / np.sqrt(dimension)
    noise = dice.normal(size=(items, dimension)) / np.sqrt(dimension)
    leaning = np.zeros(dimension)
    leaning[0] = 1.0
    queries = own + 0.7 * noise + (leaning if hubs else 0.0)
    stored = own.copy()
    if hubs:
        stored[::20] += 0.4 * leaning
    return unit(queries), unit(stored)
