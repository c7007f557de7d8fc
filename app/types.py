"""The vocabulary that every layer shares: plain values without behaviour of their own.

Words (one per idea, in code, JSON, tables and docs): a **collection** holds **points**; a point is
an id, named **vectors**, **attributes** that **filters** look at, and perhaps the text it came
from. A **plan** says how a query runs. A **score** is higher for better in every metric. Inside
the engine a point version has a **row** (the store's number, never used twice) and, within one
segment, a **slot** (0 … slots−1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

Bits = NDArray[np.uint64]
"""Packed booleans over slots: `uint64[ceil(slots / 64)]`, slot s is bit `s % 64` of word `s // 64`.
Bits past the last slot are zero."""

PointId = str | int
"""A caller's id: a string of 1–512 UTF-8 bytes, or an integer of 0 … 2⁶⁴−1. 1 and "1" differ."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""What a collection, a vector or a snapshot may be called, matched as a whole. No separator of
paths is among it, and nothing that begins with a dot."""

# Ceilings that no setting moves. They keep one row of a graph and one vector in proportion; each
# vector field has graphs of its own, and past MOST_VECTORS a second collection is the better tool.
# A point has MOST_TOKENS tokens and MOST_WEIGHTS weights of a sparse vector at most, a field; the
# indices of these go up to MOST_INDEX.
MOST_VECTORS = 16
MAX_DIMENSION = 65_536
MAX_TOKEN_DIMENSION = 4_096
MOST_TOKENS = 2_048
MOST_WEIGHTS = 16_384
MOST_INDEX = 2**32 - 1
# What a collection keeps beside its points (query banks, calibrations, …): bytes of one, how many,
# and bytes of all.
MOST_KEPT_BYTES = 16 << 20
MOST_KEPT = 1_000
MOST_KEPT_BYTES_TOGETHER = 256 << 20
MIN_LINKS, MAX_LINKS = 4, 128
MIN_EF_CONSTRUCTION, MAX_EF_CONSTRUCTION = 8, 4_096

AttributeScalar = str | int | float | bool | None
AttributePlace = dict[str, float]
"""A place on the earth: exactly `lat` and `lon`, in degrees of WGS 84, −90 … 90 and −180 … 180."""

AttributeElement = AttributeScalar | AttributePlace
AttributeValue = AttributeElement | list[AttributeElement]
Attributes = Mapping[str, AttributeValue]


class Metric(str, Enum):
    """How two vectors compare. The score is higher for better: `app.vectors.metric`."""

    COSINE = "cosine"
    IP = "ip"
    L2 = "l2"


class VectorKind(str, Enum):
    """What a vector field holds: float32[dimension], a `Sparse`, or float32[tokens, dimension]."""

    DENSE = "dense"
    SPARSE = "sparse"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """Weights of a vocabulary: `indices` [n] int64 ascending, `values` [n] float32, none zero."""

    indices: I64
    values: F32


VectorValue = F32 | Sparse
"""A vector of any kind: the kind of its field says which."""


@dataclass(frozen=True, slots=True)
class VectorField:
    """One named vector of a collection.

    dimension   numbers of a dense vector or of each token; 0 for sparse ones, which have no end
    metric      of dense vectors; tokens compare by cosine, sparse vectors by inner product
    """

    name: str
    dimension: int
    metric: Metric = Metric.COSINE
    encoder: str | None = None
    kind: VectorKind = VectorKind.DENSE


TEXT_FIELD = "$text"
"""What a point's own text is called among the fields of a lexical index."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """A full-text index over string attributes and the points' own texts.

    fields     attribute name, or `TEXT_FIELD` → weight of a word that stands there
    language   of the stemmer; None leaves words as they are
    """

    fields: Mapping[str, float]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How graphs are built: `m` links per row (twice that on the ground level), and the width
    of the search that finds them."""

    m: int = 16
    ef_construction: int = 200


@dataclass(frozen=True, slots=True)
class Definition:
    """What a collection is: its vectors, its declared attribute schema, its index settings.

    schema   field name → declared kind as the wire spells it ("keyword", "integer", "float",
             "bool", "datetime", "geo"); undeclared fields take anything
    lexical  the full-text index; None if there is none
    mark     a backend's own, which tells a collection from the next one of the same name; kept
             when the definition is altered, and no part of what is compared
    """

    vectors: Mapping[str, VectorField]
    schema: Mapping[str, str] = field(default_factory=dict)
    index: IndexSettings = field(default_factory=IndexSettings)
    lexical: Lexical | None = None
    mark: str = field(default="", compare=False)

    def differs(self, other: Definition) -> str:
        """Name the members in which another one differs, for a message."""
        members = ("vectors", "schema", "index", "lexical")
        return ", ".join(one for one in members if getattr(self, one) != getattr(other, one))


YEAR_10000_MS = 253_402_300_800_000
"""Every expiry lies before this, and not before 1970, in milliseconds since then."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point as written: vectors are of their field's kind and dimension, checked and finite.

    expires_at   when it ceases to exist, in milliseconds since 1970-01-01T00:00:00Z; None: never
    """

    id: PointId
    vectors: Mapping[str, VectorValue]
    attributes: Attributes
    text: str | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """Which parts of a point an answer carries.

    fields   attribute names to return; None means all
    """

    fields: frozenset[str] | None = None
    with_text: bool = True
    with_vectors: bool = False


class Record(NamedTuple):
    """A stored point as returned: attributes cut to the projection, vectors as they were given.

    expires_at   as in `Point`, whatever the projection
    """

    # A tuple, as is a hit: ten of each are made for every query, and a frozen dataclass takes
    # three times as long to make.
    id: PointId
    attributes: Mapping[str, Any]
    text: str | None
    vectors: Mapping[str, VectorValue] | None
    expires_at: int | None = None


class Hit(NamedTuple):
    """One result of a query.

    rerank_score   what a reranker made of it, and what reranked answers are ordered by
    group          the value that its group shares, where points are grouped
    scores         what each stage of a plan made of it, by the stage's name
    notes          more that a stage has to tell: matched pairs, contributions, …
    """

    score: float
    record: Record
    rerank_score: float | None = None
    group: AttributeScalar = None
    scores: Mapping[str, float] | None = None
    notes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class KeptInfo:
    """Something that is kept with a collection.

    bytes       of its body
    created_at  when this revision of it was made
    revision    another number for each body that was ever kept in the collection; larger is later
    """

    kind: str
    key: str
    bytes: int
    created_at: str
    revision: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is kept with a collection, and what it says.

    body   as it was given. It may have come with a snapshot of anybody's: who reads it checks it
    """

    info: KeptInfo
    body: bytes
