"""What rescoring will cost, known before it is done.

The unit is one multiply-add of MaxSim's product. Steps that are no such product are counted as the
multiply-adds that take as long, measured by `python -m bench.late` for 100 candidates of 32 × 128:
rough, within a factor of two or three, and no promise about time. They decide what is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.errors import LimitExceeded
from app.ranking.tokens.aggregation import Aggregation
from app.ranking.tokens.anchors import Anchors
from app.ranking.tokens.dense import Dense
from app.ranking.tokens.matching import Matching
from app.ranking.tokens.second_order import MOST_PAIRS, SecondOrder
from app.ranking.tokens.segment import Segment
from app.ranking.tokens.sinkhorn import Sinkhorn

MAX_TOKENS = 1_024
"""Most tokens of a query or of a candidate."""
MAX_CANDIDATES = 1_000
"""Most candidates that one stage rescores."""
MAX_COST = 20_000_000_000
"""Most multiply-adds of one stage: about 0.4 s of one core."""

PER_SECOND = 50_000_000_000
"""About how many of them one core does, where all of this was measured."""

SOFTMAX = 250  # a product that becomes a weight
TOPK = 400  # a product that may be among the k largest
REGULATED = 80  # a number of an alignment vector, each step
SCALING = 45  # a cell of a transport plan, each iteration
SUPPORT = 700  # a pair of pairs
CELL = 150  # a cell of an alignment
BOX = 150  # a cell of a cost volume, each round
CHECK = 200  # a triangle of a check

# What calls of numpy take for one candidate, however small it is:
START = 1_000_000
ITERATION = 120_000  # of transport
ROUND = 800_000  # of smoothing costs
ANCHORED = 10_000_000
CHECKED = 4_000_000


def cost(how: Aggregation | Matching, m: int, lengths: Iterable[int], d: int) -> int:
    """Count the multiply-adds of scoring candidates.

    m        tokens of the query
    lengths  tokens of each candidate
    d        numbers of a token
    """
    if isinstance(how, Aggregation):
        return _aggregation_cost(how, m, list(lengths), d)
    return sum(
        START + m * n * d + _matching_cost(how, m, n, d) + _check_cost(how, m, n) for n in lengths
    )


def check_cost(
    how: Aggregation | Matching, m: int, lengths: Iterable[int], d: int, pointer: str
) -> int:
    """Count the multiply-adds, and refuse what is above a limit.

    Raises LimitExceeded, pointing at what asks for it: tokens, candidates, or the sum of the work.
    """
    sizes = list(lengths)
    most = max([m, *sizes])
    if most > MAX_TOKENS:
        raise LimitExceeded(
            f"late interaction takes at most {MAX_TOKENS} tokens a side, received {most}",
            pointer=pointer,
            limit=MAX_TOKENS,
        )
    if len(sizes) > MAX_CANDIDATES:
        raise LimitExceeded(
            f"at most {MAX_CANDIDATES} candidates are rescored, received {len(sizes)}",
            pointer=pointer,
            limit=MAX_CANDIDATES,
        )
    work = cost(how, m, sizes, d)
    if work > MAX_COST:
        raise LimitExceeded(
            f"this would take {work:,} multiply-adds, and {MAX_COST:,} are allowed: "
            "rescore fewer candidates, or by a cheaper kind",
            pointer=pointer,
            limit=MAX_COST,
        )
    return work


def _aggregation_cost(how: Aggregation, m: int, lengths: list[int], d: int) -> int:
    cells = m * sum(lengths)
    work = cells * d
    if how.kind == "max":
        return work
    ways = 2 if how.symmetric else 1
    soft = SOFTMAX * (2 if how.kind == "isa" else 1)
    work += ways * cells * (soft + (TOPK if how.topk is not None else 0))
    if how.kind in ("mean", "attend", "regulated"):
        work += ways * cells * d
    if how.kind == "regulated":
        rows = m * len(lengths) + (sum(lengths) if how.symmetric else 0)
        work += rows * d * REGULATED * (how.steps + 1)
    return work


def _matching_cost(how: Matching, m: int, n: int, d: int) -> int:
    by = how.by
    if isinstance(by, Sinkhorn):
        return by.iterations * (ITERATION + m * n * SCALING)
    if isinstance(by, SecondOrder):
        return min(m * min(by.top, n), MOST_PAIRS) ** 2 * SUPPORT
    if isinstance(by, Segment):
        return m * n * CELL * (4 + 2 * min(m, n) if by.cyclic else 1)
    if isinstance(by, Anchors):
        return ANCHORED + min(min(by.anchors, m) * 5, MOST_PAIRS) ** 2 * SUPPORT
    if isinstance(by, Dense):
        smoothing = (m * m + n * n) * (d + SOFTMAX) if by.smooth_features else 0
        rounds = len(by.scales) * by.smooth_cost
        return smoothing + 2 * SOFTMAX * m * n + rounds * (ROUND + BOX * m * n)
    return 0


def _check_cost(how: Matching, m: int, n: int) -> int:
    if how.verify is None:
        return 0
    pairs = min(m, n) if not isinstance(how.by, Dense) else m
    return CHECKED + CHECK * pairs * (pairs + 28)
