"""Chooses a plan from counted facts; pure, so every choice can be tested and explained.

The rule: compare what a scan of the matches costs with what a walk is expected to cost, and take
the cheaper. Matches are counted, not guessed: the filter's bitset is there before the choice. What
is guessed is how the filter lies to the vectors. When the matches near the query are rarer than
overall, a walk wanders; so each walk gets a budget of distances worth about one scan, and past it
the scan is done after all: no filtered query costs more than about twice the exact answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.planner.costs import Costs
from app.planner.plan import Empty, ExactScan, GraphWalk, Plan

UNBOUNDED = 1 << 62


def default_ef(wanted: int, selectivity: float = 1.0) -> int:
    """Choose the search width for `wanted` results when the caller does not.

    (48 + 1.6 × wanted) × selectivity^0.6: 64 for ten results without a filter, where the walk's
    recall@10 was .98 on 60,000 arXiv abstracts. A filtered walk of the same width sees more of the
    graph, since only matches count, so equal recall needs less: measured exponents are .75 (`year`
    between, selectivity .4) and more; .6 keeps a margin for filters related to the vectors.
    """
    whole = 48 + 1.6 * wanted
    return max(round(whole * math.pow(selectivity, 0.6)), math.ceil(1.6 * wanted), 16)


def rows_worth_a_graph(dimension: int, coded: bool, costs: Costs) -> int:
    """Count the rows from which walking a graph over just them beats scanning them."""
    return round(unfiltered_walk_ns(dimension, coded, costs) / costs.scan_ns(1, dimension, coded))


def unfiltered_walk_ns(dimension: int, coded: bool, costs: Costs) -> float:
    """Estimate what ten results cost without a filter: the best that a filtered query can hope."""
    return costs.visits(default_ef(10), 1.0) * costs.visit_ns(dimension, coded)


def choose(
    *,
    graphs: Sequence[int],
    matches: int,
    wanted: int,
    dimension: int,
    coded: bool,
    costs: Costs,
    ef: int | None = None,
    exact: bool = False,
) -> Plan:
    """Choose how to search one part.

    graphs      nodes of each graph that holds all matches: the whole one, and covers; none where
                only a scan is possible
    matches     how many rows may be returned
    wanted      results needed (offset + k), at least 1
    coded       whether the rows have codes
    ef, exact   what the caller demands, if anything
    """
    if matches == 0:
        return Empty()
    if exact:
        return ExactScan("exact search was requested")
    if not graphs:
        return ExactScan("these points have no graph yet")
    if wanted >= matches:
        return ExactScan(f"all {matches} matches are wanted")

    # The smallest graph is the best: of what it visits, the largest share are matches.
    number = min(range(len(graphs)), key=graphs.__getitem__)
    selectivity = min(1.0, matches / graphs[number])
    width = max(default_ef(wanted, selectivity) if ef is None else ef, wanted)
    scan_ns = costs.scan_ns(matches, dimension, coded)
    visit_ns = costs.visit_ns(dimension, coded)
    walk_ns = costs.visits(width, selectivity) * visit_ns
    if scan_ns <= walk_ns:
        return ExactScan(
            f"scanning {matches} matches (~{scan_ns / 1000:.0f} µs) is cheaper than a walk "
            f"(~{walk_ns / 1000:.0f} µs)"
        )
    reason = (
        f"a walk of {graphs[number]} nodes (~{walk_ns / 1000:.0f} µs) is cheaper than scanning "
        f"{matches} matches (~{scan_ns / 1000:.0f} µs)"
    )
    if matches >= graphs[number]:
        return GraphWalk(number, width, UNBOUNDED, reason)
    return GraphWalk(number, width, max(1, int(scan_ns / visit_ns)), reason)
