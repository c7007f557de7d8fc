"""How faithful a smaller form of a model is to the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.types import F32

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Two encoders over the same texts.

    texts       how many
    least, mean, p01  cosines between the two vectors of a text; p01: 99 % of texts are above
    neighbours  which share of each text's nearest ten, by the first encoder, are among its nearest
                ten by the second; None for fewer than twelve texts
    """

    texts: int
    least: float
    mean: float
    p01: float
    neighbours: float | None


def compare(reference: F32, other: F32) -> Fidelity:
    """Compare two encoders by their unit vectors of the same texts, [text, dim] each."""
    cosines = np.einsum("nd,nd->n", reference, other, dtype=np.float64)
    return Fidelity(
        texts=len(cosines),
        least=float(cosines.min()),
        mean=float(cosines.mean()),
        p01=float(np.quantile(cosines, 0.01)),
        neighbours=_shared_neighbours(reference, other),
    )


def _shared_neighbours(one: F32, other: F32) -> float | None:
    if len(one) < NEIGHBOURS + 2:
        return None
    nearest = [_nearest(vectors) for vectors in (one, other)]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def _nearest(vectors: F32) -> np.ndarray:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
