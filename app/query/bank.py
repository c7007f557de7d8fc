"""A bank of queries as it is kept: vectors, how they correct scores, and whether that was worth it.

4 bytes        length of the header, little-endian
header         JSON: what `Bank` says but for the arrays
float32        queries × dimension, little-endian, as they are searched
float64        queries, the scales of Sinkhorn's rows, if that is the method
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from app.errors import CorruptFile
from app.ranking.hubness import METHODS, Penalty
from app.types import F32, F64

KIND = "query-bank"
"""The kind under which banks are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Queries that stand for those to come, of one field.

    using      the field
    vectors    float32[queries, dimension], as they are searched; of tokens the pooled ones
    method     of `app.ranking.hubness`
    strength   of the correction: s − strength · penalty
    wins       whether that was worth it on labelled queries; None: nobody measured it
    measured   what was measured, for people
    log_rows   float64[queries], of Sinkhorn
    """

    using: str
    vectors: F32
    method: str
    strength: float
    k: int
    tau: float
    wins: bool | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    log_rows: F64 | None = None

    def penalty(self) -> Penalty:
        """Give the way to compute what is taken off."""
        return Penalty(self.method, self.k, self.tau, self.log_rows)

    def header(self) -> dict[str, Any]:
        """Give all but the arrays, as JSON."""
        return {
            "using": self.using,
            "queries": len(self.vectors),
            "dimension": self.vectors.shape[1],
            "method": self.method,
            "strength": self.strength,
            "k": self.k,
            "tau": self.tau,
            "wins": self.wins,
            "measured": self.measured,
        }

    def body(self) -> bytes:
        """Write it down."""
        header = orjson.dumps(self.header())
        rows = b"" if self.log_rows is None else self.log_rows.astype("<f8").tobytes()
        return b"".join(
            [len(header).to_bytes(4, "little"), header, self.vectors.astype("<f4").tobytes(), rows]
        )


def bank_from(body: bytes) -> Bank:
    """Read a bank, which may be of anybody's snapshot. Raises CorruptFile for what is none."""
    try:
        found = _read(body)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as exc:
        raise CorruptFile("a stored query bank cannot be read: put it again") from exc
    return found


def _read(body: bytes) -> Bank:
    size = int.from_bytes(body[:4], "little")
    header = orjson.loads(body[4 : 4 + size])
    queries, dimension = header["queries"], header["dimension"]
    method, using, measured = header["method"], header["using"], header["measured"]
    wins, k = header["wins"], header["k"]
    numbers = np.array([header["strength"], header["tau"]], dtype=np.float64)
    sound = (
        method in METHODS
        and isinstance(using, str)
        and isinstance(measured, dict)
        and (wins is None or type(wins) is bool)
        and all(type(one) is int and one > 0 for one in (queries, dimension, k))
        and np.isfinite(numbers).all()
        and (numbers > 0).all()
    )
    if not sound:
        raise ValueError("not a bank")
    at = 4 + size
    vectors = np.frombuffer(body, "<f4", queries * dimension, at).reshape(queries, dimension)
    at += vectors.nbytes
    rows = np.frombuffer(body, "<f8", queries, at) if method == "sinkhorn" else None
    at += 0 if rows is None else rows.nbytes
    finite = np.isfinite(vectors).all() and (rows is None or np.isfinite(rows).all())
    if at != len(body) or not finite:
        raise ValueError("not a bank")
    strength, tau = numbers.tolist()
    return Bank(using, vectors, method, strength, k, tau, wins, measured, rows)
