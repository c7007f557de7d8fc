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


_WHOLE_NODES = 60_000  # where the widths below were measured


def default_ef(wanted: int, selectivity: float = 1.0, nodes: int = _WHOLE_NODES) -> int:
    """Choose the search width for `wanted` results when the caller does not.

    (48 + 1.6 × wanted) × selectivity^¾ × max(1, nodes / 60,000)^⅛, measured on arXiv abstracts:

    - 64 for ten results without a filter gave a recall@10 of .98 on 60,000.
    - A filtered walk of the same width sees more of the graph, since only matches count, so equal
      recall needs less: the exponent was .75 and more for `year` between of selectivity .4.
    - At the same width a larger graph gives less: .977 with 15,000 nodes, .971 with 30,000, .965
      with 60,000, at width 48. Smaller ones are not narrowed: their filters may be related to the
      vectors, and then their nodes are closer together.
    """
    whole = 48 + 1.6 * wanted
    scaled = math.pow(selectivity, 0.75) * math.pow(max(1.0, nodes / _WHOLE_NODES), 0.125)
    return max(round(whole * scaled), math.ceil(1.6 * wanted), 16)


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
    nodes = graphs[number]
    selectivity = min(1.0, matches / nodes)
    width = max(default_ef(wanted, selectivity, nodes) if ef is None else ef, wanted)
    scan_ns = costs.scan_ns(matches, dimension, coded)
    visit_ns = costs.visit_ns(dimension, coded)
    walk_ns = costs.visits(width, selectivity) * visit_ns
    if scan_ns <= walk_ns:
        return ExactScan("", matches, scan_ns, walk_ns)
    budget = UNBOUNDED if matches >= nodes else max(1, int(scan_ns / visit_ns))
    return GraphWalk(number, width, budget, nodes, matches, scan_ns, walk_ns)
