"""Where things are compared: in a subspace, by some axes, or with some directions forgiven.

Each gives a symmetric M ≥ 0, never made as a matrix, and compares by it around a centre c, with
y = x − c:

    cosine     q'My / √(q'Mq · y'My)        distance    −√((q − y)'M(q − y))

Rows in and out are float64[n, d].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.ranking.algebra.vectors import basis
from app.types import F64, I64


class Form(Protocol):
    """A symmetric M ≥ 0."""

    def times(self, rows: F64) -> F64:
        """Give M y for each row: float64[n, d]."""
        ...

    @property
    def rank(self) -> int:
        """How many directions count; d where all do."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Subspace:
    """M = W'W + rest · I.

    matrix   float64[r, d]
    rest     what the directions outside count
    """

    matrix: F64
    rest: float = 0.0

    @property
    def rank(self) -> int:
        """Give r."""
        return len(self.matrix)

    def times(self, rows: F64) -> F64:
        """Give M y."""
        found: F64 = (rows @ self.matrix.T) @ self.matrix
        return found + self.rest * rows if self.rest else found

    def residue(self, rows: F64) -> F64:
        """Take the subspace out of rows; its matrix has to be orthonormal."""
        found: F64 = rows - (rows @ self.matrix.T) @ self.matrix
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """M = diag(g²): axes count by a weight of 0 … 1, g float64[d]."""

    weights: F64

    @property
    def rank(self) -> int:
        """Count the axes of a weight above one half."""
        return int(np.count_nonzero(self.weights > 0.5))

    def times(self, rows: F64) -> F64:
        """Give M y."""
        found: F64 = rows * np.square(self.weights)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Forgiving:
    """M = I − U' diag(s) U: differences along the rows of U cost less, by 0 ≤ s < 1.

    directions   float64[r, d], orthonormal rows
    shares       float64[r]
    """

    directions: F64
    shares: F64

    @property
    def rank(self) -> int:
        """Give d."""
        return int(self.directions.shape[1])

    def times(self, rows: F64) -> F64:
        """Give M y."""
        found: F64 = rows - ((rows @ self.directions.T) * self.shares) @ self.directions
        return found


def compared(form: Form, query: F64, rows: F64, by: str) -> F64:
    """Compare float64[d] with float64[n, d], both less the centre: float64[n], higher for nearer.

    by   "cosine" (0 where either has no part in the form) or "distance"
    """
    if by == "distance":
        apart = rows - query
        squares = np.einsum("nd,nd->n", apart, form.times(apart))
        nearness: F64 = 0.0 - np.sqrt(np.maximum(squares, 0.0))
        return nearness
    image = form.times(query[None])[0]
    squares = np.einsum("nd,nd->n", rows, form.times(rows))
    lengths = np.sqrt(np.maximum(squares, 0.0) * max(float(image @ query), 0.0))
    found: F64 = np.where(lengths > 1e-9, rows @ image / np.maximum(lengths, 1e-9), 0.0)
    return np.clip(found, -1.0, 1.0)


def span(vectors: NDArray[Any], rank: int | None = None) -> Subspace:
    """Span what tells float[n, d] from each other: orthonormal, of rank n − 1 at most."""
    wide = vectors.astype(np.float64)
    return Subspace(basis(wide - wide.mean(axis=0), rank))


def discriminants(
    vectors: NDArray[Any], labels: I64, rank: int | None = None, shrinkage: float = 0.1
) -> Subspace:
    """Find directions in which classes differ more than their members do: `rank` of them at most.

    vectors     float[n, d]
    labels      int64[n], classes 0 … c − 1, each with a member; c ≥ 2
    shrinkage   0 < ρ ≤ 1: S_w ← (1 − ρ) S_w + ρ · tr(S_w)/r · I, since members are few
    returns     W with W S_w W' = I: members of a class lie about one apart, in every direction

    Fisher's discriminants with shrunk within-class scatter (Ledoit and Wolf 2004), taken in the
    span of the examples: what they do not reach cannot tell them apart.
    """
    wide = vectors.astype(np.float64)
    means = np.stack([wide[labels == one].mean(axis=0) for one in range(int(labels.max()) + 1)])
    counts = np.bincount(labels).astype(np.float64)
    middle = counts @ means / len(wide)
    rows = basis(wide - middle)
    if len(rows) == 0:
        return Subspace(rows)
    within = (wide - means[labels]) @ rows.T
    between = (means - middle) @ rows.T * np.sqrt(counts)[:, None]
    scatter = within.T @ within / len(wide)
    mean = max(float(np.trace(scatter)) / len(rows), 1e-9)
    scatter = (1 - shrinkage) * scatter + shrinkage * mean * np.eye(len(rows))
    values, axes = np.linalg.eigh(scatter)
    whitening = axes / np.sqrt(values)  # columns
    whitened = between @ whitening
    # Their own span, with every direction kept in which the means differ clearly.
    found = basis(whitened, min(len(means) - 1, rank or len(means) - 1), least=1e-3)
    return Subspace(found @ whitening.T @ rows)


def gate(like: NDArray[Any], unlike: NDArray[Any]) -> Gate:
    """Weigh axes: g = b / (b + w), b how far `unlike` lie from the mean of `like` along the axis,
    w how far `like` themselves do (mean squares). float[n, d] and float[m, d].

    A gate that examples give instead of training (Hydra: Wu et al. 2024, arXiv 2410.13200, trains
    one for each pair of classes). It sees nothing that is not along an axis.
    """
    middle = like.astype(np.float64).mean(axis=0)
    near = np.square(like - middle).mean(axis=0)
    far = np.square(unlike - middle).mean(axis=0)
    total = near + far
    return Gate(np.where(total > 1e-12, far / np.maximum(total, 1e-12), 0.0))


def kinds(differences: NDArray[Any], rank: int | None = None) -> tuple[F64, F64]:
    """Find the directions in which things differ that mean the same, and how much.

    differences   float[n, d], each of two things that answer the same intent
    returns       float64[r, d], orthonormal rows; float64[r], mean squares along them, falling
    """
    wide = differences.astype(np.float64)
    rows = basis(wide, rank)
    squares = np.square(wide @ rows.T).mean(axis=0) if len(wide) else np.zeros(0)
    return rows, squares


def forgiving(rows: F64, squares: F64, strength: float) -> Forgiving:
    """Forgive differences of the kinds seen between things that mean the same (`kinds`).

    strength   γ ≥ 0: M = (I + γ Σ/σ)⁻¹, Σ the mean of d d', σ the mean of its eigenvalues above
               zero; 0 forgives nothing, large γ forgives these directions altogether

    The closed form of a search with an uncertain query (a query as a Gaussian around its vector:
    Chen et al. 2022, arXiv 2211.07394, jitter features in training instead).
    """
    if squares.size == 0:
        return Forgiving(rows, squares)
    scaled = strength * squares / max(float(squares.mean()), 1e-12)
    return Forgiving(rows, scaled / (1 + scaled))
